"""Drafts made by processes of their own, beside a training run.

Quick reconstructions keep CPUs busy while a GPU trains. Each is made with the training's own last saved weights: the
prior then learns from the errors that it makes now. (Ross et al. 2011, DAgger)
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch

from core import kernels
from core.prior.data import DataConfig, Draft, Scan
from core.prior.denoiser import PatchPrior
from core.prior.files import load_prior, prior_path
from core.runs.drafts import draft_path, draw_draft, read_draft, write_draft

MOST_DRAFTS = 100_000


class DraftWorkers:
    """So many processes that make drafts until the `with` block ends.

    Parameters
    ----------
    count : int
        Processes; they share the CPUs.
    read_scans : f() -> list of Scan
        Importable; called once in each process.
    folder : Path
        Where drafts are kept; those that are there already are handed out, too.
    priors : list of str or Path
        The first of them that is there when a draft is begun is used; none: quick reconstructions only.
    seed : int
    gpu : bool
        Whether they compute on the GPU, in turn with the training, where a draft takes a second or two; else they
        leave it alone.
    """

    def __init__(
        self,
        count: int,
        read_scans: Callable[[], Sequence[Scan]],
        folder: Path,
        config: DataConfig,
        *,
        priors: Sequence[str | Path] = (),
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
                    range(k, MOST_DRAFTS, count),
                    read_scans,
                    folder,
                    config,
                    list(priors),
                    seed,
                    threads,
                    gpu,
                ),
                daemon=True,
            )
            for k in range(count)
        ]

    def __enter__(self) -> DraftWorkers:
        self.folder.mkdir(parents=True, exist_ok=True)
        for process in self._processes:
            process.start()
        return self

    def __exit__(self, *error: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()

    def fresh(self) -> list[Draft]:
        """The drafts that were not handed out before."""
        new = sorted(set(self.folder.glob("draft-*.npz")) - self._seen)
        self._seen.update(new)
        return [read_draft(path) for path in new]


def _work(
    indices: range,
    read_scans: Callable[[], Sequence[Scan]],
    folder: Path,
    config: DataConfig,
    priors: list[str | Path],
    seed: int,
    threads: int,
    gpu: bool,
) -> None:
    if not gpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    kernels.NUM_THREADS = threads
    torch.set_num_threads(threads)
    os.nice(10)
    scans = read_scans()
    for i in indices:
        path = draft_path(folder, seed, i)
        if not path.exists():
            draft = draw_draft(scans, config, np.random.default_rng([seed, 3, i]), _first(priors))
            write_draft(path, draft)


def _first(priors: list[str | Path]) -> PatchPrior | None:
    for prior in priors:
        if prior_path(prior).exists():
            return load_prior(prior)
    return None
