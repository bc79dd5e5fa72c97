"""Reconstruction with a diffusion prior: where the sampler and the projector meet.

Two modes share one denoiser D(x, sigma | c), conditioned on images of the scan, and one loop: the prior denoises the whole
volume by tiles, conjugate gradients pull the estimate to the measurement, and noise is put back for the next,
lower level. (DDS, Chung et al. 2024, with the prior of Yang et al. 2025)

- *restore* starts from the initial reconstruction and takes a few deterministic passes. Its error counts as the noise.
  (Hu et al. 2024, A restoration network as an implicit prior)
- *posterior* starts from white noise and draws fresh noise in every step (eta = 1, the ancestral chain). Different seeds
  give different volumes, which differ by what the scan leaves open.

Where angles are missing, half the resolution is reconstructed first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.sampler import sample
from tomopatch.progress import Callback, State, Step, nested, state_of, stops
from tomopatch.projector import Projector
from tomopatch.reconstruct import tuned
from tomopatch.reconstruct.coarse import num_grids, on_grid, on_grid_of
from tomopatch.reconstruct.initial import INITIALIZERS
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.reconstruct.plan import Effort, Plan, Problem, check_trained, num_stages
from tomopatch.reconstruct.sampling import Rejected, Samples, prepare
from tomopatch.volume import VolumeGeometry


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
        Number of iterations of the initial reconstruction.
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
    problem = Problem(A, y, weights, prior, options, on_tiles)
    generator = torch.Generator().manual_seed(options.seed)
    if resume is not None and "generator" in resume:
        generator.set_state(resume["generator"].cpu())
    stages = num_stages(A, options) if stages is None else stages
    initial = _Initial(problem, initial_iterations, callback, generator)
    x, coarse = initial.run(stages, resume)
    if initial.stopped:
        assert x is not None
        return Sampled(x)
    passes = state_of("passes", resume)
    share = 1.0 if passes is None else float(passes["share"])
    stage = prepare(problem, x, generator=generator, coarse=coarse, share=share)
    samples = Samples(stage, options, initial.effort, callback, generator, passes)
    pending = state_of("sample", passes)
    while samples.wanted:
        stage = samples.stage
        noisy = pending["x"] if pending is not None else stage.first(generator)
        try:
            estimate = sample(
                samples.denoise,
                noisy,
                list(stage.plan.sigmas),
                order=1 if stage.plan.eta else 2,
                eta=stage.plan.eta,
                correct=samples.correct,
                generator=generator,
                callback=samples.report,
                resume=pending,
            )
        except Rejected as rejected:
            samples.stage = prepare(problem, x, generator=generator, coarse=coarse, share=rejected.share)
            samples.accepted = True
            continue
        except StopIteration:  # within a first pass
            if stage.initial is None and not samples.count:
                raise
            # the result is the initial reconstruction, or the samples before
            estimate = noisy if stage.initial is None else stage.initial
        pending = None
        samples.add(PatchPrior.from_network(estimate))
    return Sampled(samples.mean, samples.calibrated(prior), samples.stage.plan)


class _Initial:
    """The initial reconstruction, and half the resolution before it.

    All their steps are reported as one stage, "start", and counted through.
    """

    def __init__(
        self,
        problem: Problem,
        iterations: int,
        callback: Callback | None,
        generator: torch.Generator,
    ) -> None:
        self.problem, self.A, self.options = problem, problem.A, problem.options
        self.iterations, self.callback, self.generator = iterations, callback, generator
        self.stopped, self.part = False, "start"
        self.done = self.total = 0
        self.effort = Effort.of(problem, 0)

    def run(self, stages: int, resume: State | None) -> tuple[Tensor | None, Plan | None]:
        """The initial reconstruction (z, y, x) [1/mm], None without a condition, and the plan of the coarser grid."""
        if self.options.condition == "none":
            return None, None
        passes = state_of("passes", resume)
        if passes is not None:
            self.effort = Effort.of(self.problem, _planned(self.A.vg, self.options, self.iterations, stages))
            return passes["initial"], None
        self.done = 0 if resume is None else int(resume["done"])
        self.total = _planned(self.A.vg, self.options, self.iterations, stages)
        self.effort = Effort.of(self.problem, self.total)
        begun, x, plan = state_of("start", resume), None, None
        if stages > 1 and begun is None:
            self.part = "coarse"
            grid = Projector(self.A.vg.halved(), self.A.pg, self.A.backend)
            coarse = diffusion(
                grid, self.problem.y, self.problem.prior, options=replace(self.options, num_samples=1),
                weights=self.problem.weights, initial_iterations=self.iterations, stages=stages - 1,
                on_tiles=self.problem.on_tiles, callback=self, resume=state_of("coarse", resume),
            )  # fmt: skip
            x, plan = on_grid(coarse.x, self.A.domain_shape), coarse.plan
            if self.stopped:
                return x, plan
        self.part = "start"
        iterations = _iterations(self.A.vg, self.iterations)
        method = INITIALIZERS[self.options.initial]
        x = method(
            self.A, self.problem.y, self.problem.weights, iterations, x_init=x, callback=self, resume=begun
        )
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
            step,
            i=self.done,
            total=max(self.done, self.total),
            stage="start",
            work=self.effort.share(self.done),
            state=state,
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
        return own + options.planned_steps + _planned(vg.halved(), options, iterations, stages - 1)
    return own * num_grids(vg) if options.initial == "tv" else own
