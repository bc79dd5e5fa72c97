"""Processes that simulate training pairs during a training run: they keep CPUs busy while a GPU trains."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from tomopatch import kernels
from tomopatch.training.pairs import (
    Pair,
    TrainingVolume,
    VoxelRanges,
    pair_path,
    read_pair,
    simulate_pair,
    write_pair,
)

MAX_PAIRS = 100_000


class PairWorkers:
    """`count` processes that make pairs until the `with` block ends.

    Parameters
    ----------
    count : int
        Number of processes; they share the CPUs.
    read_volumes : f() -> list of TrainingVolume
        Importable; called once in each process.
    folder : Path
        Folder of the pairs. `fresh` also returns pairs that exist already.
    seed : int
    gpu : bool
        Compute on the GPU, in turn with the training, instead of on CPUs.
    """

    def __init__(
        self,
        count: int,
        read_volumes: Callable[[], Sequence[TrainingVolume]],
        folder: Path,
        voxels: VoxelRanges,
        *,
        seed: int = 0,
        gpu: bool = False,
    ) -> None:
        self.folder, self._seen = folder, set[Path]()
        threads = max(1, (os.cpu_count() or 1) // max(1, count))
        context = multiprocessing.get_context("spawn")
        self._processes = [
            context.Process(
                target=_work,
                args=(
                    range(k, MAX_PAIRS, count),
                    read_volumes,
                    folder,
                    voxels,
                    seed,
                    threads,
                    gpu,
                ),
                daemon=True,
            )
            for k in range(count)
        ]

    def __enter__(self) -> PairWorkers:
        self.folder.mkdir(parents=True, exist_ok=True)
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def fresh(self) -> list[Pair]:
        """Pairs that were not returned before."""
        new = sorted(set(self.folder.glob("pair-*.npz")) - self._seen)
        self._seen.update(new)
        return [read_pair(path) for path in new]


def _work(
    indices: range,
    read_volumes: Callable[[], Sequence[TrainingVolume]],
    folder: Path,
    voxels: VoxelRanges,
    seed: int,
    threads: int,
    gpu: bool,
) -> None:
    if not gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    kernels.set_num_threads(threads)
    torch.set_num_threads(threads)
    if hasattr(os, "nice"):  # not on Windows
        os.nice(10)
    volumes = read_volumes()
    for i in indices:
        path = pair_path(folder, seed, i)
        if not path.exists():
            write_pair(path, simulate_pair(volumes, voxels, np.random.default_rng([seed, 3, i])))
