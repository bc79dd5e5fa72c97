"""Reconstruction with a diffusion prior: the sampler and the projector combined.

Two modes share one denoiser D(x, sigma | c), conditioned on images of the scan, and one loop: the prior
denoises the whole volume by tiles, conjugate gradients pull the estimate towards the measurement, and noise
is added again for the next, lower level. (DDS, Chung et al. 2024, with the prior of Yang et al. 2025)

- *restore* starts from the initial reconstruction and takes a few deterministic passes. Its error counts as
  the noise. (Hu et al. 2024, A restoration network as an implicit prior)
- *posterior* starts from white noise and adds fresh noise in every step (eta = 1, the ancestral chain).
  Different seeds give different volumes, which differ where the measurement leaves freedom.

If angles are missing, half the resolution is reconstructed first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from tomopatch.prior.denoiser import PatchPrior
from tomopatch.progress import State, Step
from tomopatch.projector import Projector
from tomopatch.reconstruct.classical.coarse import on_grid, on_grid_of
from tomopatch.reconstruct.diffusion import tuned
from tomopatch.reconstruct.diffusion.initial import INITIALIZERS, Inputs
from tomopatch.reconstruct.diffusion.plan import (
    Effort,
    Plan,
    Problem,
    check_trained,
    most_iterations,
    num_stages,
)
from tomopatch.reconstruct.diffusion.sampling import draw_samples
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.schema import read


def diffusion(
    A: Projector,
    y: Tensor,
    prior: PatchPrior,
    *,
    params: DiffusionParams | None = None,
    weights: Tensor | None = None,
    initial_iterations: int = tuned.INITIAL_ITERATIONS,
    stages: int | None = None,
    on_tiles: Callable[[int, int], None] | None = None,
    state: State | None = None,
) -> Iterator[Step]:
    """Reconstruct with a diffusion prior.

    The steps before sampling have the stage "initial". Each later step is one pass of the prior and carries
    the plan and, from the second sample on, the expected error.

    Parameters
    ----------
    y : Tensor (v, angle, u)
        Line integrals.
    prior : PatchPrior
    params : DiffusionParams or None
        None = the defaults.
    weights : Tensor (v, angle, u) or None
        Inverse variances of the rays; None = no photon noise.
    initial_iterations : int
        Most iterations of the initial reconstruction on each grid.
    stages : int or None
        Number of grids, each with half the resolution of the next. None = see `num_stages`.
    on_tiles : f(done, total) or None
        Called after each batch of tiles; raises StopIteration to interrupt the pass.
    state : State or None
        State of an earlier step to continue from.

    Raises
    ------
    ValueError
        If the prior was not trained for the mode.
    Interrupted
        If `on_tiles` stopped a pass.
    """
    params = params or DiffusionParams()
    check_trained(prior, params)
    problem = Problem(A, y, weights, prior, params, on_tiles)
    state = state or {}
    generator = torch.Generator().manual_seed(params.seed)
    if "generator" in state:
        generator.set_state(state["generator"].cpu())
    stages = num_stages(A, params) if stages is None else stages
    conditional = params.condition == "scan"
    effort = Effort.of(problem, A.vg, initial_iterations, stages)
    coarse = read(Plan, json.loads(state["coarse_plan"])) if "coarse_plan" in state else None
    sampling: State = state.get("sampling", {})
    x: Tensor | None = sampling.get("initial")
    before = float(state.get("before", effort.share(1.0)))  # share of the work before sampling
    if conditional and x is None:
        x, coarse, before = yield from _initial(
            problem, initial_iterations, stages, effort, generator, coarse, state
        )
    for step in draw_samples(problem, x, coarse, generator, sampling):
        kept = _state(generator, coarse) | {"sampling": step.state, "before": before}
        yield replace(step, state=kept, work=before + (1 - before) * (step.work or 0.0))


def _initial(
    problem: Problem,
    iterations: int,
    stages: int,
    effort: Effort,
    generator: torch.Generator,
    coarse: Plan | None,
    state: State,
) -> Generator[Step, None, tuple[Tensor, Plan | None, float]]:
    """The initial reconstruction, started from half the resolution if there are several stages.

    Steps are counted through all stages. Returns the reconstruction (z, y, x) [1/mm], the plan of the coarser
    grid, and the share of the run's work that is done.
    """
    A, params = problem.A, problem.params
    done, x = int(state.get("done", 0)), None
    share = effort.coarse / effort.initial  # of the half resolution
    if stages > 1 and "start" not in state:
        grid = Projector(A.vg.halved(), A.pg, A.backend)
        steps = diffusion(
            grid, problem.y, problem.prior, params=replace(params, num_samples=1), weights=problem.weights,
            initial_iterations=iterations, stages=stages - 1, on_tiles=problem.on_tiles,
            state=state.get("coarse"),
        )  # fmt: skip
        for step in steps:
            done += 1
            yield replace(
                _started(step, done, effort, _state(generator, None), "coarse"),
                work=effort.share(share * _done(step)),
                iterate=partial(on_grid_of, step, A.domain_shape),
                # these are on the coarser grid
                tiles=None, noisy=None, denoised=None, std=None, initial=None, plan=None,
            )  # fmt: skip
        x, coarse = on_grid(step.x, A.domain_shape), step.plan
    inputs = Inputs(A, problem.y, problem.weights, most_iterations(A.vg, iterations), x, state.get("start"))
    work = effort.share(share)
    for step in INITIALIZERS[params.initial](inputs):
        done += 1
        # once total variation works on this grid, it forecasts its iterations; steps before have a stage
        total = None if step.stage else step.total
        work = max(work, effort.share(share + (1 - share) * _done(step), total))
        yield replace(_started(step, done, effort, _state(generator, coarse), "start"), work=work)
    return step.x, coarse, work


def _done(step: Step) -> float:
    """Share of its method's work that is done after a step."""
    return step.i / step.total if step.work is None else step.work


def _started(step: Step, done: int, effort: Effort, state: State, part: str) -> Step:
    """A step of one part, counted through the whole initial reconstruction."""
    finished = step.state is None or step.i == step.total
    return replace(
        step,
        i=done,
        total=max(done + step.total - step.i, effort.steps),
        stage="initial",
        state=None if finished else {**state, "done": done, part: step.state},
    )


def _state(generator: torch.Generator, coarse: Plan | None) -> dict[str, object]:
    state: dict[str, object] = {"generator": generator.get_state()}
    return state if coarse is None else state | {"coarse_plan": json.dumps(coarse.to_json())}
