"""Field of view: the part of a volume that a scan measures completely."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.geometry.directions import directions
from tomopatch.geometry.views import Views
from tomopatch.volume import VolumeGeometry


class FieldOfView(NamedTuple):
    """The cylinder about the axis that the views see: radius and height [mm]."""

    radius: float
    height: float


def field_of_view(pg: ParallelBeam | ConeBeam) -> FieldOfView:
    """Return the cylinder about the axis that every ray direction reaches.

    Over a whole turn, the longer side of a shifted detector counts. The radius is 0 if the detector is
    shifted beyond the axis: then no place is seen from all directions.
    """
    height, reach = pg.det_shape[0] * pg.pixel_size[0], max(_reach(pg), 0.0)
    if isinstance(pg, ParallelBeam):
        return FieldOfView(reach, height)
    radius = pg.src_orig_dist * math.sin(math.atan(reach / pg.src_det_dist))
    return FieldOfView(radius, height * pg.src_orig_dist / pg.src_det_dist)


def _reach(pg: ParallelBeam | ConeBeam) -> float:
    """Return the distance [mm] from the shadow of the axis up to which the detector counts on both sides.

    Negative if that shadow lies outside the detector.
    """
    half_u, shift = pg.det_shape[1] * pg.pixel_size[1] / 2, abs(pg.det_offset[1])
    return half_u + shift if shift <= half_u and whole_turn(pg) else half_u - shift


def inside_field_of_view(vg: VolumeGeometry, pg: Geometry) -> Tensor | None:
    """Return the voxels whose centre every ray direction reaches, bool (z, y, x).

    A circular cone beam sees fewer slices far from the axis than on it. A helix counts where the detector
    sees the height for half a turn or more. None if the whole grid is inside, and for free orbits, whose
    field of view has no single definition.
    """
    if isinstance(pg, Views):
        return None
    z, y, x = vg.axis(0)[:, None, None], vg.axis(1)[:, None], vg.axis(2)
    away = torch.hypot(*torch.broadcast_tensors(y, x))
    half_v, sin, cos = pg.det_shape[0] * pg.pixel_size[0] / 2, math.sin(pg.tilt), math.cos(pg.tilt)
    column = away
    if isinstance(pg, ConeBeam):  # the largest over a turn, where the ray touches the circle of the voxel
        central = pg.src_orig_dist + z * sin
        column = away * pg.src_det_dist / (central**2 - (away * cos) ** 2).clamp(min=1e-9).sqrt()
    inside = column <= _reach(pg)
    if isinstance(pg, ConeBeam) and pg.pitch:
        travel = float(np.ptp(pg.views().source[:, 0]))
        inside = inside & (z.abs() <= (travel + field_of_view(pg).height - abs(pg.pitch)) / 2)
    else:
        for along in (-away, away):  # the row of a voxel is extreme nearest to the source and farthest away
            row = z * cos - along * sin
            if isinstance(pg, ConeBeam):
                distance = pg.src_orig_dist + along * cos + z * sin
                row = torch.where(distance > 0, row * pg.src_det_dist / distance, math.inf)
            inside = inside & ((row - pg.det_offset[0]).abs() <= half_v)
    inside = inside.expand(vg.shape)
    return None if bool(inside.all()) else inside


def whole_turn(pg: ParallelBeam | ConeBeam) -> bool:
    """Whether the views surround the object."""
    return pg.num_views > 1 and directions(pg.angles, 2 * math.pi).full
