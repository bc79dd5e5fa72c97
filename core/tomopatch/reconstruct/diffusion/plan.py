"""The problem that a diffusion prior solves, and the plan made for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import Tensor

from tomopatch.prior.denoiser import PatchPrior
from tomopatch.projector import Projector
from tomopatch.reconstruct.classical.coarse import COARSER_COST, SET_UP, num_grids
from tomopatch.reconstruct.classical.total_variation import Convergence
from tomopatch.reconstruct.diffusion import tuned
from tomopatch.reconstruct.diffusion.expected_error import angular_range
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.schema import record
from tomopatch.volume import VolumeGeometry


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
    params : DiffusionParams
    on_tiles : f(done, total) or None
        Called after each batch of tiles; raises StopIteration to stop.
    """

    A: Projector
    y: Tensor
    weights: Tensor | None
    prior: PatchPrior
    params: DiffusionParams
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
    sampling_ratio : views over the number that resolves the grid; None without a condition
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
    """Expected cost of a run in iterations of total variation on its grid, for one progress bar.

    Attributes
    ----------
    steps : number of steps until sampling starts
    own : expected iterations of the initial reconstruction on this grid
    coarse : cost of the half resolution that comes first, or 0
    initial : cost until sampling starts, with `coarse`
    sampling : cost of all samples
    """

    steps: int
    own: int
    coarse: float
    initial: float
    sampling: float

    @classmethod
    def of(cls, problem: Problem, vg: VolumeGeometry, iterations: int, stages: int) -> Effort:
        """Expected cost on a grid.

        iterations : most iterations of the initial reconstruction
        stages : number of grids
        """
        params, prior = problem.params, problem.prior
        weights = sum(w.numel() for w in prior.model.parameters())
        # The cost of a pass is known in iterations with 20 views and a detector that fits the volume. That of
        # an iteration is proportional to the number of rays; a pass does not depend on them.
        depth, *across = problem.A.domain_shape
        usual_rays = 20 * math.sqrt(2) * depth * max(across)
        at_20_views = tuned.PASS_COST + tuned.PASS_COST_PER_MILLION * weights / 1e6
        one_pass = at_20_views * usual_rays / math.prod(problem.A.range_shape)
        passes: float = params.planned_steps
        if params.mode == "posterior" and params.condition != "none":
            passes *= 1 - tuned.KNOWN_SHARE * (1 - tuned.KNOWN_COST)
        sampling = tuned.PREPARATION_COST + passes * params.num_samples * one_pass
        if params.condition == "none":
            return cls(0, 0, 0.0, 0.0, sampling)
        most = most_iterations(vg, iterations)
        expected = {"tv": min(most, Convergence.USUAL), "sirt": most, "fbp": 1, "cgls": max(1, most // 10)}
        own = expected[params.initial]
        if stages > 1:
            before = cls.of(problem, vg.halved(), iterations, stages - 1)
            coarse = COARSER_COST * (before.initial + before.sampling / params.num_samples)
            return cls(own + params.planned_steps + before.steps, own, coarse, coarse + own, sampling)
        if params.initial != "tv":
            return cls(own, own, 0.0, own, sampling)
        grids = num_grids(vg)
        initial = (own + SET_UP) * sum(COARSER_COST**k for k in range(grids))
        return cls(own * grids, own, 0.0, initial, sampling)

    def share(self, initial: float, iterations: int | None = None) -> float:
        """Share of the run's work done, 0 to 1, if this share of the initial reconstruction is done.

        iterations : its iterations on this grid as forecast by now; None = as expected
        """
        cost = self.initial + (0 if iterations is None else max(0, iterations - self.own))
        return initial * cost / (cost + self.sampling)


def most_iterations(vg: VolumeGeometry, iterations: int) -> int:
    """Most iterations of the initial reconstruction: fewer on a large grid, which starts from another."""
    return max(1, iterations // tuned.FINE_SHARE) if max(vg.shape[1:]) > tuned.COARSEST else iterations


def check_trained(prior: PatchPrior, params: DiffusionParams) -> None:
    """Refuse a mode that the prior was not trained for, in a sentence."""
    if params.trained_mode not in prior.trained.modes:
        name = prior.info.get("name", "this prior")
        raise ValueError(
            f"{name} was trained for {', '.join(prior.trained.modes)}, not for {params.trained_mode}; choose"
            " another prior or another mode."
        )


def num_stages(A: Projector, params: DiffusionParams) -> int:
    """Number of grids: the coarsest has at most COARSEST voxels across; two or more if angles are missing."""
    if params.condition == "none":
        return 1
    halvings = max(0, math.ceil(math.log2(max(A.domain_shape[1:]) / tuned.COARSEST)))
    missing = angular_range(A) < tuned.MISSING_RANGE
    return 1 + max(halvings, 1 if missing else 0)
