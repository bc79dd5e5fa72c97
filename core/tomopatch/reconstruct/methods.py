"""Methods by name, and `reconstruct`, which runs one of them on a measurement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.physics.measurement import Measurement
from tomopatch.progress import Callback, Interrupted, State, Step, moved, stops
from tomopatch.progress_bar import notebook_progress
from tomopatch.projector import Projector
from tomopatch.reconstruct.analytic import fbp, fdk
from tomopatch.reconstruct.coarse import tv_coarse_to_fine
from tomopatch.reconstruct.diffusion import diffusion
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
from tomopatch.volume import MU_WATER, Volume, VolumeGeometry, resample


@dataclass(frozen=True)
class MethodInput:
    """Input of a method.

    Attributes
    ----------
    A : Projector
    y : Tensor (v, angle, u)
        Line integrals.
    weights : Tensor (v, angle, u) or None
        Inverse variances of the rays; None = no photon noise.
    params : the method's params dataclass
    prior : PatchPrior or None
    state : State or None
        State of an earlier step to continue from.
    on_tiles : f(done, total) or None
        Called after each batch of tiles of the prior; raises StopIteration to interrupt the pass.
    """

    A: Projector
    y: Tensor
    weights: Tensor | None
    params: Any
    prior: Any = None
    state: State | None = None
    on_tiles: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Method:
    """A reconstruction method.

    Attributes
    ----------
    label, summary : str
        Texts for users.
    steps : f(MethodInput) -> steps
        Calls the method's generator.
    params : dataclass
        Its parameters; a form and the command's flags are built from the fields.
    unsuited : f(geometry) -> str or None
        Reason why the method cannot reconstruct from this geometry, as a sentence; None if it can.
    needs_prior : bool
        It needs a PatchPrior.
    """

    label: str
    summary: str
    steps: Callable[[MethodInput], Iterator[Step]]
    params: type
    unsuited: Callable[[Geometry], str | None] = lambda geometry: None
    needs_prior: bool = False


@dataclass(frozen=True, eq=False)
class Result:
    """A reconstruction and the record of its computation.

    Attributes
    ----------
    volume : Volume
    method : str
    params : dict
    status : "done" or "stopped"
        Stopped: the callback ended it early; the volume is the last iterate.
    seconds, peak_memory_mb : float
        Wall time without the callback's; rise of the process's memory.
    residuals : tuple of float
        |A(x) - y| / |y| after each iteration, if the method measures it.
    std : Volume or None
        Expected error of each voxel, if the method estimates it.
    plan : Plan or None
        Resolved settings of a reconstruction with a prior: grids, noise levels, conditions, clamped numbers.
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
        lambda given: fbp(given.A, given.y, filter=given.params.filter, extrapolate=given.params.extrapolate),
        AnalyticParams,
        _fbp_unsuited,
    ),
    "fdk": Method(
        "FDK",
        "Feldkamp: filtered backprojection for a cone beam on a circle.",
        lambda given: fdk(given.A, given.y, filter=given.params.filter, extrapolate=given.params.extrapolate),
        AnalyticParams,
        _fdk_unsuited,
    ),
    "sirt": Method(
        "SIRT",
        "Corrects the volume again and again until its projections fit; steady and smooth.",
        lambda given: sirt(
            given.A,
            given.y,
            num_iterations=given.params.num_iterations,
            low=_low(given.params),
            state=given.state,
        ),
        SirtParams,
    ),
    "cgls": Method(
        "CGLS",
        "Least squares by conjugate gradients: quick to converge, then fits the noise.",
        lambda given: cgls(
            given.A,
            given.y,
            num_iterations=given.params.num_iterations,
            weights=given.weights,
            state=given.state,
        ),
        CglsParams,
    ),
    "tv": Method(
        "TV",
        "Total variation: prefers piecewise constant regions with sharp edges; removes streaks, flattens"
        " texture.",
        lambda given: tv_coarse_to_fine(
            given.A,
            given.y,
            lam=given.params.lam * MU_WATER,
            num_iterations=given.params.num_iterations,
            weights=given.weights,
            low=_low(given.params),
            state=given.state,
        ),
        TvParams,
    ),
    "diffusion": Method(
        "Diffusion",
        "Volumes that look like CT and fit the measurement, with a prior learned on 3D patches.",
        lambda given: diffusion(
            given.A,
            given.y,
            given.prior,
            options=given.params,
            weights=given.weights,
            on_tiles=given.on_tiles,
            state=given.state,
        ),
        DiffusionParams,
        needs_prior=True,
    ),
}


def available(geometry: Geometry) -> dict[str, Method]:
    """Methods that can reconstruct from this geometry, by name."""
    return {name: method for name, method in METHODS.items() if method.unsuited(geometry) is None}


def check_suited(names: Sequence[str], geometry: Geometry) -> None:
    """Refuse methods that cannot reconstruct from this geometry; the message names those that can."""
    for name in names:
        reason = METHODS[name].unsuited(geometry)
        if reason is not None:
            raise ValueError(f"{reason} These methods suit this scan: {', '.join(available(geometry))}.")


def make_params(method: str, values: dict[str, Any] | None = None) -> Any:
    """Make the params of a method from a dict; refuse unknown names and values out of range in a sentence."""
    if not isinstance(method, str) or method not in METHODS:
        raise ValueError(f"unknown method {method!r}; known are {', '.join(METHODS)}.")
    return checked(METHODS[method].params, {} if values is None else values, method)


def reconstruct(
    method: str,
    A: Projector,
    measurement: Measurement,
    *,
    params: Any = None,
    prior: Any = None,
    callback: Callback | None = None,
    state: State | None = None,
    on_tiles: Callable[[int, int], None] | None = None,
    **options: Any,
) -> Result:
    """Reconstruct a measurement on A's grid.

    A's device computes; the result is on the device of the measurement.

    Parameters
    ----------
    method : str
        A name in METHODS.
    A : Projector
        Its geometry must be that of the measurement.
    params : the method's params dataclass, or None
    prior : PatchPrior or None
        For methods that need one.
    callback : f(Step) or None
        Called after each iteration; raises StopIteration to stop and keep the iterate. None in a notebook
        shows a progress bar.
    state : State or None
        State of a step of the same reconstruction, which continues after that step, to the same result.
    on_tiles : f(done, total) or None
        Called after each batch of tiles of the prior; raises StopIteration to stop and keep the last step.
    **options
        Fields of the params dataclass by name, instead of `params`.

    Raises
    ------
    Interrupted
        If the first step was interrupted, so that there is no result.
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
    if callback is None:
        callback = notebook_progress(chosen.label)
    state = {} if state is None else moved(state, A.device)
    residuals: list[float] = torch.as_tensor(state.get("residuals", ())).tolist()
    before = state.get("seconds", 0.0)
    given = MethodInput(
        A, measurement.projections, measurement.weights, params, prior, state.get("method"), on_tiles
    )
    final: Step | None = None
    stopped, watching = False, 0.0
    with PeakMemory() as memory, torch.inference_mode():
        started = time.perf_counter()
        try:
            for final in chosen.steps(given):
                if final.residual is not None and not final.stage:
                    residuals.append(final.residual)
                now = time.perf_counter()
                step = final
                if final.state is not None:
                    figures = torch.tensor(residuals, dtype=torch.float64)
                    seconds = before + now - started - watching
                    step = replace(
                        final, state={"residuals": figures, "seconds": seconds, "method": final.state}
                    )
                stopped = stops(callback, step)
                watching += time.perf_counter() - now
                if stopped:
                    break
        except Interrupted:
            stopped = True
            if final is None:
                raise
        seconds = before + time.perf_counter() - started - watching
    assert final is not None, f"{method} made no step"
    x, std = final.x, final.std
    if not bool(torch.isfinite(x).all()) or (std is not None and not bool(torch.isfinite(std).all())):
        raise ValueError(
            f"{chosen.label} gave a volume that is not finite; expected finite attenuation; check the"
            " measurement for values far beyond the others, or choose another method."
        )
    x, std = x.detach().to(home).clone(), None if std is None else std.detach().to(home).clone()
    if measurement.metal is not None:
        metal = _on_grid(measurement.metal, A.vg).to(x)
        x = torch.where(metal > 0, metal, x)
    return Result(
        volume=Volume(x, A.vg, chosen.label),
        method=method,
        params=asdict(params),
        status="stopped" if stopped else "done",
        seconds=seconds,
        peak_memory_mb=memory.peak_mb,
        residuals=tuple(residuals),
        std=None if std is None else Volume(std, A.vg, f"{chosen.label}, deviation"),
        plan=final.plan,
    )


def _on_grid(metal: Volume, vg: VolumeGeometry) -> Tensor:
    """The metal of a measurement on another grid of the same extent."""
    if metal.geometry.with_shape(vg.shape) != vg:
        raise ValueError(
            "the metal of this measurement was found on a grid of another extent; reconstruct on a grid that"
            f" covers {' x '.join(f'{s:.4g}' for s in metal.geometry.size)} mm."
        )
    return metal.data if metal.shape == vg.shape else resample(metal, vg.shape).data
