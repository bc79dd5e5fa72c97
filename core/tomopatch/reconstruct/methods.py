"""Methods by name: what they need, which scans suit them, and their parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.progress import State, Step
from tomopatch.projector import Projector
from tomopatch.reconstruct.classical.analytic import fbp, fdk
from tomopatch.reconstruct.classical.coarse import tv_coarse_to_fine
from tomopatch.reconstruct.classical.iterative import cgls, sirt
from tomopatch.reconstruct.diffusion.method import diffusion
from tomopatch.reconstruct.params import (
    AnalyticParams,
    CglsParams,
    DiffusionParams,
    SirtParams,
    TvParams,
    checked,
)


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


def _fbp_unsuited(geometry: Geometry) -> str | None:
    if isinstance(geometry, ParallelBeam) and not geometry.tilt:
        return None
    return "FBP is unavailable: it needs a parallel beam without tilt."


def _fdk_unsuited(geometry: Geometry) -> str | None:
    if isinstance(geometry, ConeBeam) and not geometry.tilt and not geometry.pitch:
        return None
    return "FDK is unavailable: it needs a circular cone-beam scan without tilt."


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
            lam=given.params.lam,
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
            params=given.params,
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
