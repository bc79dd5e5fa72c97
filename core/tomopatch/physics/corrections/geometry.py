"""Geometry of a measured scan, a grid that suits it, and the attenuation of its object."""

from __future__ import annotations

import math

import numpy as np

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.geometry.views import Views
from tomopatch.io.projections import Projections
from tomopatch.notes import note
from tomopatch.volume import VolumeGeometry

OFFSET_SCAN = 0.1
"""If the centre of the detector is farther from the axis than this share of its width, the scan is an
offset-detector scan: it measures one side of a wide object in each half turn. Smaller shifts are adjustment
errors."""


def scan_geometry(projections: Projections, axis: float) -> ParallelBeam | ConeBeam:
    """Return the geometry of a scan whose rotation axis projects to column `axis`.

    If the beam is unknown, a parallel beam is assumed; if the pixel size is unknown, 1 mm. A note says so.

    Raises
    ------
    ValueError
        If angles, or the distances of a cone beam, are missing.
    """
    p = projections
    if p.angles is None:
        raise ValueError(
            f"{p.name} states no angles for its {p.num_views} views; write angles_deg or angle_step_deg in a"
            " geometry file."
        )
    if p.pixel_size is None:
        note(f"{p.name} states no pixel size; pixels of 1 mm are assumed.", stacklevel=2)
    if p.beam is None:
        note(f"{p.name} states no beam; parallel rays are assumed.", stacklevel=2)
    pixel = p.pixel_size or (1.0, 1.0)
    v, u = p.det_shape
    offset_u = ((u - 1) / 2 - axis) * pixel[1]
    angles = tuple(p.angles.tolist())
    if p.beam != "cone":
        return ParallelBeam(angles, (v, u), pixel, (0.0, offset_u))
    if p.src_orig_dist is None or p.src_det_dist is None:
        raise ValueError(
            f"{p.name} is a cone-beam or fan-beam scan without distances; write src_orig_dist_mm and"
            " src_det_dist_mm in a geometry file."
        )
    offset_v = 0.0
    if p.middle_row is not None:
        row = v - 1 - p.middle_row if p.rows_down else p.middle_row
        offset_v = ((v - 1) / 2 - row) * pixel[0]
    return ConeBeam(angles, (v, u), pixel, p.src_orig_dist, p.src_det_dist, (offset_v, offset_u))


def from_vectors(p: Projections) -> Views:
    """Return the views from the vectors of a geometry file; x, y, z become z, y, x."""
    assert p.vectors is not None
    source, det_pos, det_u, det_v = (p.vectors[:, k : k + 3][:, ::-1].copy() for k in (0, 3, 6, 9))
    if p.rows_down:  # the rows were flipped
        det_v = -det_v
    return Views(p.beam == "cone", source, det_pos, det_v, det_u, p.det_shape)


def suggested_grid(pg: Geometry) -> VolumeGeometry:
    """Return a grid with the extent of the detector and voxels of one pixel, both scaled to the axis.

    It is centred on the rotation axis. For an offset detector it extends on both sides as far as the
    detector does on its longer side.
    """
    if isinstance(pg, Views):
        scale = 1.0
        if pg.cone:
            distance = np.linalg.norm(pg.det_pos - pg.source, axis=1)
            scale = float((np.linalg.norm(pg.source, axis=1) / distance).mean())
        v, u = (float(np.linalg.norm(step, axis=1).mean()) for step in (pg.det_v, pg.det_u))
        offset_v, offset_u = 0.0, 0.0
    else:
        scale = pg.src_orig_dist / pg.src_det_dist if isinstance(pg, ConeBeam) else 1.0
        v, u = pg.pixel_size
        offset_v, offset_u = pg.det_offset
    rows, columns = pg.det_shape
    if abs(offset_u) > OFFSET_SCAN * columns * u:
        columns += 2 * math.ceil(abs(offset_u) / u - 1e-9)
    return VolumeGeometry(
        (rows, columns, columns), (v * scale, u * scale, u * scale), (offset_v * scale, 0, 0)
    )


def typical_attenuation(y: np.ndarray, pg: Geometry) -> float:
    """Attenuation [1/mm] of a uniform cylinder with the same largest value and mass; 0 without an object.

    A cylinder of radius R and attenuation mu has the largest line integral p = 2 mu R and the mass
    m = pi mu R^2 in a row, so mu = pi p^2 / (4 m). The row with the largest mass is used; p is its 99th
    percentile.
    """
    row = y[int(y.sum(axis=(1, 2)).argmax())]
    grid = suggested_grid(pg)
    mass = float(np.clip(row, 0, None).sum(1).mean()) * grid.voxel_size[2]
    longest = float(np.percentile(row, 99))
    return math.pi * longest**2 / (4 * mass) if mass > 0 and longest > 0 else 0.0
