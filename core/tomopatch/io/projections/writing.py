"""Projections with their geometry for other programs: keys for an .npz, and a zip of TIFF files."""

from __future__ import annotations

import io
import json
import math
import zipfile
from typing import Any

import numpy as np
from PIL import Image

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam

GEOMETRY_NAME = "geometry.json"
"""Name of the geometry file in a zip or folder of TIFF files."""


def geometry_keys(pg: Geometry, *, rows: str) -> dict[str, Any]:
    """Return a geometry as keys of a geometry file (see `geometry_file.KEYS`).

    Scans on a circle are described by angles and distances. Helices, tilted and free orbits, and parallel
    beams with a detector that is shifted along the axis are described by vectors.

    Parameters
    ----------
    rows : "up" or "down"
        Whether row 0 of the written projections is at the bottom or at the top. The engine counts upwards.
    """
    keys: dict[str, Any] = {"quantity": "line_integrals", "rows": rows}
    v, u = pg.det_shape
    if isinstance(pg, ParallelBeam) and not pg.tilt and not pg.det_offset[0]:
        keys["beam"] = "parallel"
    elif isinstance(pg, ConeBeam) and not pg.tilt and not pg.pitch:
        row = (v - 1) / 2 - pg.det_offset[0] / pg.pixel_size[0]
        keys |= {
            "beam": "fan" if v == 1 else "cone",
            "src_orig_dist_mm": pg.src_orig_dist,
            "src_det_dist_mm": pg.src_det_dist,
            "middle_row_v_px": row if rows == "up" else v - 1 - row,
        }
    else:
        views = pg.views()
        step_v = views.det_v if rows == "up" else -views.det_v
        vectors = [a[:, ::-1] for a in (views.source, views.det_pos, views.det_u, step_v)]
        return keys | {
            "beam": "cone" if views.cone else "parallel",
            "vectors": np.concatenate(vectors, 1).tolist(),
        }
    return keys | {
        "angles_deg": [math.degrees(angle) for angle in pg.angles],
        "pixel_size_mm": list(pg.pixel_size),
        "rotation_axis_u_px": (u - 1) / 2 - pg.det_offset[1] / pg.pixel_size[1],
    }


def npz_keys(pg: Geometry) -> dict[str, np.ndarray]:
    """Return the arrays that describe projections (v, view, u) of the engine in an .npz."""
    keys = geometry_keys(pg, rows="up") | {"order": "v,view,u"}
    return {key: np.asarray(value) for key, value in keys.items()}


def tiff_zip_bytes(projections: np.ndarray, pg: Geometry) -> bytes:
    """Return a zip with a float32 TIFF per view, row 0 at the top, and the geometry file.

    `read_projections` reads it again.

    Parameters
    ----------
    projections : array (v, view, u)
        Line integrals.
    pg : ParallelBeam, ConeBeam or Views
    """
    out = io.BytesIO()
    y = projections[::-1]
    digits = len(str(y.shape[1] - 1))
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        keys = geometry_keys(pg, rows="down")
        archive.writestr(GEOMETRY_NAME, json.dumps(keys, indent=1))
        for i in range(y.shape[1]):
            page = io.BytesIO()
            Image.fromarray(np.ascontiguousarray(y[:, i], np.float32)).save(page, "TIFF")
            archive.writestr(f"view_{i:0{digits}}.tif", page.getvalue())
    return out.getvalue()
