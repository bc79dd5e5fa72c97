"""Initial reconstructions for the diffusion sampler, and the noise level that it starts from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam
from tomopatch.prior.denoiser import AIR
from tomopatch.projector import Projector
from tomopatch.reconstruct.analytic import fbp, fdk
from tomopatch.reconstruct.coarse import LAM_POWER, tv_coarse_to_fine
from tomopatch.reconstruct.expected_error import sampling_ratio
from tomopatch.reconstruct.iterative import cgls, sirt
from tomopatch.reconstruct.tuned import FLAT_FRACTION, FLAT_SHARE, FLAT_SLOPE, WIDER
from tomopatch.volume import Triple

Initializer = Callable[..., Tensor]
"""f(A, y, weights, num_iterations, *, x_init, callback, resume) -> x (z, y, x) [1/mm]; the last three as in the iterative
methods."""

TV_WEIGHT, TV_RATIO = 5e-6, 0.1
"""Weight of total variation [1/mm] at this sampling ratio. It is near the best weight from 8 to 60 views on a held-out
chest CT (`popi_4dct_phase00`)."""

LEAST_SQUARES_ITERATIONS = 10


def tv_weight(A: Projector) -> float:
    """Weight of total variation [1/mm] for a scan: the fewer views, the larger."""
    return TV_WEIGHT * (sampling_ratio(A) / TV_RATIO) ** LAM_POWER


def _tv(A: Projector, y: Tensor, weights: Tensor | None, num_iterations: int, **loop: Any) -> Tensor:
    return tv_coarse_to_fine(A, y, lam=tv_weight(A), weights=weights, num_iterations=num_iterations, **loop)


def _sirt(A: Projector, y: Tensor, weights: Tensor | None, num_iterations: int, **loop: Any) -> Tensor:
    return sirt(A, y, num_iterations=num_iterations, **loop)


def _cgls(A: Projector, y: Tensor, weights: Tensor | None, num_iterations: int, **loop: Any) -> Tensor:
    """CGLS with a tenth of the iterations: it converges, and starts to fit the noise, about ten times faster."""
    n = max(1, num_iterations // 10)
    return cgls(A, y, weights=weights, num_iterations=n, **loop).clamp(min=0)


def _analytic(
    A: Projector, y: Tensor, weights: Tensor | None, num_iterations: int, *, callback: Any = None, **loop: Any
) -> Tensor:
    """FBP or FDK in one step. Negative values are clipped to zero."""
    method = fdk if isinstance(A.pg, ConeBeam) else fbp
    return method(A, y, filter="hann", callback=callback).clamp(min=0)


INITIALIZERS: dict[str, Initializer] = {"tv": _tv, "sirt": _sirt, "cgls": _cgls, "fbp": _analytic}
"""The initial reconstructions by name."""


def least_squares(A: Projector, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """The least-squares image (z, y, x) [1/mm]: a few conjugate gradients without regularisation, for any geometry."""
    return cgls(A, y, weights=weights, num_iterations=LEAST_SQUARES_ITERATIONS)


# ---- where restoration starts --------------------------------------------------------------------------


def flat_fraction(x: Tensor, voxel_size: Triple) -> float:
    """Fraction of the voxels of x (z, y, x), network space, that are not air and have no slope above FLAT_SLOPE."""
    squared = torch.zeros_like(x)
    for axis, size in enumerate(voxel_size):
        ahead = (x.diff(dim=axis) / size).square()
        squared.narrow(axis, 0, ahead.shape[axis]).add_(ahead)
    body = x > AIR
    return float((squared[body].sqrt() < FLAT_SLOPE).float().mean()) if body.any() else 0.0


def restoration_sigma(error: float, initial: Tensor, voxel_size: Triple) -> float:
    """Noise level, network units, at which restoration starts.

    error : expected RMS error of `initial` (z, y, x), network space.
    """
    flat = flat_fraction(initial, voxel_size) > FLAT_FRACTION
    return WIDER * error * (FLAT_SHARE if flat else 1.0)
