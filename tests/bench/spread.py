"""A pass of the prior spread over processes: what it computes, what travels, and how long it takes.

    python -m tests.bench.spread [--grid 64x128x128] [--workers 2] [--plan 512x1024x1024]

Prints operations and bytes of a tile, the seconds of a pass here and by the workers (which share this machine's cores: the
difference is what spreading costs), and the same counted for the volume of `--plan`.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

import torch
from torch.utils.flop_counter import FlopCounterMode

from core import load_prior
from core.prior.files import DEFAULT
from core.prior.patches import PatchGrid
from core.prior.spread import SpreadPrior


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", default="64x128x128")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--plan", default="512x1024x1024")
    arguments = parser.parse_args()
    z, y, x = map(int, arguments.grid.split("x"))
    prior = load_prior()
    tile = prior.config.tile
    with FlopCounterMode(display=False) as counter:
        prior.denoise_tiles(torch.zeros(1, prior.config.num_inputs, *tile), 0.1, 0.1)
    operations, travels = counter.get_total_flops(), (2 + prior.config.surrounds) * 4 * math.prod(tile)
    print(
        f"a tile: {operations / 1e9:.2f} GFLOP, {travels / 1e6:.2f} MB (it and its surroundings out, it back)"
    )

    volume = torch.rand((z, y, x))
    tiles = len(PatchGrid((z, y, x), tile))
    with ProcessPoolExecutor(arguments.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        spread = SpreadPrior(DEFAULT, pool, tile_batch=8, ahead=2 * arguments.workers)
        spread(volume, 0.1)  # the workers load their weights
        for name, one in (("in this process", prior), (f"by {arguments.workers} workers", spread)):
            started = time.perf_counter()
            one(volume, 0.1)
            seconds = time.perf_counter() - started
            print(
                f"{arguments.grid}, {tiles} tiles, {name}: {seconds:.2f} s, {tiles * operations / seconds / 1e9:.0f} GFLOP/s"
            )

    planned = len(PatchGrid(tuple(int(n) for n in arguments.plan.split("x")), tile))
    print(
        f"{arguments.plan}: {planned} tiles, {planned * operations / 1e12:.0f} TFLOP and "
        f"{planned * travels / 1e9:.1f} GB a pass; one volume is {planned * 4 * math.prod(tile) / 1e9:.2f} GB"
    )


if __name__ == "__main__":
    main()
