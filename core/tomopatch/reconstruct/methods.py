"""The methods by name, and `reconstruct`, which runs one of them on a measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.physics.measurement import Measurement
from tomopatch.progress import Callback, State, Step, nested, state_of, stops
from tomopatch.progress_bar import notebook_progress
from tomopatch.projector import Projector
from tomopatch.reconstruct.analytic import fbp, fdk
from tomopatch.reconstruct.coarse import tv_coarse_to_fine
from tomopatch.reconstruct.diffusion import Sampled, diffusion
from tomopatch.reconstruct.iterative import cgls, sirt
from tomopatch.reconstruct.memory import PeakMemory
from tomopatch.reconstruct.params import (
    AnalyticParams,
    CglsParams,
    DiffusionParams,
    SirtParams,
    TvParams,
    checked,
)
from tomopatch.reconstruct.plan import Plan, check_trained
from tomopatch.volume import MU_WATER, Volume


@dataclass(frozen=True)
class Control:
    """How a run of a method is watched, stopped and resumed.

    Attributes
    ----------
    callback : f(Step) or None
        Called after each iteration; raises StopIteration to stop and keep the iterate.
    resume : State or None
        The `state` of an earlier step, to continue from.
    on_tiles : f(done, total) or None
        Called after each batch of tiles of the prior; raises StopIteration to stop and keep the last step.
    """

    callback: Callback | None = None
    resume: State | None = None
    on_tiles: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Method:
    """A way to reconstruct.

    Attributes
    ----------
    label, summary : str
        Texts for users.
    run : f(A, measurement, params, prior, control) -> x (z, y, x) or Sampled
        Adapts the method's function to the arguments of `reconstruct`.
    params : dataclass
        Its parameters; a form and the command's flags are built from the fields.
    unsuited : f(geometry) -> str or None
        Why the method cannot reconstruct from this scan, in a sentence; None = it can.
    needs_prior : bool
        `run` gets a PatchPrior.
    """

    label: str
    summary: str
    run: Callable[[Projector, Measurement, Any, Any, Control], Tensor | Sampled]
    params: type
    unsuited: Callable[[Geometry], str | None] = lambda geometry: None
    needs_prior: bool = False


@dataclass(frozen=True, eq=False)
class Result:
    """A reconstruction and how it came about.

    Attributes
    ----------
    volume : Volume
    method : str
    params : dict
    status : "done" or "stopped"
        Stopped: the callback ended it early; the volume is the last iterate.
    seconds, peak_memory_mb : float
        Wall time without the callback's; by how much the process's memory grew above what it was before.
    residuals : tuple of float
        |A(x) - y| / |y| after each iteration, where the method measures it.
    std : Volume or None
        Expected error of each voxel, where the method estimates it.
    plan : Plan or None
        What a reconstruction with a prior resolved to: grids, noise levels, conditions, clamped numbers.
    """

    volume: Volume
    method: str
    params: dict[str, Any]
    status: str
    seconds: float
    peak_memory_mb: float
    residuals: tuple[float, ...] = ()
    std: Volume | None = None
    plan: Plan | None = None

    def __repr__(self) -> str:
        residual = f", residual {self.residuals[-1]:.3g}" if self.residuals else ""
        return f"Result({self.method!r}, {self.status} in {self.seconds:.1f} s{residual}, {self.volume!r})"


def _fbp_unsuited(geometry: Geometry) -> str | None:
    if isinstance(geometry, ParallelBeam) and not geometry.tilt:
        return None
    return "FBP needs a parallel beam without tilt."


def _fdk_unsuited(geometry: Geometry) -> str | None:
    if isinstance(geometry, ConeBeam) and not geometry.tilt and not geometry.pitch:
        return None
    return "FDK needs a cone beam on a circle: no pitch, no tilt."


def _low(params: Any) -> float | None:
    return 0.0 if params.nonnegative else None


METHODS: dict[str, Method] = {
    "fbp": Method(
        "FBP",
        "Filtered backprojection: the direct formula, instant, made for many views.",
        lambda A, m, p, prior, control: fbp(A, m.projections, filter=p.filter, callback=control.callback),
        AnalyticParams,
        _fbp_unsuited,
    ),
    "fdk": Method(
        "FDK",
        "Feldkamp: filtered backprojection for a cone beam on a circle.",
        lambda A, m, p, prior, control: fdk(A, m.projections, filter=p.filter, callback=control.callback),
        AnalyticParams,
        _fdk_unsuited,
    ),
    "sirt": Method(
        "SIRT",
        "Corrects the volume again and again until its projections fit; steady and smooth.",
        lambda A, m, p, prior, control: sirt(
            A,
            m.projections,
            num_iterations=p.num_iterations,
            low=_low(p),
            callback=control.callback,
            resume=control.resume,
        ),
        SirtParams,
    ),
    "cgls": Method(
        "CGLS",
        "Least squares by conjugate gradients: quick to converge, then fits the noise.",
        lambda A, m, p, prior, control: cgls(
            A,
            m.projections,
            num_iterations=p.num_iterations,
            weights=m.weights,
            callback=control.callback,
            resume=control.resume,
        ),
        CglsParams,
    ),
    "tv": Method(
        "TV",
        "Total variation: prefers piecewise constant regions with sharp edges; removes streaks, flattens texture.",
        lambda A, m, p, prior, control: tv_coarse_to_fine(
            A,
            m.projections,
            lam=p.lam * MU_WATER,
            num_iterations=p.num_iterations,
            weights=m.weights,
            low=_low(p),
            callback=control.callback,
            resume=control.resume,
        ),
        TvParams,
    ),
    "diffusion": Method(
        "Diffusion",
        "Volumes that look like CT and fit the measurement, with a prior learned on 3D patches.",
        lambda A, m, p, prior, control: diffusion(
            A,
            m.projections,
            prior,
            options=p,
            weights=m.weights,
            on_tiles=control.on_tiles,
            callback=control.callback,
            resume=control.resume,
        ),
        DiffusionParams,
        needs_prior=True,
    ),
}


def available(geometry: Geometry) -> dict[str, Method]:
    """The methods that this scan supports, by name."""
    return {name: method for name, method in METHODS.items() if method.unsuited(geometry) is None}


def check_suited(names: Sequence[str], geometry: Geometry) -> None:
    """Refuse methods that cannot reconstruct from this scan, in a sentence that names those that can."""
    for name in names:
        reason = METHODS[name].unsuited(geometry)
        if reason is not None:
            raise ValueError(
                f"{reason} Of this scan these can reconstruct: {', '.join(available(geometry))}."
            )


def make_params(method: str, values: dict[str, Any] | None = None) -> Any:
    """The method's params from a dict: unknown names and values out of range are refused in a sentence."""
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known are {', '.join(METHODS)}.")
    return checked(METHODS[method].params, values or {}, method)


def reconstruct(
    method: str,
    A: Projector,
    measurement: Measurement,
    *,
    params: Any = None,
    prior: Any = None,
    callback: Callback | None = None,
    resume: State | None = None,
    on_tiles: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Result:
    """Reconstruct a measurement on A's grid. Computed where A computes; the result lies where the measurement does.

    Parameters
    ----------
    method : str
        A name in METHODS.
    A : Projector
        Of the same scan as the measurement.
    params : the method's params dataclass, or None
    prior : PatchPrior or None
        For methods that need one.
    callback : f(Step) or None
        Called after each iteration; raises StopIteration to stop and keep the iterate. None in a notebook shows a
        progress bar.
    resume : State or None
        The `state` of a step of the same reconstruction: it continues after that step, to the same result.
    on_tiles : f(done, total) or None
        See `Control`.
    **options
        Instead of `params`: its fields by name.
    """
    if params is None:
        params = make_params(method, options)
    elif options or not is_dataclass(params) or not isinstance(params, METHODS[method].params):
        raise TypeError(
            f"give {method} either params={METHODS[method].params.__name__}(...) or its fields by name."
        )
    chosen = METHODS[method]
    check_suited([method], A.pg)
    measurement.check_projector(A)
    if chosen.needs_prior and prior is None:
        raise ValueError(f"{method} needs a prior: pass prior=load_prior().")
    if chosen.needs_prior:
        check_trained(prior, params)
    home = measurement.projections.device
    measurement = measurement.to(A.device)
    if resume is not None:
        resume = {name: v.to(A.device) if isinstance(v, Tensor) else v for name, v in resume.items()}
    if callback is None:
        callback = notebook_progress(chosen.label)

    residuals: list[float] = [] if resume is None else torch.as_tensor(resume["residuals"]).tolist()
    before = 0.0 if resume is None else resume["seconds"]
    stopped, told = False, 0.0

    def watch(step: Step) -> None:
        nonlocal stopped, told
        if step.residual is not None and not step.stage:
            residuals.append(step.residual)
        began = time.perf_counter()

        def state() -> State:
            assert step.state is not None
            figures = torch.tensor(residuals, dtype=torch.float64)
            seconds = before + began - started - told
            return {"residuals": figures, "seconds": seconds, **nested("method", step.state())}

        stopped = stops(callback, step if step.state is None else replace(step, state=state))
        told += time.perf_counter() - began
        if stopped:
            raise StopIteration

    with PeakMemory() as memory, torch.inference_mode():
        started = time.perf_counter()
        control = Control(watch, state_of("method", resume), on_tiles)
        out = chosen.run(A, measurement, params, prior, control)
    sampled = out if isinstance(out, Sampled) else Sampled(out)
    x, std = sampled.x, sampled.std
    if not bool(torch.isfinite(x).all()) or (std is not None and not bool(torch.isfinite(std).all())):
        raise ValueError(
            f"{chosen.label} gave a volume that is not finite; expected finite attenuation; check the measurement for "
            "values far beyond the others, or choose another method."
        )
    x, std = x.detach().to(home).clone(), None if std is None else std.detach().to(home).clone()
    return Result(
        volume=Volume(x, A.vg, chosen.label),
        method=method,
        params=asdict(params),
        status="stopped" if stopped else "done",
        seconds=before + time.perf_counter() - started - told,
        peak_memory_mb=memory.peak_mb,
        residuals=tuple(residuals),
        std=None if std is None else Volume(std, A.vg, f"{chosen.label}, deviation"),
        plan=sampled.plan,
    )
