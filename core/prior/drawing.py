"""Volumes drawn from noise by the prior alone, coarse to fine."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from core.prior.denoiser import PatchPrior
from core.prior.patches import PatchGrid
from core.prior.sampler import karras_sigmas, sample
from core.progress import Callback, State, Step, nested, state_of
from core.volume import Shape, Volume, VolumeGeometry

COARSE_VOXELS = 6.0
"""In-plane size [mm] beyond which voxels are those of the coarse prior: between what the two were trained on."""

PASS_COST = 20_000
"""What a pass costs whatever its grid, in voxels, about: for telling how much is left."""

RENOISED = 0.6
"""Noise level, network units, from which a volume on a finer grid is drawn: enough to change details, not the whole."""


def draw(
    prior: PatchPrior,
    geometry: VolumeGeometry,
    *,
    coarse: PatchPrior | None = None,
    num_steps: int = 40,
    sigma_max: float = 40.0,
    sigma_min: float = 0.01,
    churn: float = 0.5,
    seed: int = 0,
    callback: Callback | None = None,
    resume: State | None = None,
) -> Volume:
    """Sample a volume from noise alone, coarse to fine.

    First on a grid so coarse that one tile of `coarse` holds all of it, and so knows the whole; then on grids twice as fine
    each, from the volume before with noise on top that lets its details change. (Ho et al. 2022, Cascaded diffusion models)

    Parameters
    ----------
    coarse : PatchPrior or None
        A prior for voxels of more than `COARSE_VOXELS`. None = all is drawn on the given grid by `prior`, of whose tiles each
        then goes its own way while the noise is strong.
    num_steps : int
        Passes over the volume: half of them on the coarsest grid, the rest shared by the others.
    sigma_max, sigma_min : float
        First and last noise level, network units.
    churn : float
        See `core.prior.sampler.sample`.
    callback : f(Step) or None
        Gets volumes in mu [1/mm], on the given grid whatever grid the pass was on.
    resume : State or None
        The `state` of an earlier step, to go on from.
    """
    grids = [geometry] if coarse is None else _coarse_to_fine(geometry, coarse.config.patch_size)
    counts = _shared_out(num_steps, len(grids))
    generator = torch.Generator().manual_seed(seed)
    begun = 0
    if resume is not None:
        generator.set_state(resume["generator"].cpu())
        begun = int(resume["stage"])
    x = torch.zeros(grids[0].shape)
    for k in (k for k in range(begun, len(grids)) if counts[k]):
        grid, level = grids[k], RENOISED if k else sigma_max
        chosen = coarse if coarse is not None and grid.voxel_size[2] > COARSE_VOXELS else prior
        stage = _Stage(k, grids, counts, chosen.at(grid.voxel_size), generator, callback)
        inner = state_of("sample", resume) if k == begun else None
        noisy = x
        if inner is None:
            clean = resized(x, grid.shape) if k else torch.full(grid.shape, chosen.config.mean)
            noisy = clean + level * torch.randn(grid.shape, generator=generator)
        try:
            x = sample(
                stage.denoise, noisy, karras_sigmas(counts[k], min(sigma_min, level), level), order=1, churn=churn,
                generator=generator, callback=None if callback is None else stage.tell, resume=inner,
            )  # fmt: skip
        except StopIteration:  # within the first pass on this grid
            if not k:
                raise
        if stage.stopped:
            break
    x = resized(x, geometry.shape, "nearest")  # as it was shown, if it ends on a coarse grid
    return Volume(PatchPrior.from_network(x).cpu(), geometry, "sample of the prior")


@dataclass
class _Stage:
    """The passes on one of the grids that a volume is drawn on."""

    k: int
    grids: list[VolumeGeometry]
    counts: list[int]  # passes on each
    prior: PatchPrior
    generator: torch.Generator
    callback: Callback | None
    stopped: bool = False

    def __post_init__(self) -> None:
        self.tiling = PatchGrid(self.grids[self.k].shape, self.prior.config.tile)

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        self.tiling = PatchGrid.random(self.tiling.shape, self.tiling.tile, generator=self.generator)
        try:
            return self.prior(x, sigma, grid=self.tiling)
        except StopIteration:
            self.stopped = True
            raise

    def tell(self, step: Step) -> None:
        assert self.callback is not None
        assert step.noisy is not None
        assert step.denoised is not None
        finest = self.grids[-1].shape
        x, noisy, denoised = (
            PatchPrior.from_network(resized(part, finest, "nearest"))
            for part in (step.x, step.noisy, step.denoised)
        )
        told = replace(
            step, i=sum(self.counts[: self.k]) + step.i, total=sum(self.counts), work=self.work(step.i),
            iterate=x, noisy=noisy, denoised=denoised, state=lambda: self.state(step),
            tiles=self.tiling.used() if self.tiling.shape == finest else None,
        )  # fmt: skip
        try:
            self.callback(told)
        except StopIteration:
            self.stopped = True
            raise

    def work(self, i: int) -> float:
        """The share that is done after i passes on this grid: a pass costs what its grid has voxels, and a bit."""
        costs = [math.prod(grid.shape) + PASS_COST for grid in self.grids]
        done = sum(n * cost for n, cost in zip(self.counts[: self.k], costs, strict=False))
        return (done + i * costs[self.k]) / sum(n * cost for n, cost in zip(self.counts, costs, strict=True))

    def state(self, step: Step) -> State:
        assert step.state is not None
        return {"generator": self.generator.get_state(), "stage": self.k} | nested("sample", step.state())


def _coarse_to_fine(geometry: VolumeGeometry, most: int) -> list[VolumeGeometry]:
    """The volume on grids of half the resolution each, down to one of at most `most` voxels a side; coarsest first."""
    grids = [geometry]
    while max(grids[0].shape) > most:
        finer = grids[0]
        z, y, x = (-(-n // 2) for n in finer.shape)
        size = geometry.size
        grids.insert(0, replace(finer, shape=(z, y, x), voxel_size=(size[0] / z, size[1] / y, size[2] / x)))
    return grids


def _shared_out(num_steps: int, stages: int) -> list[int]:
    """Half of the steps, or more, for the first stage; the others alike, none if there are too few."""
    later = [num_steps // 2 // max(1, stages - 1)] * (stages - 1)
    return [num_steps - sum(later), *later]


def resized(x: Tensor, shape: Shape, mode: str = "trilinear") -> Tensor:
    """x (z, y, x) interpolated to another grid of the same extent."""
    if tuple(x.shape) == tuple(shape):
        return x
    return functional.interpolate(x[None, None], shape, mode=mode)[0, 0]
