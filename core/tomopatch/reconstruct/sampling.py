"""Sampling on one grid: the denoiser bound to a scan, the noise levels, data consistency, and the samples' statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from tomopatch.prior.conditions import Condition
from tomopatch.prior.denoiser import AIR, PatchPrior, VolumeDenoiser
from tomopatch.prior.sampler import karras_sigmas
from tomopatch.progress import Callback, State, Step, nested, stops
from tomopatch.reconstruct import tuned
from tomopatch.reconstruct.calibration import Calibration
from tomopatch.reconstruct.consistency import DataConsistency, posterior_consistency, restoration_consistency
from tomopatch.reconstruct.expected_error import ScanFigures, expected_error
from tomopatch.reconstruct.initial import least_squares, restoration_sigma
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.reconstruct.plan import Effort, Plan, Problem
from tomopatch.volume import Shape


class Rejected(Exception):
    """The scan takes back most of what the prior changes: restoration should start at `share` of the noise level."""

    def __init__(self, share: float) -> None:
        super().__init__(share)
        self.share = share


@dataclass(frozen=True, eq=False)
class Stage:
    """Everything that sampling on one grid needs. Volumes in network space.

    Attributes
    ----------
    initial : Tensor or None
        The initial reconstruction; None without a condition.
    initial_mu : Tensor or None
        The same in 1/mm, as it was made: a resumed run starts from the same bits.
    start_noise : float
        Deviation of the white noise added to the initial reconstruction; restoration alone.
    share : float
        Share of the usual noise level that restoration starts from; see `Rejected`.
    scale : float
        |y|.
    """

    plan: Plan
    denoiser: VolumeDenoiser
    consistency: DataConsistency
    initial: Tensor | None
    initial_mu: Tensor | None
    start_noise: float
    share: float
    shape: Shape
    scale: float
    device: torch.device

    def first(self, generator: torch.Generator) -> Tensor:
        """The noisy volume that a sample starts from."""
        noise = torch.randn(self.shape, generator=generator).to(self.device)
        if self.plan.mode == "restore":
            assert self.initial is not None
            return self.initial + self.start_noise * noise
        centre = self.denoiser.prior.config.mean if self.initial is None else self.initial
        return centre + self.plan.sigmas[0] * noise


def prepare(
    problem: Problem,
    x: Tensor | None,
    *,
    generator: torch.Generator,
    coarse: Plan | None = None,
    share: float = 1.0,
) -> Stage:
    """Bind the denoiser to the scan and resolve the plan.

    x : the initial reconstruction (z, y, x) [1/mm], None without a condition. coarse : the plan of the coarser grid.
    share : of the usual noise level, in restoration.
    """
    A, y, weights, prior, options = (
        problem.A, problem.y, problem.weights, problem.prior, problem.options
    )  # fmt: skip
    voxel_size, remarks = A.vg.voxel_size, []
    condition, mask, initial, figures, error = None, None, None, None, None
    if x is not None:
        initial, figures = PatchPrior.to_network(x), ScanFigures.of(A, y, weights, x)
        error = expected_error(figures, voxel_size)
        shown = prior.config.conditional or A.pg.num_views >= tuned.LEAST_SQUARES_VIEWS
        ls = None
        if prior.config.least_squares and shown:
            ls = PatchPrior.to_network(least_squares(A, y, weights))
        image = initial if prior.config.conditional else None
        condition = Condition(image, error, ls, figures.sampling_ratio)
        mask = _not_air(initial)
    denoiser = prior.bind(
        voxel_size, condition=condition, mask=mask, generator=generator, on_tiles=problem.on_tiles
    )
    start_noise, eta = 0.0, 0.0
    if options.mode == "restore":
        assert x is not None
        assert initial is not None
        assert error is not None
        sigma_max = options.sigma_max or share * restoration_sigma(error, initial, voxel_size)
        sigmas = karras_sigmas(
            options.planned_steps, sigma_max / tuned.RESTORE_SPAN, sigma_max, tuned.RESTORE_RHO
        )
        consistency = restoration_consistency(A, y, weights, x, data_weight=options.data_weight)
        if options.num_samples > 1:
            start_noise = sigma_max / 3
        if share < 1:
            remarks.append(
                "The scan took back most of what the prior changed: the object may be unlike the training data. "
                f"Restoration started at {100 * share:.0f} % of the usual noise level."
            )
    else:
        sigma_max = options.sigma_max or tuned.POSTERIOR_SIGMA_MAX
        sigma_min = min(tuned.POSTERIOR_SIGMA_MIN, sigma_max)
        sigmas = karras_sigmas(options.planned_steps, sigma_min, sigma_max, tuned.POSTERIOR_RHO)
        spread = prior.config.sigma_data if error is None else error
        consistency = posterior_consistency(A, y, weights, spread=spread, data_weight=options.data_weight)
        eta = options.eta
    plan = Plan(
        options.mode, options.condition, A.domain_shape, denoiser.voxel_size, tuple(sigmas), eta, error,
        None if figures is None else figures.sampling_ratio, (*denoiser.remarks, *remarks), coarse,
    )  # fmt: skip
    return Stage(
        plan=plan,
        denoiser=denoiser,
        consistency=consistency,
        initial=initial,
        initial_mu=x,
        start_noise=start_noise,
        share=share,
        shape=A.domain_shape,
        scale=float(torch.linalg.vector_norm(y)) or 1.0,
        device=y.device,
    )


class Samples:
    """Mean and deviation of the samples so far (Welford), and what the callback is given."""

    def __init__(
        self,
        stage: Stage,
        options: DiffusionParams,
        effort: Effort,
        callback: Callback | None,
        generator: torch.Generator,
        resume: State | None,
    ) -> None:
        self.stage, self.effort, self.callback, self.generator = stage, effort, callback, generator
        self.num_samples, self.num_steps, self.count = options.num_samples, len(stage.plan.sigmas) - 1, 0
        # a given noise level is used as it is, and a lowered one is not lowered again
        self.stopped, self.accepted = False, bool(options.sigma_max or stage.share < 1 or resume is not None)
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

    def correct(self, denoised: Tensor, sigma: float) -> Tensor:
        """The denoised estimate after data consistency.

        Raises
        ------
        Rejected
            If the scan takes back most of the first change that the prior makes to the initial reconstruction.
        """
        corrected = self.stage.consistency(denoised, sigma)
        if not self.accepted and self.stage.initial is not None and self.stage.plan.mode == "restore":
            changed = torch.linalg.vector_norm(denoised - self.stage.initial)
            taken_back = float(torch.linalg.vector_norm(corrected - denoised) / changed.clamp(min=1e-12))
            span = tuned.REJECTED - tuned.PULLED_BACK
            excess = min(1.0, max(0.0, (taken_back - tuned.PULLED_BACK) / span))
            if excess > 0:
                raise Rejected(1 - excess * (1 - tuned.LEAST_SHARE))
        self.accepted = True
        return corrected

    def add(self, x: Tensor) -> None:
        if self.stopped and self.count:
            return  # a sample that was cut short does not belong in the mean
        self.count += 1
        difference = x - self.mean
        self.mean = self.mean + difference / self.count
        self.squares = self.squares + difference * (x - self.mean)

    def calibrated(self, prior: PatchPrior) -> Tensor | None:
        """Expected error of the mean per voxel [1/mm]; None for a single sample. See `tomopatch.reconstruct.calibration`."""
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
            work=self.effort.share(self.effort.initial, self.count * self.num_steps + step.i),
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
        passes = {"count": self.count, "mean": self.mean, "squares": self.squares, "share": self.stage.share}
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
