"""Sampling on one grid: bound denoiser, noise levels, data consistency, and statistics of the samples."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from tomopatch.prior.combined import CombinedDenoiser
from tomopatch.prior.conditions import Condition
from tomopatch.prior.denoiser import AIR, Denoiser, PatchPrior, VolumeDenoiser, alternately_mirrored
from tomopatch.prior.sampler import karras_sigmas, sample
from tomopatch.progress import State, Step, Tiles
from tomopatch.reconstruct.diffusion import tuned
from tomopatch.reconstruct.diffusion.calibration import Calibration
from tomopatch.reconstruct.diffusion.consistency import (
    DataConsistency,
    posterior_consistency,
    restoration_consistency,
)
from tomopatch.reconstruct.diffusion.expected_error import ScanFigures, expected_error
from tomopatch.reconstruct.diffusion.initial import flatness, least_squares, restoration_sigma
from tomopatch.reconstruct.diffusion.pace import Pace
from tomopatch.reconstruct.diffusion.plan import Plan, Problem
from tomopatch.volume import Shape, Triple


@dataclass(frozen=True, eq=False)
class Sampling:
    """Everything that sampling on one grid needs. Volumes are in network space.

    Attributes
    ----------
    bound : VolumeDenoiser
        The prior, bound to the measurement.
    denoiser : D(x, sigma)
        The denoiser to sample: the bound prior, or its combination with the initial reconstruction. Every
        second pass is mirrored.
    initial : Tensor or None
        The initial reconstruction; None without a condition.
    start_noise : float
        Deviation of the white noise added to the initial reconstruction; only in restoration.
    costs : tuple of float
        Cost of each step, in passes of the prior.
    restoration_sigma : float
        Noise level at which the initial reconstruction is restored.
    flat : float
        Flat fraction of the initial reconstruction.
    far_finer : bool
        Whether the voxels are far smaller than those that the prior was trained on.
    judge : f() -> DataConsistency, or None
        Makes the data consistency that judges the first pass. It takes the noise level as the error of the
        denoised estimate, because the thresholds were fitted so. None without an initial reconstruction.
    """

    plan: Plan
    bound: VolumeDenoiser
    denoiser: Denoiser
    consistency: DataConsistency
    initial: Tensor | None
    start_noise: float
    shape: Shape
    device: torch.device
    costs: tuple[float, ...]
    restoration_sigma: float = 0.0
    flat: float = 0.0
    far_finer: bool = False
    judge: Callable[[], DataConsistency] | None = None

    def first(self, generator: torch.Generator) -> Tensor:
        """The noisy volume that a sample starts from."""
        noise = torch.randn(self.shape, generator=generator, dtype=torch.float32).to(self.device)
        if self.plan.mode == "restore":
            assert self.initial is not None
            return self.initial + self.start_noise * noise
        centre = self.bound.prior.config.mean if self.initial is None else self.initial
        return centre + self.plan.sigmas[0] * noise

    @property
    def tiles(self) -> Tiles | None:
        """The tiles of the last pass."""
        tiling = self.bound.tiling
        return None if tiling is None else tiling.used(self.bound.mask)

    def accepted_share(self, first: Step) -> float:
        """Share of the usual noise level to restore from, judged after the first step.

        It is below 1 if data consistency undid most of the prior's change. Then the prior makes changes that
        contradict the measurement, or the initial reconstruction is already good. It falls furthest for
        objects that total variation describes better than the prior: those that may be piecewise constant,
        and those that changed no more than the prior changes an image without errors. Both modes are judged
        alike, because the first step of both restores the initial reconstruction.
        """
        assert self.initial is not None
        assert first.denoised is not None
        assert self.judge is not None
        corrected = self.judge()(first.denoised, self.restoration_sigma)
        changed = torch.linalg.vector_norm(first.denoised - self.initial).clamp(min=1e-12)
        taken_back = float(torch.linalg.vector_norm(corrected - first.denoised) / changed)
        change = float((corrected - self.initial).square().mean().sqrt())
        doubt = 1 - _within(change, *tuned.LITTLE_CHANGE)
        limits = tuned.FINER_LIMITS
        if not self.far_finer:
            usual, doubtful = (tuned.PULLED_BACK, tuned.REJECTED), tuned.DOUBTFUL_LIMITS
            limits = _between(usual[0], doubtful[0], doubt), _between(usual[1], doubtful[1], doubt)
        least = _between(tuned.LEAST_TEXTURED, tuned.LEAST_SHARE, doubt)
        if self.far_finer or self.flat > tuned.FLAT_DOUBT:
            least = tuned.LEAST_SHARE
        share = _between(1.0, least, _within(taken_back, *limits))
        if self.plan.mode == "restore":
            return share
        return max(tuned.LEAST_SHARE, share**2)  # a sample has more error than a restored volume

    @property
    def first_cost(self) -> float:
        """Cost of the first step, in passes: it restores the condition, and the prior's change is judged."""
        return 1.0 if self.judge is None else 1.0 + tuned.JUDGE_COST

    def deviation(self, mean: Mean) -> Tensor | None:
        """Expected error of the samples' mean per voxel [1/mm] (see `calibration`); None for one sample."""
        if mean.count < 2:
            return None
        prior = self.bound.prior
        std = (mean.squares / (mean.count - 1)).sqrt()
        error = self.plan.expected_error or prior.config.sigma_data
        calibration = Calibration.of(prior.info, self.plan.mode)
        deviation = calibration.deviation(PatchPrior.to_network(mean.mean), PatchPrior.to_network(std), error)
        return PatchPrior.from_network(deviation)


def _within(value: float, low: float, high: float) -> float:
    """Position of a value between two limits, from 0 to 1."""
    return min(1.0, max(0.0, (value - low) / (high - low)))


def _between(a: float, b: float, share: float) -> float:
    return a + share * (b - a)


def plan_sampling(
    problem: Problem,
    x: Tensor | None,
    *,
    generator: torch.Generator,
    coarse: Plan | None = None,
    share: float = 1.0,
) -> Sampling:
    """Bind the denoiser to the measurement and resolve the plan.

    x : initial reconstruction (z, y, x) [1/mm]; None without a condition. coarse : plan of the coarser grid.
    share : share of the usual noise level at which the initial reconstruction is restored.
    """
    A, y, weights, prior, params = (
        problem.A, problem.y, problem.weights, problem.prior, problem.params
    )  # fmt: skip
    if x is None:
        error, figures, known = None, None, _Known(prior.config.sigma_data)
    else:
        figures = ScanFigures.of(A, y, weights)
        error = expected_error(figures, A.vg.voxel_size)
        initial = PatchPrior.to_network(x)
        flat = flatness(initial, A.vg.voxel_size)
        known = _Known(error, initial, share * restoration_sigma(error, flat), flat)
    bound = prior.bind(
        A.vg.voxel_size,
        condition=_condition(problem, known, figures),
        mask=None if known.initial is None else not_air(known.initial),
        generator=generator,
        on_tiles=problem.on_tiles,
    )
    remarks = bound.remarks
    if share < 1:
        remarks += (
            "Data consistency undid most of the prior's change: the object may be unlike the training data,"
            " or the initial reconstruction is already good. The prior worked at"
            f" {100 * share:.0f} % of the usual noise level.",
        )
    start_noise, eta = 0.0, 0.0
    denoiser: Denoiser = bound
    costs = [1.0] * params.planned_steps
    mirrored: Sequence[float] = ()
    if params.mode == "restore":
        assert x is not None
        first = params.sigma_max or known.restoration_sigma
        sigmas = karras_sigmas(params.planned_steps, first / tuned.RESTORE_SPAN, first, tuned.RESTORE_RHO)
        mirrored = sigmas[1:-1:2]
        consistency = restoration_consistency(A, y, weights, x, data_weight=params.data_weight)
        if params.num_samples > 1:
            start_noise = first / 3
    else:
        usual = tuned.UNCONDITIONAL_SIGMA_MAX if known.initial is None else tuned.POSTERIOR_SIGMA_MAX
        first = params.sigma_max or usual
        last = min(tuned.POSTERIOR_SIGMA_MIN, first)
        sigmas, eta = karras_sigmas(params.planned_steps, last, first, tuned.POSTERIOR_RHO), params.eta
        mirrored = sigmas[1:-1:2]
        if x is not None and known.initial is not None:
            denoiser = CombinedDenoiser(
                bound, known.initial, known.spread, known.restoration_sigma, generator
            )
            known_levels = set(filter(denoiser.is_known, sigmas[:-1]))
            costs = [tuned.KNOWN_COST if sigma in known_levels else 1.0 for sigma in sigmas[:-1]]
            # the restored condition is the same whenever it is computed, so a resumed run does not differ
            mirrored = [sigma for sigma in mirrored if sigma not in known_levels]
        elif "restore" in prior.trained.modes:
            denoiser = expecting_streaks(bound)
        consistency = posterior_consistency(
            A, y, weights, spread=known.spread, data_weight=params.data_weight
        )
    plan = Plan(
        params.mode, params.condition, A.domain_shape, bound.voxel_size, tuple(sigmas), eta, error,
        None if figures is None else figures.sampling_ratio, remarks, coarse,
    )  # fmt: skip
    return Sampling(
        plan=plan,
        bound=bound,
        denoiser=alternately_mirrored(denoiser, bound, mirrored),
        consistency=consistency,
        initial=known.initial,
        start_noise=start_noise,
        shape=A.domain_shape,
        device=y.device,
        costs=tuple(costs),
        restoration_sigma=known.restoration_sigma,
        flat=known.flat,
        far_finer=_far_finer(A.vg.voxel_size, bound.voxel_size),
        judge=None if x is None else partial(restoration_consistency, A, y, weights, x, relative_error=1.0),
    )


def _far_finer(voxel_size: Triple, trained: Triple) -> bool:
    """Whether voxels [mm] are FINER_RATIO times smaller than the nearest size in the trained range."""
    ratios = [size / nearest for size, nearest in zip(voxel_size, trained, strict=True)]
    return min(ratios) < 1 / tuned.FINER_RATIO


def expecting_streaks(denoiser: Denoiser) -> Denoiser:
    """Return D for samples with streaks and white noise: it is called with the noise level of both together.

    With few views, data consistency leaves streaks in every sample. A prior that was trained on
    reconstructions removes them if its noise level includes them. A prior that was trained on white noise
    alone would only blur them.
    """

    def denoise(x: Tensor, sigma: float) -> Tensor:
        return denoiser(x, math.hypot(sigma, min(tuned.STREAKS * sigma, tuned.MOST_STREAKS)))

    return denoise


@dataclass(frozen=True, eq=False)
class _Known:
    """Knowledge of the volume before sampling, in network units.

    error : its expected RMS error, or the data's deviation if nothing is known. initial : the initial
    reconstruction (z, y, x). restoration_sigma : noise level at which it is restored. flat : its `flatness`.
    """

    error: float
    initial: Tensor | None = None
    restoration_sigma: float = 0.0
    flat: float = 0.0

    @property
    def spread(self) -> float:
        """RMS error of the initial reconstruction that sampling assumes.

        It is proportional to the noise level at which the prior may restore.
        """
        return self.error if self.initial is None else self.restoration_sigma / tuned.WIDER


def _condition(problem: Problem, known: _Known, figures: ScanFigures | None) -> Condition | None:
    """Images of the measurement for the prior, as far as it has inputs for them."""
    config = problem.prior.config
    if known.initial is None or figures is None:
        return None
    shown = config.conditional or problem.A.pg.num_views >= tuned.LEAST_SQUARES_VIEWS
    image = None
    if config.least_squares and shown:
        image = PatchPrior.to_network(least_squares(problem.A, problem.y, problem.weights))
    return Condition(
        known.initial if config.conditional else None, known.error, image, figures.sampling_ratio
    )


def draw_samples(
    problem: Problem, x: Tensor | None, coarse: Plan | None, generator: torch.Generator, state: State
) -> Iterator[Step]:
    """Draw `params.num_samples` samples, one pass per step; each estimate is the mean of the samples so far.

    The work of a step is its share of the sampling.

    x : initial reconstruction (z, y, x) [1/mm]; None without a condition. coarse : plan of the coarser grid.
    state : state of an earlier step, or empty; the generator must be in its state of that time.
    """
    params, y, pace = problem.params, problem.y, Pace()
    share = float(state.get("share", 1.0))
    resolved = plan_sampling(problem, x, generator=generator, coarse=coarse, share=share)
    num_steps = len(resolved.plan.sigmas) - 1
    # a level of restoration that was given, or lowered before, is not lowered again
    given = params.mode == "restore" and params.sigma_max > 0
    accepted = bool(x is None or given or state)
    mean, inner = Mean.of(state), state.get("sample")
    scale, std = float(torch.linalg.vector_norm(y)) or 1.0, resolved.deviation(mean)
    while mean.count < params.num_samples:
        noisy = resolved.first(generator) if inner is None else inner["x"]
        steps = sample(
            resolved.denoiser,
            noisy,
            list(resolved.plan.sigmas),
            order=1 if resolved.plan.eta else 2,
            eta=resolved.plan.eta,
            correct=resolved.consistency,
            generator=generator,
            state=inner,
        )
        inner = None
        pace.begin_step()  # the preparations above come once and do not count as a step
        for step in steps:
            if not accepted:
                accepted, share = True, resolved.accepted_share(step)
                if share < 1:
                    resolved = plan_sampling(problem, x, generator=generator, coarse=coarse, share=share)
                    break
            done = mean.count
            i, current = done * num_steps + step.i, PatchPrior.from_network(step.x)
            if step.i == num_steps:
                mean.add(current)
                estimate, std = mean.mean, resolved.deviation(mean)
            else:
                estimate = (mean.mean * mean.count + current) / (mean.count + 1)
            kept = {"share": share, **mean.state}
            if step.i < num_steps:
                kept["sample"] = step.state
            if x is not None:
                kept["initial"] = x
            yield replace(
                step,
                i=i,
                total=params.num_samples * num_steps,
                work=pace.share(i, (resolved.first_cost, *(resolved.costs * params.num_samples)[1:])),
                iterate=estimate,
                noisy=None if step.noisy is None else PatchPrior.from_network(step.noisy),
                denoised=None if step.denoised is None else PatchPrior.from_network(step.denoised),
                residual=resolved.consistency.residual / scale,
                tiles=resolved.tiles,
                state=kept,
                std=std,
                initial=x,
                plan=resolved.plan,
            )


@dataclass
class Mean:
    """Running mean and sum of squared differences of the samples [1/mm]. (Welford 1962)"""

    count: int = 0
    mean: Tensor = field(default_factory=partial(torch.zeros, ()))
    squares: Tensor = field(default_factory=partial(torch.zeros, ()))

    @classmethod
    def of(cls, state: State) -> Mean:
        if "count" not in state:
            return cls()
        return cls(int(state["count"]), torch.as_tensor(state["mean"]), torch.as_tensor(state["squares"]))

    @property
    def state(self) -> dict[str, Any]:
        return {"count": self.count, "mean": self.mean, "squares": self.squares}

    def add(self, x: Tensor) -> None:
        """Include a sample (z, y, x)."""
        self.count += 1
        difference = x - self.mean
        self.mean = self.mean + difference / self.count
        self.squares = self.squares + difference * (x - self.mean)


def not_air(initial: Tensor, reach: int = 2) -> Tensor:
    """Voxels that may not be air: above AIR in the blurred initial reconstruction, or within `reach`."""
    near = [min(reach, (n - 1) // 2) for n in initial.shape]  # pooling windows must not exceed the volume
    size = [2 * r + 1 for r in near]
    smooth = functional.avg_pool3d(initial[None, None], size, 1, near, count_include_pad=False)
    return (functional.max_pool3d(smooth, size, 1, near) > AIR)[0, 0]
