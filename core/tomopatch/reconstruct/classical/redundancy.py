"""Weights of the analytic methods: arcs of the views, and shares of rays that are measured repeatedly.

All weights follow from the set of directions on the circle (`tomopatch.geometry.directions`). They do not
depend on the order of the views, whole turns added to them, their sense of rotation, repeated views, or gaps
beyond what was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.directions import Directions, directions

_LEAST = 1e-6  # weight at the very end of an arc: small, but the ray may be the only one


def angular_weights(angles: Sequence[float] | np.ndarray, period: float) -> np.ndarray:
    """Arc [rad] of each view in the integral over angles [rad], float64 (views,).

    Angles that are equal modulo `period` (pi for parallel rays, 2 pi for a cone) share their arc. Unscanned
    gaps (see `tomopatch.geometry.directions`) belong to no view. A single direction represents the whole
    period.
    """
    return directions(angles, period).weights


def redundancy_weights(pg: ParallelBeam | ConeBeam) -> Tensor:
    """Weights, float64 (angle, u), that divide rays measured twice; a ray measured once has weight 1.

    m = c(ray) / (c(ray) + c(opposite ray)) with c falling smoothly to zero at the ends of the scanned arcs
    and of the detector. (Noo, Defrise, Clackdoyle, Kudo 2002, Phys. Med. Biol. 47(14), eq. 32; for shifted
    detectors the same idea along u, as Wang 2002, Med. Phys. 29(7).) For a full circle and a centred
    detector: 1/2. Parallel rays are a fan of angle 0.
    """
    _, u = detector_axes(pg)
    gamma = (torch.atan(u / pg.src_det_dist) if isinstance(pg, ConeBeam) else torch.zeros_like(u))[None, :]
    beta = torch.tensor(pg.angles, dtype=torch.float64)[:, None]
    views = directions(pg.angles, 2 * math.pi)
    # a ray is (beta, gamma); from the other side it is (beta + pi - 2 gamma, -gamma)
    here = _scanned(beta, views) * _on_detector(u, pg)[None, :]
    there = _scanned(beta + math.pi - 2 * gamma, views) * _on_detector(-u, pg)[None, :]
    return here / (here + there)


def _scanned(beta: Tensor, views: Directions) -> Tensor:
    """1 within the scanned arcs, falling to 0 at their ends as sin^2; 0 outside.

    The length of the fall is half of the scan's excess over half a turn, but at least two views. In an arc
    too short for it the weights stay low, which leaves the rays to their opposites. A shorter fall would give
    sharp weights, which the ramp filter turns into streaks.
    """
    if views.full:
        return torch.ones_like(beta)
    edge = torch.from_numpy(views.depth(beta.numpy()))
    taper = max((float(views.lengths.sum()) - math.pi) / 2, 2 * views.step)
    risen = torch.sin(math.pi / 2 * (edge / taper).clamp(0, 1)).square()
    return risen.clamp(min=_LEAST) * (edge >= 0)


def _on_detector(u: Tensor, pg: ParallelBeam | ConeBeam) -> Tensor:
    """1 on the detector, falling to 0 at the edge that a shift brings nearer to the axis; 0 outside."""
    half, offset = pg.det_shape[1] * pg.pixel_size[1] / 2, pg.det_offset[1]
    on = ((u - offset).abs() <= half).to(u)
    if offset == 0 or half <= abs(offset):
        return on
    overlap = half - abs(offset)  # reach of the shorter side beyond the axis
    short = -math.copysign(1.0, offset) * u  # coordinate that grows towards the nearer edge
    return on * torch.sin(math.pi / 4 * (1 - short / overlap).clamp(0, 2)).square().clamp(min=_LEAST)


def detector_axes(pg: ParallelBeam | ConeBeam) -> tuple[Tensor, Tensor]:
    """Positions [mm] of rows and columns relative to the central ray."""
    v, u = (
        (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * size + offset
        for n, size, offset in zip(pg.det_shape, pg.pixel_size, pg.det_offset, strict=True)
    )
    return v, u
