"""Remarks on a scan geometry before reconstruction: truncation, unseen parts, missing angles, few views."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.geometry.directions import directions
from tomopatch.geometry.field_of_view import field_of_view, whole_turn
from tomopatch.geometry.fourier_coverage import FourierCoverage, fourier_coverage
from tomopatch.geometry.visibility import NOTABLE, visibility
from tomopatch.volume import Volume, VolumeGeometry, mu_from_hu

Scan = ParallelBeam | ConeBeam
DENSE_HU = -500.0
"""[HU] Denser voxels belong to the object. Halfway between air and fat."""
WIDE_CONE = 20.0
"""Cone angle [degrees] above which the outer slices of a circular scan visibly smear."""
NEARLY = 1.25
"""The number of views counts as sufficient up to this factor: the limit is a rule of thumb."""
OVERLAP = 0.05
"""Share of half a detector that a shifted detector keeps beyond the axis, so that opposite views overlap."""


class Remark(NamedTuple):
    """A short subject and one or more sentences."""

    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.title}: {self.text}"


class Extent(NamedTuple):
    """Size of the object in the plane of rotation [mm]: its diameter, and its reach from the axis."""

    diameter: float
    reach: float


def extent(volume: Volume) -> Extent:
    """Return the size of the object (see DENSE_HU) between voxel centres; (0, 0) for air."""
    dense = (volume.data > mu_from_hu(torch.tensor(DENSE_HU))).any(0)
    y, x = (a[dense] for a in _plane(volume.geometry))
    if not len(y):
        return Extent(0.0, 0.0)
    angle = torch.arange(0, math.pi, math.pi / 60, dtype=torch.float64)
    along = y[:, None] * angle.sin() + x[:, None] * angle.cos()  # the largest width over all directions
    widths = along.amax(0) - along.amin(0)
    return Extent(float(widths.max()), float(torch.hypot(y, x).max()))


def covered(volume: Volume, pg: Scan) -> FourierCoverage:
    """Return the frequencies that a scan of this volume's object measures within the field of view.

    Crowther's limit uses the object's own diameter, even if the object is off centre or truncated: rays
    inside the field of view also cross the parts outside, and these parts add to the streaks.
    """
    voxel = max(volume.geometry.voxel_size)
    found = extent(volume)
    diameter = found.diameter or 2 * volume.geometry.radius
    reach = found.reach or volume.geometry.radius
    seen = 2 * max(min(reach, field_of_view(pg).radius), voxel)
    return fourier_coverage(_at_one_height(pg), max(diameter, voxel), seen)


def remarks(volume: Volume, pg: Scan) -> list[Remark]:
    """Return remarks on the artefacts to expect in a reconstruction of this volume."""
    out = []
    reach, fov = extent(volume).reach, field_of_view(pg)
    if fov.radius < reach - max(volume.geometry.voxel_size):
        seen = f"sees {_mm(fov.radius)} around the axis" if fov.radius else "does not see the axis"
        out.append(
            Remark(
                "Truncated",
                f"The detector {seen}, the object reaches {_mm(reach)}: expect a bright rim and wrong HU. "
                f"{_wider(pg, reach)}",
            )
        )
    out += unseen(volume.geometry, pg, object_known=True)
    limited = limited_angle(pg)
    if limited:
        out.append(limited)
    if isinstance(pg, ConeBeam) and not pg.pitch:
        cone = math.degrees(2 * math.atan(pg.det_shape[0] * pg.pixel_size[0] / 2 / pg.src_det_dist))
        if cone > WIDE_CONE:
            out.append(
                Remark("Wide cone", f"At {cone:.0f}°, flat structures far from the middle slice will smear.")
            )
    return out


def unseen(vg: VolumeGeometry, pg: Geometry, *, object_known: bool = False) -> list[Remark]:
    """Return a remark on the parts of the volume that no view sees.

    Without a known object, parts that fewer than half of the views see count as well.
    """
    found = visibility(vg, pg)
    text = found.remark() if not object_known or found.unseen >= NOTABLE else None
    return [Remark("Not measured", text)] if text else []


def few_views(volume: Volume, pg: Scan) -> list[Remark]:
    """Return a remark on detail that needs more views (Crowther); none if every voxel is resolved."""
    found = covered(volume, pg)
    sharp, finest = 0.5 / found.crowther, max(0.5 / found.nyquist, min(volume.geometry.voxel_size[1:]))
    needed = math.ceil(pg.num_views * sharp / finest)
    if needed <= NEARLY * pg.num_views or pg.num_views == 1:
        return []
    size = extent(volume).diameter or 2 * volume.geometry.radius
    text = (
        f"{pg.num_views} views show details above {_mm(sharp)} of an object of {_mm(size)}; finer "
        f"ones are lost in streaks (Crowther). For {finest:.2g} mm it takes about {needed} views."
    )
    return [Remark("Few views", text)]


# ---- parts ------------------------------------------------------------------------------------------------


def _plane(vg: VolumeGeometry) -> tuple[Tensor, Tensor]:
    """Return the positions y and x [mm] of the voxel centres of a slice."""
    y, x = torch.meshgrid(vg.axis(1), vg.axis(2), indexing="ij")
    return y, x


def _mm(length: float) -> str:
    return f"{length:.0f} mm" if length >= 10 else f"{length:.2g} mm"


def _at_one_height(pg: Scan) -> Scan:
    """Return the views of a helix that see the middle of the volume, as views of a circle.

    Other geometries are returned unchanged.
    """
    if not (isinstance(pg, ConeBeam) and pg.pitch):
        return pg
    height = np.abs(pg.views().source[:, 0])
    seen = np.flatnonzero(height <= max(field_of_view(pg).height / 2, float(np.sort(height)[:2].max())))
    angles = tuple(pg.angles[k] for k in seen)
    return ConeBeam(
        angles, pg.det_shape, pg.pixel_size, pg.src_orig_dist, pg.src_det_dist, pg.det_offset, pg.tilt
    )


def limited_angle(pg: Scan) -> Remark | None:
    """Return a remark if the views span less than a complete scan: pi, plus the fan angle for a cone."""
    if whole_turn(pg):
        return None
    scanned = directions(pg.angles, 2 * math.pi)
    step, span = (scanned.step, float(scanned.lengths.sum())) if pg.num_views > 1 else (0.0, 0.0)
    needed = math.pi if isinstance(pg, ParallelBeam) else math.pi + pg.fan_angle
    if span >= needed - step - 1e-6:
        return None
    return Remark(
        "Limited angle",
        f"A complete scan of this kind needs {math.degrees(needed):.0f}°: edges along the missing directions"
        " will be blurred.",
    )


def _wider(pg: Scan, reach: float) -> str:
    """Return advice for a field of view of `reach` [mm]; settings that are already made are left out."""
    half, shift, pixel = pg.det_shape[1] * pg.pixel_size[1] / 2, abs(pg.det_offset[1]), pg.pixel_size[1]
    needed = reach
    if isinstance(pg, ConeBeam):
        if reach >= pg.src_orig_dist:
            return "Move the source further away."
        needed = pg.src_det_dist * math.tan(math.asin(reach / pg.src_orig_dist))
    turn = whole_turn(pg)
    columns = math.ceil(2 * (max(needed - shift, shift) if turn else needed + shift) / pixel)
    ways = [f"widen the detector to {columns} columns"]
    most, misses_axis = half * (1 - OVERLAP), shift > half  # the detector does not see the axis
    if shift and not turn and needed <= half + shift and not misses_axis:
        ways.append("scan a whole turn")
    elif shift and needed <= half:
        ways.append("centre it")
    elif (shift < most or misses_axis) and needed <= half + most:
        wanted = f"shift it across by {_mm(max(needed - half, 0.0) + pixel / 2)}"
        ways.append(wanted if turn else f"{wanted} and scan a whole turn")
    text = ", or ".join(ways)
    return f"{text[0].upper()}{text[1:]}."
