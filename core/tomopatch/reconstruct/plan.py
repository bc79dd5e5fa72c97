"""The problem that a diffusion prior solves, and the plan made for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from tomopatch.prior.denoiser import PatchPrior
from tomopatch.projector import Projector
from tomopatch.reconstruct import tuned
from tomopatch.reconstruct.expected_error import angular_range
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.schema import record


@dataclass(frozen=True, eq=False)
class Problem:
    """A measurement to reconstruct with a prior.

    Attributes
    ----------
    A : Projector
    y : Tensor (v, angle, u)
        Line integrals.
    weights : Tensor (v, angle, u) or None
        Inverse variances of the rays; None = no photon noise.
    prior : PatchPrior
    options : DiffusionParams
    on_tiles : f(done, total) or None
        Called after each batch of tiles; raises StopIteration to stop.
    """

    A: Projector
    y: Tensor
    weights: Tensor | None
    prior: PatchPrior
    options: DiffusionParams
    on_tiles: Callable[[int, int], None] | None = None


@record
class Plan:
    """The resolved settings of a reconstruction on one grid; recorded in the result.

    Attributes
    ----------
    mode, condition : as in DiffusionParams
    grid : (z, y, x)
    voxel_size : (z, y, x) [mm], as passed to the prior
    sigmas : noise levels of the steps, network units
    eta : DDIM's stochasticity
    expected_error : RMS error expected of the initial reconstruction, network units; None without one
    sampling_ratio : views over those of a full scan at this grid
    remarks : sentences about clamped values and decisions
    coarse : the plan of the half resolution that came first, or None
    """

    mode: str
    condition: str
    grid: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    sigmas: tuple[float, ...]
    eta: float
    expected_error: float | None
    sampling_ratio: float | None
    remarks: tuple[str, ...] = ()
    coarse: Plan | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Effort:
    """Cost of a run in iterations of the initial reconstruction, for one progress bar over the whole run.

    Attributes
    ----------
    initial : iterations of the initial reconstruction
    passes : passes of the prior, of all samples
    per_pass : cost of a pass
    """

    initial: int
    passes: int
    per_pass: float

    @classmethod
    def of(cls, problem: Problem, initial: int) -> Effort:
        weights = sum(w.numel() for w in problem.prior.model.parameters())
        # an iteration costs in proportion to the views, a pass does not
        at_20_views = tuned.PASS_COST + tuned.PASS_COST_PER_MILLION * weights / 1e6
        options = problem.options
        per_pass = at_20_views * 20 / problem.A.pg.num_views
        return cls(initial, options.planned_steps * options.num_samples, per_pass)

    def share(self, iterations: float, passes: float = 0) -> float:
        """Share of the work done so far, 0 to 1."""
        total = self.initial + self.passes * self.per_pass
        return min(1.0, (min(iterations, self.initial) + passes * self.per_pass) / total)


def check_trained(prior: PatchPrior, options: DiffusionParams) -> None:
    """Refuse a mode that the prior was not trained for, in a sentence."""
    if options.trained_mode not in prior.trained.modes:
        name = prior.info.get("name", "this prior")
        raise ValueError(
            f"{name} was trained for {', '.join(prior.trained.modes)}, not for {options.trained_mode}; choose"
            " another prior or another mode."
        )


def num_stages(A: Projector, options: DiffusionParams) -> int:
    """Number of grids: the coarsest has at most COARSEST voxels across; two or more if angles are missing."""
    if options.condition == "none":
        return 1
    halvings = max(0, math.ceil(math.log2(max(A.domain_shape[1:]) / tuned.COARSEST)))
    missing = angular_range(A) < tuned.MISSING_RANGE
    return 1 + max(halvings, 1 if missing else 0)
