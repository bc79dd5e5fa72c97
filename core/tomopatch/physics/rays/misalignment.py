"""Views of a scanner whose geometry differs from the geometry that the reconstruction assumes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from tomopatch.geometry.beams import Geometry
from tomopatch.geometry.views import Views
from tomopatch.physics.effects import Misalignment


def misaligned(pg: Geometry, misalignment: Misalignment) -> Views:
    """Return the views that are measured when the reconstruction assumes `pg`.

    The order is: the source moves along the detector normal; the detector rotates about its normal; it shifts
    along u and v as they were before the rotation; source and detector rotate about z by the jitter.

    Raises
    ------
    ValueError
        If a parallel beam has a distance error, or the source would reach the axis or the detector.
    """
    views = pg.views()
    along_u, along_v = _unit(views.det_u), _unit(views.det_v)
    normal = _normal(views)
    source = views.source
    if misalignment.distance:
        source = _moved_source(views, normal, misalignment.distance)
    cos, sin = math.cos(math.radians(misalignment.roll)), math.sin(math.radians(misalignment.roll))
    pixel_u, pixel_v = (np.linalg.norm(a, axis=1, keepdims=True) for a in (views.det_u, views.det_v))
    moved = replace(
        views,
        source=source,
        det_pos=views.det_pos + misalignment.axis_offset * along_u + misalignment.vertical_offset * along_v,
        det_u=pixel_u * (cos * along_u + sin * along_v),
        det_v=pixel_v * (cos * along_v - sin * along_u),
    )
    if misalignment.jitter:
        rng = np.random.default_rng(misalignment.seed)
        moved = turned(moved, np.radians(misalignment.jitter) * rng.standard_normal(views.num_views))
    return moved


def turned(views: Views, angles: np.ndarray) -> Views:
    """Return the views rotated about z by these angles [rad], from +x towards +y, one per view."""
    cos, sin = np.cos(angles), np.sin(angles)

    def turn(vectors: np.ndarray) -> np.ndarray:
        z, y, x = vectors.T
        return np.stack([z, cos * y + sin * x, cos * x - sin * y], 1)

    return replace(
        views,
        source=turn(views.source),
        det_pos=turn(views.det_pos),
        det_v=turn(views.det_v),
        det_u=turn(views.det_u),
    )


def _moved_source(views: Views, normal: np.ndarray, distance: float) -> np.ndarray:
    if not views.cone:
        raise ValueError(
            "a parallel beam has no distance from source to axis; set the error of the distance to 0."
        )
    to_axis = np.hypot(views.source[:, 1], views.source[:, 2]).min()
    to_detector = ((views.det_pos - views.source) * normal).sum(1).min()
    least = -min(to_axis, to_detector)
    if distance <= least:
        raise ValueError(
            f"an error of the distance of {distance:g} mm moves the source to the axis or the detector;"
            f" expected above {least:.4g} mm."
        )
    return views.source - distance * normal


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _normal(views: Views) -> np.ndarray:
    """Unit normals (views, 3) of the detector, along the rays."""
    normal = _unit(np.cross(views.det_u, views.det_v))
    ray = views.det_pos - views.source if views.cone else views.source
    return normal * np.where((normal * ray).sum(1, keepdims=True) < 0, -1.0, 1.0)
