"""Reconstruction with a diffusion prior: where the sampler and the projector meet.

A start that is cheap (total variation, or SIRT) is taken for a sample whose noise is the start's own error, with
some white noise on top if asked; then, step by step, the prior denoises the whole volume by tiles, conjugate
gradients pull the estimate to the measurement, and what was taken off is put back in part, down to the next
lower level. The approach is that of DDS (Chung et al. 2024) with the prior of Yang et al. 2025; that the prior also
knows the errors of such starts is that of restoration priors (Hu et al. 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from core.prior.denoiser import AIR, PatchPrior
from core.prior.patches import PatchGrid
from core.prior.sampler import karras_sigmas, sample
from core.progress import Callback, State, Step, Tiles, nested, state_of, stops
from core.projector import Projector
from core.reconstruct.calibration import Calibration
from core.reconstruct.coarse import halved_grid, on_grid, on_grid_of
from core.reconstruct.consistency import DataConsistency
from core.reconstruct.starts import (
    GUIDE_VIEWS,
    STARTS,
    expected_error,
    first_level,
    least_squares,
    seen_angles,
)
from core.volume import Shape

SIGMA_OF_NOISE = 10.0  # noise level from which a volume is made of noise alone

COARSEST = 160
"""Grids of more voxels across are reconstructed coarse to fine."""

FULL = 0.9
"""With a smaller share of half a turn than this, angles are missing."""


def diffusion(
    A: Projector,
    y: Tensor,
    prior: PatchPrior,
    *,
    weights: Tensor | None = None,
    num_steps: int = 4,
    sigma_max: float | None = None,
    rho: float = 3.0,
    start_noise: float | None = None,
    warm_start: str = "tv",
    start_iterations: int = 300,
    stages: int | None = None,
    trust: float = 1.0,
    cg_iterations: int = 6,
    churn: float = 0.0,
    mirror: bool = False,
    num_samples: int = 1,
    generator: torch.Generator | None = None,
    callback: Callback | None = None,
    resume: State | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Posterior sampling with a patch diffusion prior.

    Parameters
    ----------
    y : Tensor (v, angle, u)
        Line integrals.
    prior : PatchPrior
        Made for A's voxel size (`prior.at`). Where it raises StopIteration within a pass, what the steps before have
        made is returned; passed on where there is nothing yet.
    weights : Tensor (v, angle, u) or None
        Inverse variances of the rays; None = all equal.
    num_steps : int
        Passes of the prior over the volume, per sample.
    sigma_max, rho : float
        Karras noise levels, network units (1000 HU): from `sigma_max` to a fifth of it, or from noise alone down to
        that. None = what `first_level` says.
    start_noise : float or None
        Deviation of the white noise added to the start, network units. None = none for a single sample, a third of
        `sigma_max` for several, which would otherwise hardly differ.
    warm_start : a name in STARTS
    start_iterations : int
        Of the method that makes the start.
    stages : int or None
        Coarse to fine: with 2, all of this is first done on a grid of half the resolution, and the start begins from
        that; with 3 that one has a coarser one before it. None = as many as bring the coarsest below
        `COARSEST` voxels across, at least 2 where angles are missing. Not from noise alone.
    trust : float
        How strongly the measurement holds: the larger, the nearer data consistency comes to a plain least-squares
        fit. 1 weighs it as if each ray were as good as its weight (or its discretisation) says.
    cg_iterations : int
        Conjugate gradients per step.
    churn : float
        See `sample`.
    mirror : bool
        Each pass is averaged with that over the volume mirrored left to right, which is as likely: a bit better.
    num_samples : int
        More than one: their mean and, from their deviation, how far it is off.
    resume : State or None
        The `state` of an earlier step, to go on from; it brings the generator's.

    Returns
    -------
    x, std : Tensor (z, y, x) [1/mm]
        std, how far x is expected to be off, is None for one sample. See `core.reconstruct.calibration`.
    """
    if warm_start not in STARTS:
        raise ValueError(f"warm_start must be one of {', '.join(STARTS)}, got {warm_start!r}.")
    if stages is None:
        halvings = max(0, math.ceil(math.log2(max(A.domain_shape[1:]) / COARSEST)))
        stages = 1 + max(halvings, 1 if seen_angles(A) < FULL else 0)
    first = STARTS[warm_start]
    scale = float(torch.linalg.vector_norm(y)) or 1.0
    if generator is not None and resume is not None and "generator" in resume:
        generator.set_state(resume["generator"].cpu())
    begun, passes = state_of("start", resume), state_of("passes", resume)
    warm = None if passes is None else passes.get("warm")
    if first is not None and passes is None:
        x_init, start = None, _Start(A.domain_shape, callback, generator)
        if stages > 1 and begun is None:
            start.part = "coarse"
            coarse = Projector(halved_grid(A.vg), A.pg, A.backend)
            x, _ = diffusion(
                coarse, y, prior.at(coarse.vg.voxel_size), weights=weights, num_steps=num_steps, rho=rho,
                sigma_max=sigma_max, start_noise=0.0, warm_start=warm_start, start_iterations=start_iterations,
                stages=stages - 1, trust=trust, cg_iterations=cg_iterations, churn=churn, mirror=mirror,
                generator=generator, callback=start, resume=state_of("coarse", resume),
            )  # fmt: skip
            x_init = on_grid(x, A.domain_shape)
            if start.stopped:
                return x_init, None
        start.part = "start"
        if max(A.domain_shape[1:]) > COARSEST:
            start_iterations = max(1, start_iterations // 3)  # which take long there, and less is left to do
        x = first(A, y, weights, start_iterations, x_init=x_init, callback=start, resume=begun)
        if start.stopped:
            return x, None
        warm = PatchPrior.to_network(x)
    consistency = DataConsistency(A, y, warm=warm, weights=weights, trust=trust, num_iterations=cg_iterations)
    level = expected_error(A, y, weights)
    if sigma_max is None:
        sigma_max = first_level(level, warm, A.vg.voxel_size)
    sigmas = karras_sigmas(num_steps, sigma_max / 5, sigma_max if warm is not None else SIGMA_OF_NOISE, rho)
    if start_noise is None:
        start_noise = 0.0 if num_samples == 1 else sigma_max / 3
    keep = None if warm is None else _not_air(warm)
    guided = prior.config.guided and prior.config.use_guide and A.pg.num_views >= GUIDE_VIEWS
    guide = PatchPrior.to_network(least_squares(A, y, weights)) if guided else None
    samples = _Samples(num_samples, num_steps, consistency, scale, callback, warm, generator, passes)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        grid = PatchGrid.random(A.domain_shape, prior.config.tile, generator=generator)
        samples.tiles = grid.used(keep)
        try:
            denoised = prior(x, sigma, keep=keep, grid=grid, guide=guide)
            if not mirror:
                return denoised
            seen, shown = (None if v is None else v.flip(2) for v in (keep, guide))
            mirrored = prior(x.flip(2), sigma, keep=seen, guide=shown, generator=generator)
            return (denoised + mirrored.flip(2)) / 2
        except StopIteration:
            samples.stopped = True
            raise

    pending = state_of("sample", passes)
    while samples.wanted:
        if pending is None:
            noise = torch.randn(A.domain_shape, generator=generator).to(y.device)
            x = sigmas[0] * noise if warm is None else warm + start_noise * noise
        else:
            x = pending["x"]
        try:
            x = sample(
                denoise,
                x,
                sigmas,
                order=1 if churn else 2,
                churn=churn,
                correct=consistency,
                generator=generator,
                callback=samples.tell,
                resume=pending,
            )
        except StopIteration:  # within a first pass: what there is, is the start, or the samples before
            if warm is None and not samples.count:
                raise
            x = warm if warm is not None else x
        pending = None
        samples.add(PatchPrior.from_network(x))
    if samples.std is None:
        return samples.mean, None
    mean, std = PatchPrior.to_network(samples.mean), PatchPrior.to_network(samples.std)
    told = Calibration.of(prior.info).deviation(mean, std, level)
    return samples.mean, PatchPrior.from_network(told)


class _Start:
    """What the callback is told of the start's iterations, on whatever grid, and whether it asked to stop.

    `part` is what is at work: "coarse", all of it on a coarser grid, or "start", the start on this one.
    """

    def __init__(self, shape: Shape, callback: Callback | None, generator: torch.Generator | None) -> None:
        self.shape, self.callback, self.generator = shape, callback, generator
        self.stopped, self.part = False, "start"

    def __call__(self, step: Step) -> None:
        if self.callback is None:
            return
        if self.part == "coarse":
            step = Step(
                step.i,
                step.total,
                partial(on_grid_of, step, self.shape),
                step.residual,
                step.sigma,
                state=step.state,
            )
        state = None if step.state is None else partial(self._state, step.state)
        self.stopped = stops(self.callback, replace(step, stage="start", state=state))
        if self.stopped:
            raise StopIteration

    def _state(self, inner: Callable[[], State]) -> State:
        return _drawn(self.generator) | nested(self.part, inner())


def _drawn(generator: torch.Generator | None) -> dict[str, Tensor]:
    return {} if generator is None else {"generator": generator.get_state()}


class _Samples:
    """Mean and deviation of the samples so far (Welford), and what the callback is told of them."""

    def __init__(
        self,
        num_samples: int,
        num_steps: int,
        consistency: DataConsistency,
        scale: float,
        callback: Callback | None,
        warm: Tensor | None,
        generator: torch.Generator | None,
        resume: State | None,
    ) -> None:
        self.num_samples, self.num_steps, self.count = num_samples, num_steps, 0
        self.consistency, self.scale, self.callback = consistency, scale, callback
        self.warm, self.generator = warm, generator
        self.stopped = False
        self.tiles: Tiles | None = None
        self.mean = self.spread = torch.zeros(())
        if resume is not None:
            self.count, self.mean, self.spread = (resume[name] for name in ("count", "mean", "spread"))

    @property
    def wanted(self) -> bool:
        return not self.stopped and self.count < self.num_samples

    @property
    def std(self) -> Tensor | None:
        return (self.spread / (self.count - 1)).sqrt() if self.count > 1 else None

    def add(self, x: Tensor) -> None:
        if self.stopped and self.count:
            return  # a sample cut short would spoil the mean of the whole ones
        self.count += 1
        difference = x - self.mean
        self.mean = self.mean + difference / self.count
        self.spread = self.spread + difference * (x - self.mean)

    def tell(self, step: Step) -> None:
        if self.callback is None:
            return
        x, noisy, denoised = (
            None if part is None else PatchPrior.from_network(part)
            for part in (step.x, step.noisy, step.denoised)
        )
        assert x is not None
        told = replace(
            step,
            i=self.count * self.num_steps + step.i,
            total=self.num_samples * self.num_steps,
            iterate=(self.mean * self.count + x) / (self.count + 1),
            noisy=noisy,
            denoised=denoised,
            residual=self.consistency.residual / self.scale,
            tiles=self.tiles,
            state=None if step.state is None else partial(self._state, step.state),
        )
        self.stopped = stops(self.callback, told)
        if self.stopped:
            raise StopIteration

    def _state(self, inner: Callable[[], State]) -> State:
        passes = {"count": self.count, "mean": self.mean, "spread": self.spread, **nested("sample", inner())}
        if self.warm is not None:
            passes["warm"] = self.warm
        return _drawn(self.generator) | nested("passes", passes)


def _not_air(warm: Tensor, reach: int = 2) -> Tensor:
    """Voxels that may hold something: above AIR in the start, blurred, or within `reach` voxels of such."""
    near = [min(reach, (n - 1) // 2) for n in warm.shape]  # pooling takes no window beyond the volume
    size = [2 * r + 1 for r in near]
    smooth = functional.avg_pool3d(warm[None, None], size, 1, near, count_include_pad=False)
    return (functional.max_pool3d(smooth, size, 1, near) > AIR)[0, 0]
