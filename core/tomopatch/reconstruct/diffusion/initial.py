"""Initial reconstructions for the diffusion sampler, and its first noise level."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam
from tomopatch.prior.denoiser import AIR
from tomopatch.prior.rof import rof
from tomopatch.progress import State, Step, last
from tomopatch.projector import Projector
from tomopatch.reconstruct.classical.analytic import fbp, fdk
from tomopatch.reconstruct.classical.coarse import LAM_POWER, tv_coarse_to_fine
from tomopatch.reconstruct.classical.iterative import cgls, sirt
from tomopatch.reconstruct.diffusion.expected_error import sampling_ratio
from tomopatch.reconstruct.diffusion.tuned import (
    FLAT_FRACTION,
    FLAT_RIPPLE,
    FLAT_SHARE,
    FLAT_SLOPE,
    FLAT_VOXELS,
    LEAST_SQUARES_ITERATIONS,
    TV_RATIO,
    TV_WEIGHT,
    WIDER,
)
from tomopatch.volume import Triple


@dataclass(frozen=True, eq=False)
class Inputs:
    """Inputs of an initial reconstruction, with the names of the iterative methods."""

    A: Projector
    y: Tensor
    weights: Tensor | None
    num_iterations: int
    x_init: Tensor | None = None
    state: State | None = None


def tv_weight(A: Projector) -> float:
    """Weight of total variation, relative to water, for a scan: the fewer views, the larger."""
    return TV_WEIGHT * (sampling_ratio(A) / TV_RATIO) ** LAM_POWER


def _tv(i: Inputs) -> Iterator[Step]:
    return tv_coarse_to_fine(
        i.A, i.y, lam=tv_weight(i.A), weights=i.weights, num_iterations=i.num_iterations,
        x_init=i.x_init, state=i.state,
    )  # fmt: skip


def _sirt(i: Inputs) -> Iterator[Step]:
    return sirt(i.A, i.y, num_iterations=i.num_iterations, x_init=i.x_init, state=i.state)


def _cgls(i: Inputs) -> Iterator[Step]:
    """CGLS with a tenth of the iterations: it converges, and begins to fit noise, about ten times faster."""
    n = max(1, i.num_iterations // 10)
    return _nonnegative(cgls(i.A, i.y, weights=i.weights, num_iterations=n, x_init=i.x_init, state=i.state))


def _analytic(i: Inputs) -> Iterator[Step]:
    """FBP or FDK, in one step."""
    method = fdk if isinstance(i.A.pg, ConeBeam) else fbp
    return _nonnegative(method(i.A, i.y, filter="hann"))


def _nonnegative(steps: Iterator[Step]) -> Iterator[Step]:
    """Clip negative values of the estimates to zero."""
    for step in steps:
        yield replace(step, iterate=partial(_clipped, step))


def _clipped(step: Step) -> Tensor:
    return step.x.clamp(min=0)


INITIALIZERS: dict[str, Callable[[Inputs], Iterator[Step]]] = {
    "tv": _tv,
    "sirt": _sirt,
    "cgls": _cgls,
    "fbp": _analytic,
}
"""Initial reconstructions by name."""


def least_squares(A: Projector, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """Least-squares image (z, y, x) [1/mm]: a few conjugate gradients, unregularised, for any geometry."""
    return last(cgls(A, y, weights=weights, num_iterations=LEAST_SQUARES_ITERATIONS)).x


# ---- first noise level of restoration ------------------------------------------------------------------


def flat_fraction(x: Tensor, voxel_size: Triple) -> float:
    """Fraction of the non-air voxels of x (z, y, x), network space, with a slope below FLAT_SLOPE."""
    squared = torch.zeros_like(x)
    for axis, size in enumerate(voxel_size):
        ahead = (x.diff(dim=axis) / size).square()
        squared.narrow(axis, 0, ahead.shape[axis]).add_(ahead)
    body = x > AIR
    return float((squared[body].sqrt() < FLAT_SLOPE).float().mean()) if body.any() else 0.0


def _settled(x: Tensor, voxel_size: Triple) -> Tensor:
    """The middle slices of x, network space, with ripples below FLAT_RIPPLE removed.

    Total variation flattens constant regions last. When it stops, ripples of a few HU may be left in them.
    """
    n = max(1, FLAT_VOXELS // (x.shape[1] * x.shape[2]))
    start = max(0, (x.shape[0] - n) // 2)
    middle = x[start : start + n].contiguous()
    strength, size = x.new_tensor([FLAT_RIPPLE]), x.new_tensor([voxel_size])
    return rof(middle[None, None], strength, size, num_iterations=60)[0, 0]


def flatness(initial: Tensor, voxel_size: Triple) -> float:
    """`flat_fraction` of an initial reconstruction (z, y, x), network space, without its ripples."""
    return flat_fraction(_settled(initial, voxel_size), voxel_size)


def restoration_sigma(error: float, flat: float) -> float:
    """Noise level, network units, from which restoration starts.

    error : expected RMS error of the initial reconstruction, network units. flat : its `flatness`.
    """
    return WIDER * error * (FLAT_SHARE if flat > FLAT_FRACTION else 1.0)
