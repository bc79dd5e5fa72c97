"""Memory and time of diffusion on a large grid, with a short initial reconstruction and few passes.

    python -m tests.bench.memory [--grid 256x512x512] [--views 60] [--beam parallel] [--initial-iterations 3]
    [--steps 1]

The object is the thorax phantom, evaluated on half the grid, interpolated, and scanned on the grid itself,
since only the size matters. Prints a line for each step with the peak memory of the process so far.
"""

from __future__ import annotations

import argparse
import resource
import time

import torch

from tomopatch import Projector, load_prior, phantom, simulate
from tomopatch.progress import Step, last
from tomopatch.reconstruct.classical.coarse import on_grid
from tomopatch.reconstruct.diffusion.method import diffusion
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.runs.config import ScanConfig
from tomopatch.volume import Volume


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grid", default="256x512x512")
    parser.add_argument("--views", type=int, default=60)
    parser.add_argument("--beam", choices=("parallel", "cone"), default="parallel")
    parser.add_argument("--initial-iterations", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1)
    arguments = parser.parse_args()
    z, y, x = map(int, arguments.grid.split("x"))
    half = phantom("thorax", (max(1, z // 2), max(1, y // 2), max(1, x // 2)))
    volume = Volume(on_grid(half.data, (z, y, x)), half.geometry.with_shape((z, y, x)))
    pg = ScanConfig("phantom:thorax", beam=arguments.beam, num_views=arguments.views).geometry(
        volume.geometry
    )
    A = Projector(volume.geometry, pg)
    measurement = simulate(volume, A)
    del volume, half
    started = time.perf_counter()

    def report(step: Step) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        seconds = time.perf_counter() - started
        print(
            f"{step.stage or 'pass':<6}{step.i} of {step.total}  {seconds:7.1f} s  peak {peak:.2f} GB",
            flush=True,
        )

    with torch.inference_mode():
        steps = diffusion(
            A,
            measurement.projections,
            load_prior(),
            params=DiffusionParams(num_steps=arguments.steps),
            initial_iterations=arguments.initial_iterations,
        )
        last(steps, report)


if __name__ == "__main__":
    main()
