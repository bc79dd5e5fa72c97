"""Visibility: the part of a volume that the detector sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tomopatch.geometry.beams import Geometry
from tomopatch.geometry.views import Views
from tomopatch.volume import VolumeGeometry, grid_of


@dataclass(frozen=True)
class Visibility:
    """Share of a volume that the detector sees.

    Attributes
    ----------
    unseen : float
        Share of the volume that no view sees.
    truncated : float
        Share that some views see, but fewer than half: the detector is too narrow or too low. Always 0
        for a helix, where each voxel leaves the beam again.
    """

    unseen: float
    truncated: float
    helical: bool = False

    def remark(self) -> str | None:
        """Return a sentence about the parts that are not measured; None where the whole volume is seen."""
        parts = []
        if self.unseen >= NOTABLE:
            parts.append(f"{100 * self.unseen:.0f} % of the volume lies in no view")
        if self.truncated >= NOTABLE:
            parts.append(f"{100 * self.truncated:.0f} % lies in fewer than half of the views")
        if not parts:
            return None
        advice = "more turns or a higher detector" if self.helical else "a larger detector"
        return f"{' and '.join(parts)}; what is shown there is not measured: use {advice}."


NOTABLE = 0.01
"""Smaller shares of the volume are not reported: corners that a slanted ray misses."""
SPARE_VIEWS = (0.9, 1.9)
"""Fewer than half of the views means this number below half: of all views, and of a selection of them. Over a
whole turn, a shifted detector sees each place in half of an even number of views, and in half a view less of
an odd number. A selection is not evenly spaced, which can cost one more.
"""
_MOST_POINTS = 24  # per axis; spread evenly over the volume
_MOST_VIEWS, _MOST_VIEWS_LEVEL = 360, 90  # spread evenly over the scan; fewer if all lie at one height


def visibility(vg: VolumeGeometry, pg: Geometry) -> Visibility:
    """Return the visibility of the volume's inscribed elliptic cylinder.

    Tested on points, up to 24 per axis, and on up to 360 views of a helix, 90 of other geometries: accurate
    to a few per cent.
    """
    views = pg.views()
    points = _points(grid_of(vg))
    seen = np.zeros(len(points))
    helical = views.cone and np.ptp(views.source[:, 0]) > 0.01 * grid_of(vg).size[0]
    most = min(views.num_views, _MOST_VIEWS if helical else _MOST_VIEWS_LEVEL)
    chosen = np.unique(np.linspace(0, views.num_views - 1, most).round().astype(int))
    for k in chosen:
        seen += _on_panel(views, k, points)
    few = seen < len(chosen) / 2 - SPARE_VIEWS[len(chosen) < views.num_views]
    truncated = 0.0 if helical else float(((seen > 0) & few).mean())
    return Visibility(float((seen == 0).mean()), truncated, bool(helical))


def _points(vg: VolumeGeometry) -> np.ndarray:
    """Points (n, 3) [mm] that represent equal parts of the volume's inscribed elliptic cylinder."""
    axes = []
    for n, size, pos in zip(vg.shape, vg.size, vg.pos, strict=True):
        count = min(n, _MOST_POINTS)
        axes.append(pos + ((np.arange(count) + 0.5) / count - 0.5) * size)
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    radii = [np.abs(grid[:, a] - vg.pos[a]) / (vg.size[a] / 2) for a in (1, 2)]
    return grid[np.hypot(*radii) <= 1]


def _on_panel(views: Views, k: int, points: np.ndarray) -> np.ndarray:
    """Whether view k projects each point onto the detector, bool (n,)."""
    step_u, step_v = views.det_u[k], views.det_v[k]
    normal = np.cross(step_u, step_v)
    origin = views.source[k] if views.cone else points
    ray = points - origin if views.cone else np.broadcast_to(views.source[k], points.shape)
    forward = ray @ normal
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (views.det_pos[k] - origin) @ normal / forward
    hit = origin + t[:, None] * ray - views.det_pos[k]
    u, v = hit @ step_u / (step_u @ step_u), hit @ step_v / (step_v @ step_v)
    rows, columns = views.det_shape
    inside = (np.abs(u) <= columns / 2) & (np.abs(v) <= max(rows, 2) / 2)
    return inside & (t > 0) if views.cone else inside
