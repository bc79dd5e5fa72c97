"""Where the diffusion sampler starts and what guides it: quick reconstructions, and how far off they are expected to be."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from core.geometry import ConeBeam, ParallelBeam
from core.prior.denoiser import AIR
from core.projector import Projector
from core.reconstruct.analytic import fbp, fdk
from core.reconstruct.coarse import LAM_POWER, tv_coarse_to_fine
from core.reconstruct.iterative import cgls, sirt
from core.volume import Triple

Start = Callable[..., Tensor]
"""start(A, y, weights, num_iterations, *, x_init, callback, resume) -> x (z, y, x) [1/mm]; the last three as the
iterative methods take them."""


def _tv(A: Projector, y: Tensor, weights: Tensor | None, num_iterations: int, **loop: Any) -> Tensor:
    """Weighed by how few views there are: that is near the best weight from 8 to 60 views on a held-out chest CT."""
    lam = 5e-6 * (coverage(A) / 0.1) ** LAM_POWER
    return tv_coarse_to_fine(A, y, lam=lam, weights=weights, num_iterations=num_iterations, **loop)


def _sirt(A: Projector, y: Tensor, weights: Tensor | None, num_iterations: int, **loop: Any) -> Tensor:
    return sirt(A, y, num_iterations=num_iterations, **loop)


def _cgls(A: Projector, y: Tensor, weights: Tensor | None, num_iterations: int, **loop: Any) -> Tensor:
    """A tenth of the iterations: it converges, and begins to fit the noise, that much sooner."""
    n = max(1, num_iterations // 10)
    return cgls(A, y, weights=weights, num_iterations=n, **loop).clamp(min=0)


def _analytic(
    A: Projector, y: Tensor, weights: Tensor | None, num_iterations: int, *, callback: Any = None, **loop: Any
) -> Tensor:
    """FBP or FDK, whichever the beam asks for, in one step; what is below vacuum is cut."""
    method = fdk if isinstance(A.pg, ConeBeam) else fbp
    return method(A, y, filter="hann", callback=callback).clamp(min=0)


STARTS: dict[str, Start | None] = {
    "tv": _tv,
    "sirt": _sirt,
    "cgls": _cgls,
    "fbp": _analytic,
    "noise": None,
}
"""The starts by name; None = noise alone."""


GUIDE_ITERATIONS = 10
GUIDE_VIEWS = 12
"""With fewer views least squares tell more of the rays than of the object, and the prior does better without."""


def least_squares(A: Projector, y: Tensor, weights: Tensor | None = None) -> Tensor:
    """The prior's guide (z, y, x) [1/mm]: by a few conjugate gradients, for any geometry, without regularisation."""
    return cgls(A, y, weights=weights, num_iterations=GUIDE_ITERATIONS)


def coverage(A: Projector) -> float:
    """Views as a share of those of a full scan, pi/2 times the voxels across (Kak & Slaney, sec. 5.1)."""
    return A.pg.num_views / (math.pi / 2 * max(A.vg.shape[1:]))


def seen_angles(A: Projector) -> float:
    """The range of the views' angles as a share of half a turn, 1 at most."""
    views = A.pg.num_views
    if not isinstance(A.pg, ParallelBeam | ConeBeam) or views < 2:
        return 1.0
    return min(1.0, float(np.ptp(np.asarray(A.pg.angles))) * views / (views - 1) / math.pi)


def expected_error(A: Projector, y: Tensor, weights: Tensor | None = None) -> float:
    """About how far a total-variation reconstruction of this scan is off, root mean square, network units.

    Three parts: what a grid cannot show, missing views and angles, and photon noise. The form is a guess, its
    constants are fitted to reconstructions of a held-out chest CT (8 to 60 views, 90 to 180 degrees, parallel and
    cone beam, no noise to 1e4 photons), where it is right to about a third.
    """
    sparse = 0.006 * coverage(A) ** -0.78
    error = math.hypot(0.01, sparse) * seen_angles(A) ** -2.3
    if weights is not None:
        relative = float((1 / weights.mean()).sqrt() / y.mean().clamp(min=1e-6))
        error = math.hypot(error, 2.7 * relative * coverage(A) ** -0.5)
    return min(0.5, error)


WIDER = 3.5
"""Sampling begins at so many times the start's error: the prior has to look past it. Best on validation volumes."""

EVEN, NARROWER = 0.25, 0.1
"""A start of which a larger share is even is of an object made of even regions, as no body is: total variation knows such
better than the prior, and sampling begins at so much less. The share divides patients from test objects, the factor was
best for random solids: see the model card."""

EVEN_SLOPE = 0.125e-3
"""An eighth of a Hounsfield unit a millimetre: by length, so that it says the same on every grid."""


def even_share(x: Tensor, voxel_size: Triple) -> float:
    """Share of x (z, y, x), network space, but for air, that is even: steeper by no more than `EVEN_SLOPE`.

    Of a start by total variation about 0.1 in chest CTs, up to 0.2 in the digital patients, near 0.4 and more in test objects.
    """
    squared = torch.zeros_like(x)
    for axis, size in enumerate(voxel_size):
        ahead = (x.diff(dim=axis) / size).square()
        squared.narrow(axis, 0, ahead.shape[axis]).add_(ahead)
    body = x > AIR
    return float((squared[body].sqrt() < EVEN_SLOPE).float().mean()) if body.any() else 0.0


def first_level(error: float, start: Tensor | None, voxel_size: Triple) -> float:
    """Noise level at which sampling begins, network units, of a start (z, y, x) that is expected to be so far off."""
    even = start is not None and even_share(start, voxel_size) > EVEN
    return WIDER * error * (NARROWER if even else 1.0)
