"""Reconstruction with a diffusion prior: where the sampler and the projector meet.

Two modes share one denoiser D(x, sigma | c), conditioned on images of the scan, and one loop: the prior denoises the whole
volume by tiles, conjugate gradients pull the estimate to the measurement, and noise is put back for the next,
lower level. (DDS, Chung et al. 2024, with the prior of Yang et al. 2025)

- *restore* starts from the initial reconstruction and takes a few deterministic passes. Its error counts as the noise.
  (Hu et al. 2024, A restoration network as an implicit prior)
- *posterior* starts from white noise and draws fresh noise in every step (eta = 1, the ancestral chain). Different seeds
  give different volumes, which differ by what the scan leaves open.

Where views are few or angles are missing, half the resolution is reconstructed first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from core.prior.conditions import Condition
from core.prior.denoiser import AIR, PatchPrior, VolumeDenoiser
from core.prior.sampler import karras_sigmas, sample
from core.progress import Callback, State, Step, nested, state_of, stops
from core.projector import Projector
from core.reconstruct import tuned
from core.reconstruct.calibration import Calibration
from core.reconstruct.coarse import halved_grid, num_grids, on_grid, on_grid_of
from core.reconstruct.consistency import DataConsistency, posterior_consistency, restoration_consistency
from core.reconstruct.expected_error import ScanFigures, angular_range, expected_error
from core.reconstruct.initial import INITIALIZERS, least_squares, restoration_sigma
from core.reconstruct.params import DiffusionParams
from core.volume import Shape, VolumeGeometry


@dataclass(frozen=True)
class Plan:
    """What a reconstruction resolved to on one grid; recorded in the result.

    Attributes
    ----------
    mode, condition : as in DiffusionParams
    grid : (z, y, x)
    voxel_size : (z, y, x) [mm], as the prior was given it
    sigmas : noise levels of the steps, network units
    eta : DDIM's stochasticity
    expected_error : RMS error expected of the initial reconstruction, network units; None without one
    sampling_ratio : views over those of a full scan at this grid
    remarks : sentences on what was clamped or decided
    coarse : the plan of the half resolution that came first, or None
    """

    mode: str
    condition: str
    grid: Shape
    voxel_size: tuple[float, float, float]
    sigmas: tuple[float, ...]
    eta: float
    expected_error: float | None
    sampling_ratio: float | None
    remarks: tuple[str, ...] = ()
    coarse: Plan | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Sampled:
    """A reconstruction (z, y, x) [1/mm], its expected error per voxel if there are several samples, and the plan."""

    x: Tensor
    std: Tensor | None = None
    plan: Plan | None = None


def diffusion(
    A: Projector,
    y: Tensor,
    prior: PatchPrior,
    *,
    options: DiffusionParams | None = None,
    weights: Tensor | None = None,
    initial_iterations: int = tuned.INITIAL_ITERATIONS,
    stages: int | None = None,
    on_tiles: Callable[[int, int], None] | None = None,
    callback: Callback | None = None,
    resume: State | None = None,
) -> Sampled:
    """Reconstruct with a diffusion prior.

    Parameters
    ----------
    y : Tensor (v, angle, u)
        Line integrals.
    prior : PatchPrior
    options : DiffusionParams or None
        None = the defaults.
    weights : Tensor (v, angle, u) or None
        Inverse variances of the rays; None = no photon noise.
    initial_iterations : int
        Of the initial reconstruction.
    stages : int or None
        Number of grids, each with half the resolution of the next. None = see `num_stages`.
    on_tiles : f(done, total) or None
        Called after each batch of tiles. If it raises StopIteration, the result is that of the step before.
    callback : f(Step) or None
        Called after each step; the steps before sampling have the stage "start".
    resume : State or None
        The `state` of an earlier step.

    Raises
    ------
    ValueError
        If the prior was not trained for the mode.
    """
    options = options or DiffusionParams()
    check_trained(prior, options)
    generator = torch.Generator().manual_seed(options.seed)
    if resume is not None and "generator" in resume:
        generator.set_state(resume["generator"].cpu())
    stages = num_stages(A, options) if stages is None else stages
    initial = _Initial(A, y, weights, options, initial_iterations, callback, generator)
    x, coarse = initial.run(prior, stages, on_tiles, resume)
    if initial.stopped:
        assert x is not None
        return Sampled(x)
    passes = state_of("passes", resume)
    stage = _prepare(A, y, weights, prior, options, x, coarse, generator, on_tiles)
    samples = _Samples(stage, options, callback, generator, passes)
    pending = state_of("sample", passes)
    while samples.wanted:
        x = pending["x"] if pending is not None else stage.first(generator)
        try:
            x = sample(
                samples.denoise,
                x,
                list(stage.plan.sigmas),
                order=1 if stage.plan.eta else 2,
                eta=stage.plan.eta,
                correct=stage.consistency,
                generator=generator,
                callback=samples.report,
                resume=pending,
            )
        except (
            StopIteration
        ):  # within a first pass: the result is the initial reconstruction, or the samples before
            if stage.initial is None and not samples.count:
                raise
            x = stage.initial if stage.initial is not None else x
        pending = None
        samples.add(PatchPrior.from_network(x))
    return Sampled(samples.mean, samples.calibrated(prior), stage.plan)


def check_trained(prior: PatchPrior, options: DiffusionParams) -> None:
    """Refuse a mode that the prior was not trained for, in a sentence."""
    if options.trained_mode not in prior.trained.modes:
        name = prior.info.get("name", "this prior")
        raise ValueError(
            f"{name} was trained for {', '.join(prior.trained.modes)}, not for {options.trained_mode}; choose another prior "
            "or another mode."
        )


def num_stages(A: Projector, options: DiffusionParams) -> int:
    """Number of grids: enough to bring the coarsest below COARSEST voxels across, and two where much is missing."""
    if options.condition == "none":
        return 1
    halvings = max(0, math.ceil(math.log2(max(A.domain_shape[1:]) / tuned.COARSEST)))
    missing = angular_range(A) < tuned.MISSING_RANGE or A.pg.num_views < tuned.FEW_VIEWS
    return 1 + max(halvings, 1 if missing else 0)


# ---- the initial reconstruction ------------------------------------------------------------------------


class _Initial:
    """The initial reconstruction, and half the resolution before it.

    All their steps are reported as one stage, "start", and counted through.
    """

    def __init__(
        self,
        A: Projector,
        y: Tensor,
        weights: Tensor | None,
        options: DiffusionParams,
        iterations: int,
        callback: Callback | None,
        generator: torch.Generator,
    ) -> None:
        self.A, self.y, self.weights, self.options = A, y, weights, options
        self.iterations, self.callback, self.generator = iterations, callback, generator
        self.stopped, self.part = False, "start"
        self.done = self.total = 0

    def run(
        self,
        prior: PatchPrior,
        stages: int,
        on_tiles: Callable[[int, int], None] | None,
        resume: State | None,
    ) -> tuple[Tensor | None, Plan | None]:
        """The initial reconstruction (z, y, x) [1/mm], None without a condition, and the plan of the coarser grid."""
        if self.options.condition == "none":
            return None, None
        passes = state_of("passes", resume)
        if passes is not None:
            return passes["initial"], None
        self.done = 0 if resume is None else int(resume["done"])
        self.total = _planned(self.A.vg, self.options, self.iterations, stages)
        begun, x, plan = state_of("start", resume), None, None
        if stages > 1 and begun is None:
            self.part = "coarse"
            grid = Projector(halved_grid(self.A.vg), self.A.pg, self.A.backend)
            coarse = diffusion(
                grid, self.y, prior, options=replace(self.options, num_samples=1), weights=self.weights,
                initial_iterations=self.iterations, stages=stages - 1, on_tiles=on_tiles, callback=self,
                resume=state_of("coarse", resume),
            )  # fmt: skip
            x, plan = on_grid(coarse.x, self.A.domain_shape), coarse.plan
            if self.stopped:
                return x, plan
        self.part = "start"
        iterations = _iterations(self.A.vg, self.iterations)
        method = INITIALIZERS[self.options.initial]
        x = method(self.A, self.y, self.weights, iterations, x_init=x, callback=self, resume=begun)
        return x, plan

    def __call__(self, step: Step) -> None:
        self.done += 1
        if self.callback is None:
            return
        if self.part == "coarse":
            step = replace(step, iterate=partial(on_grid_of, step, self.A.domain_shape), tiles=None)
            step = replace(step, noisy=None, denoised=None)  # of another grid
        state = None if step.state is None else partial(self._state, step.state)
        shown = replace(
            step, i=self.done, total=max(self.done, self.total), stage="start", work=None, state=state
        )
        self.stopped = stops(self.callback, shown)
        if self.stopped:
            raise StopIteration

    def _state(self, inner: Callable[[], State]) -> State:
        begun = {"generator": self.generator.get_state(), "done": self.done}
        return begun | nested(self.part, inner())


def _iterations(vg: VolumeGeometry, iterations: int) -> int:
    """Iterations of the initial reconstruction on a grid: on a large one fewer, since it starts from a coarser one."""
    return max(1, iterations // tuned.FINE_SHARE) if max(vg.shape[1:]) > tuned.COARSEST else iterations


def _planned(vg: VolumeGeometry, options: DiffusionParams, iterations: int, stages: int) -> int:
    """Number of steps until sampling starts on this grid."""
    own = {"tv": _iterations(vg, iterations), "sirt": _iterations(vg, iterations), "fbp": 1}.get(
        options.initial, max(1, _iterations(vg, iterations) // 10)
    )
    if stages > 1:
        return own + options.planned_steps + _planned(halved_grid(vg), options, iterations, stages - 1)
    return own * num_grids(vg) if options.initial == "tv" else own


# ---- sampling on one grid --------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Stage:
    """Everything that sampling on one grid needs. Volumes in network space."""

    plan: Plan
    denoiser: VolumeDenoiser
    consistency: DataConsistency
    initial: Tensor | None  # None without a condition
    initial_mu: Tensor | None  # the same in 1/mm, as it was made: a resumed run starts from the same bits
    start_noise: float  # of white noise added to the initial reconstruction; restoration alone
    shape: Shape
    scale: float  # |y|
    device: torch.device

    def first(self, generator: torch.Generator) -> Tensor:
        """The noisy volume that a sample starts from."""
        noise = torch.randn(self.shape, generator=generator).to(self.device)
        if self.plan.mode == "restore":
            assert self.initial is not None
            return self.initial + self.start_noise * noise
        centre = self.denoiser.prior.config.mean if self.initial is None else self.initial
        return centre + self.plan.sigmas[0] * noise


def _prepare(
    A: Projector,
    y: Tensor,
    weights: Tensor | None,
    prior: PatchPrior,
    options: DiffusionParams,
    x: Tensor | None,
    coarse: Plan | None,
    generator: torch.Generator,
    on_tiles: Callable[[int, int], None] | None,
) -> _Stage:
    """Bind the denoiser to the scan and resolve the plan."""
    voxel_size = A.vg.voxel_size
    condition, mask, initial, figures, error = None, None, None, None, None
    if x is not None:
        initial, figures = PatchPrior.to_network(x), ScanFigures.of(A, y, weights, x)
        error = expected_error(figures, voxel_size)
        ls = PatchPrior.to_network(least_squares(A, y, weights)) if prior.config.least_squares else None
        image = initial if prior.config.conditional else None
        condition = Condition(image, error, ls, figures.sampling_ratio)
        mask = _not_air(initial)
    denoiser = prior.bind(voxel_size, condition=condition, mask=mask, generator=generator, on_tiles=on_tiles)
    if options.mode == "restore":
        assert x is not None
        assert initial is not None
        assert error is not None
        sigma_max = options.sigma_max or restoration_sigma(error, initial, voxel_size)
        sigmas = karras_sigmas(
            options.planned_steps, sigma_max / tuned.RESTORE_SPAN, sigma_max, tuned.RESTORE_RHO
        )
        consistency = restoration_consistency(A, y, weights, x, data_weight=options.data_weight)
        eta, start_noise = 0.0, sigma_max / 3 if options.num_samples > 1 else 0.0
    else:
        sigma_max = options.sigma_max or tuned.POSTERIOR_SIGMA_MAX
        sigma_min = min(tuned.POSTERIOR_SIGMA_MIN, sigma_max)
        sigmas = karras_sigmas(options.planned_steps, sigma_min, sigma_max, tuned.POSTERIOR_RHO)
        spread = prior.config.sigma_data if error is None or not prior.config.conditional else error
        consistency = posterior_consistency(A, y, weights, spread=spread, data_weight=options.data_weight)
        eta, start_noise = options.eta, 0.0
    plan = Plan(
        options.mode, options.condition, A.domain_shape, denoiser.voxel_size, tuple(sigmas), eta, error,
        None if figures is None else figures.sampling_ratio, denoiser.remarks, coarse,
    )  # fmt: skip
    scale = float(torch.linalg.vector_norm(y)) or 1.0
    return _Stage(plan, denoiser, consistency, initial, x, start_noise, A.domain_shape, scale, y.device)


class _Samples:
    """Mean and deviation of the samples so far (Welford), and what the callback is given."""

    def __init__(
        self,
        stage: _Stage,
        options: DiffusionParams,
        callback: Callback | None,
        generator: torch.Generator,
        resume: State | None,
    ) -> None:
        self.stage, self.callback, self.generator = stage, callback, generator
        self.num_samples, self.num_steps, self.count = options.num_samples, len(stage.plan.sigmas) - 1, 0
        self.stopped = False
        self.mean = self.squares = torch.zeros(())
        if resume is not None:
            self.count, self.mean, self.squares = (resume[name] for name in ("count", "mean", "squares"))

    @property
    def wanted(self) -> bool:
        return not self.stopped and self.count < self.num_samples

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        try:
            return self.stage.denoiser(x, sigma)
        except StopIteration:
            self.stopped = True
            raise

    def add(self, x: Tensor) -> None:
        if self.stopped and self.count:
            return  # a sample that was cut short does not belong in the mean
        self.count += 1
        difference = x - self.mean
        self.mean = self.mean + difference / self.count
        self.squares = self.squares + difference * (x - self.mean)

    def calibrated(self, prior: PatchPrior) -> Tensor | None:
        """Expected error of the mean per voxel [1/mm]; None for a single sample. See `core.reconstruct.calibration`."""
        if self.count < 2:
            return None
        std = (self.squares / (self.count - 1)).sqrt()
        calibration = Calibration.of(prior.info, self.stage.plan.mode)
        level = self.stage.plan.expected_error or prior.config.sigma_data
        mean, std = PatchPrior.to_network(self.mean), PatchPrior.to_network(std)
        return PatchPrior.from_network(calibration.deviation(mean, std, level))

    def report(self, step: Step) -> None:
        if self.callback is None:
            return
        x, noisy, denoised = (
            None if part is None else PatchPrior.from_network(part)
            for part in (step.x, step.noisy, step.denoised)
        )
        assert x is not None
        tiling = self.stage.denoiser.tiling
        shown = replace(
            step,
            i=self.count * self.num_steps + step.i,
            total=self.num_samples * self.num_steps,
            iterate=(self.mean * self.count + x) / (self.count + 1),
            noisy=noisy,
            denoised=denoised,
            residual=self.stage.consistency.residual / self.stage.scale,
            tiles=None if tiling is None else tiling.used(self.stage.denoiser.mask),
            state=None if step.state is None else partial(self._state, step.state),
        )
        self.stopped = stops(self.callback, shown)
        if self.stopped:
            raise StopIteration

    def _state(self, inner: Callable[[], State]) -> State:
        passes = {"count": self.count, "mean": self.mean, "squares": self.squares}
        if self.stage.initial_mu is not None:
            passes["initial"] = self.stage.initial_mu
        return {"generator": self.generator.get_state()} | nested(
            "passes", passes | nested("sample", inner())
        )


def _not_air(initial: Tensor, reach: int = 2) -> Tensor:
    """Voxels that may hold something: above AIR in the initial reconstruction, blurred, or within `reach` voxels."""
    near = [min(reach, (n - 1) // 2) for n in initial.shape]  # pooling takes no window beyond the volume
    size = [2 * r + 1 for r in near]
    smooth = functional.avg_pool3d(initial[None, None], size, 1, near, count_include_pad=False)
    return (functional.max_pool3d(smooth, size, 1, near) > AIR)[0, 0]
