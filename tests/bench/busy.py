"""Restoration beside other busy processes, against the same on an idle machine.

    python -m tests.bench.busy VOLUME [--processes 4] [--prior small] [--repeats 2]

Starts processes that compute at the same priority, and prints wall and CPU seconds of a restoration of 20
parallel views, 64x128x128 voxels, without and with them. Run it in two versions in turn to compare them.
"""

from __future__ import annotations

import argparse
import multiprocessing
import time
from pathlib import Path

from tomopatch import ParallelBeam, Projector, load_prior, load_volume, reconstruct, simulate
from tomopatch.volume import resample


def spin() -> None:
    while True:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("volume", type=Path)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--prior", default="small")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    volume = load_volume(arguments.volume)
    reference = resample(volume, (64, 128, 128))
    A = Projector(reference.geometry, ParallelBeam.circular(reference.geometry, num_views=20))
    measurement, prior = simulate(volume, A), load_prior(arguments.prior, "cpu")
    reconstruct("diffusion", A, measurement, prior=prior, num_steps=1)  # compiles the kernels

    for count in (0, arguments.processes):
        others = [multiprocessing.Process(target=spin, daemon=True) for _ in range(count)]
        for process in others:
            process.start()
        for _ in range(arguments.repeats):
            wall, cpu = time.perf_counter(), time.process_time()
            reconstruct("diffusion", A, measurement, prior=prior)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(f"beside {count} busy processes: {wall:.1f} s, CPU {cpu:.1f} s", flush=True)
        for process in others:
            process.terminate()
            process.join()


if __name__ == "__main__":
    main()
