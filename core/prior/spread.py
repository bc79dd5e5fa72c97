"""A prior whose tiles are denoised by several processes or machines, for volumes beyond one GPU.

Tiles do not depend on one another, so that a pass is a map over batches of them. What travels is a tile and its surround,
each way once; the whole volume in small and the weights' file are the same for all of a pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from copy import copy
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.prior.denoiser import Context, PatchPrior, Precond, joined_inputs, near
from core.prior.files import load_prior, prior_path
from core.prior.patches import coordinates
from core.volume import Shape, Triple


class SpreadPrior(PatchPrior):
    """The same denoiser as `load_prior(path)`, computed by the workers of an executor.

    Parameters
    ----------
    name_or_path : str or Path
        A prior; all workers must find the same file there.
    executor : Executor
        As of `concurrent.futures`: a ProcessPoolExecutor, dask's `client.get_executor()`, ...
    tile_batch : int
        Tiles per task.
    ahead : int
        Tasks under way at once: about twice the number of workers. Bounds what is in flight.
    """

    def __init__(
        self, name_or_path: str | Path, executor: Executor, *, tile_batch: int = 64, ahead: int = 8
    ) -> None:
        here = load_prior(name_or_path, "cpu")
        super().__init__(here.model, tile_batch=tile_batch, info=here.info)
        self.path, self.executor, self.ahead = prior_path(name_or_path).resolve(), executor, ahead

    def _with(self, model: Precond, voxel_size: Triple) -> SpreadPrior:
        if model is not self.model:
            raise ValueError(
                "inputs can only be switched off of a prior that computes here; load it with load_prior."
            )
        prior = copy(self)
        prior.voxel_size = voxel_size
        return prior

    def _denoised(
        self, context: Context, batches: list[list[Shape]], sigma: float
    ) -> Iterator[tuple[list[Shape], Tensor]]:
        shape = (context.padded.shape[0], context.padded.shape[1], context.padded.shape[2])
        shared = (self.info["digest"], context.whole.numpy(), shape, self.voxel_size, sigma, context.factor)
        under_way: deque[tuple[list[Shape], Future[np.ndarray]]] = deque()
        waiting = iter(batches)
        try:
            while True:
                while len(under_way) < self.ahead and (starts := next(waiting, None)) is not None:
                    parts = near(context, starts, self.config.tile).numpy()
                    task = self.executor.submit(denoise_apart, str(self.path), parts, starts, *shared)
                    under_way.append((starts, task))
                if not under_way:
                    return
                starts, task = under_way.popleft()
                yield starts, torch.from_numpy(task.result())
        finally:  # stopped, or one failed: nobody waits for the rest
            for _, task in under_way:
                task.cancel()


def denoise_apart(
    path: str,
    parts: np.ndarray,
    starts: list[Shape],
    digest: str,
    whole: np.ndarray,
    shape: Shape,
    voxel_size: Triple,
    sigma: float,
    factor: float,
) -> np.ndarray:
    """A worker's task: denoised tiles (n, *tile) from them and their surrounds (n, 2, *tile).

    Raises
    ------
    ValueError
        If the worker has other weights at that path.
    """
    prior = _loaded(path, digest)
    place = coordinates(shape, starts, parts.shape[2:])
    inputs = joined_inputs(torch.from_numpy(parts), torch.from_numpy(whole), place)
    return prior.at(voxel_size).denoise_tiles(inputs, sigma, factor).cpu().numpy()


@lru_cache(maxsize=2)
def _loaded(path: str, digest: str) -> PatchPrior:
    """The worker's own, kept for the next task."""
    prior = load_prior(path, "cuda" if torch.cuda.is_available() else "cpu")
    if prior.info["digest"] != digest:
        raise ValueError(
            f"the worker's {path} is another prior than the one asked for; give all the same file."
        )
    return prior
