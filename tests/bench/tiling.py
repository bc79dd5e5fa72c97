"""Randomly shifted tiles against fixed tiles.

    python -m tests.bench.tiling VOLUME [--views 20] [--steps 5] [--seeds 3] [--prior FILE]

Prints the PSNR of the reconstruction (64 x 128 x 128, parallel beam, simulated at the volume's own
resolution) and its seams: the mean jump of the error between neighbouring voxels across the borders of the
fixed tiles, relative to that in their middles. Without seams this ratio is about 1; its value for total
variation, which has no tiles, shows the influence of the object.
"""

from __future__ import annotations

import argparse
import statistics
from unittest.mock import patch

import torch
from torch import Tensor

from tomopatch.analysis.metrics import quality
from tomopatch.library import load_volume
from tomopatch.prior.files import DEFAULT, load_prior
from tomopatch.prior.patches import PatchGrid
from tomopatch.reconstruct.methods import make_params
from tomopatch.reconstruct.run import reconstruct
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import simulate_scan
from tomopatch.volume import Shape

GRID = (64, 128, 128)


def seams(error: Tensor, tile: Shape) -> float:
    """Return the mean jump of the error (z, y, x) across tile borders, relative to that in tile centres."""
    border, middle = [], []
    for axis, size in enumerate(tile):
        jumps = error.diff(dim=axis).abs().mean([a for a in range(3) if a != axis])  # from voxel k to k + 1
        border.append(jumps[size - 1 :: size])
        middle.append(jumps[size // 2 - 1 :: size])
    return float(torch.cat(border).mean() / torch.cat(middle).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("volume")
    parser.add_argument("--views", type=int, default=20)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--prior", default=DEFAULT)
    arguments = parser.parse_args()
    prior = load_prior(arguments.prior)
    scan = ScanConfig(arguments.volume, grid=GRID, num_views=arguments.views)
    prepared = simulate_scan(load_volume(arguments.volume), scan)

    def row(name: str, method: str, seed: int = 0) -> tuple[float, float]:
        chosen = {"num_steps": arguments.steps, "seed": seed} if method == "diffusion" else {}
        params = make_params(method, chosen)
        result = reconstruct(method, prepared.A, prepared.measurement, params=params, prior=prior)
        error = result.volume.hu - prepared.reference.hu
        psnr, ratio = quality(prepared.reference, result.volume).psnr, seams(error, prior.config.tile)
        print(f"{name:12} seed {seed}: {psnr:.2f} dB, seams {ratio:.3f}", flush=True)
        return psnr, ratio

    row("tv", "tv")
    found: dict[str, list[tuple[float, float]]] = {"moving": [], "fixed": []}
    for seed in range(arguments.seeds):
        found["moving"].append(row("moving", "diffusion", seed))
        fixed = classmethod(lambda cls, shape, tile, *, generator=None: cls(shape, tile))
        with patch.object(PatchGrid, "random", fixed):
            found["fixed"].append(row("fixed", "diffusion", seed))
    for name, rows in found.items():
        psnr, ratio = (statistics.mean(column) for column in zip(*rows, strict=True))
        print(f"{name:12} mean:   {psnr:.2f} dB, seams {ratio:.3f}")


if __name__ == "__main__":
    main()
