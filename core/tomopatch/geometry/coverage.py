"""Coverage of a scan: its directions on the circle, its frequencies (central slice theorem), and the voxels seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam, Views
from tomopatch.volume import VolumeGeometry, grid_of

SECTORS = 180
"""Directions of the frequency plane for which the measured share is computed: one per degree."""
_OFFSETS = 61  # rays of each direction that are asked for
OPEN_GAP = 2.55
"""A gap between views counts as not scanned above this multiple of the usual gap: one view that is left out is
bridged by its neighbours (a gap of 2), two or more are not. No round number, so that no usual scan lies right at it.
Checked on full and short scans of 20 to 720 views."""
USUAL_GAP = 0.9
"""The usual gap is this quantile of all gaps: it is the step of evenly spaced views with holes, and large enough
for views at random angles, whose gaps differ from one another."""
IRREGULAR = 1.5
"""A usual gap that is this much larger than the median gap shows that views lie irregularly; the multiple grows with
the ratio, so that the chance gaps of random angles are bridged."""
_SAME = 1e-6  # rad; directions that are nearer are one direction


@dataclass(frozen=True, eq=False)
class Directions:
    """The directions of a scan's views as a set on the circle: their order, turns and sense do not matter.

    Attributes
    ----------
    period : float
        Angle [rad] after which directions repeat: pi for parallel rays, 2 pi for a cone.
    weights : float64 array (views,)
        Arc [rad] that each view stands for: half the gaps to its neighbours; equal directions share theirs.
    starts, lengths : float64 arrays (arcs,)
        The scanned arcs [rad]. One arc of length `period` where no gap is open.
    step : float
        The usual gap [rad] between neighbouring directions.
    """

    period: float
    weights: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    step: float

    @property
    def full(self) -> bool:
        """Whether the views go all the way round."""
        return len(self.lengths) == 1 and bool(self.lengths[0] == self.period)

    def depth(self, angles: np.ndarray) -> np.ndarray:
        """Distance [rad] of each angle to the nearer end of the arc that it lies in; negative outside all arcs."""
        deepest = np.full(np.shape(angles), -1.0)
        for start, length in zip(self.starts, self.lengths, strict=True):
            inside = (angles - start) % self.period
            deepest = np.maximum(deepest, np.minimum(inside, length - inside))
        return deepest


def directions(angles: Sequence[float] | np.ndarray, period: float) -> Directions:
    """The set of directions of views at `angles` [rad], modulo `period` [rad].

    A gap that is far wider than the usual one (OPEN_GAP, IRREGULAR) was not scanned: the views at its ends count as if
    it were as wide as the gap on their other side. Narrower gaps are bridged. A single direction stands for the whole
    period.
    """
    turned = np.asarray(angles, float) % period
    order = np.argsort(turned, kind="stable")
    ordered = turned[order]
    apart = np.diff(ordered, append=ordered[0] + period) > _SAME  # from the next
    group = np.concatenate([[0], np.cumsum(apart[:-1])])
    if not apart[-1]:  # the last directions are the first, a turn later
        group[group == group[-1]] = 0
    count = np.bincount(group)
    which = np.empty_like(group)
    which[order] = group
    if len(count) == 1:
        weights = np.full(len(turned), period / len(turned))
        return Directions(period, weights, ordered[:1], np.array([period]), period)
    distinct = ordered[np.unique(group, return_index=True)[1]]
    after = np.diff(distinct, append=distinct[0] + period)
    before = np.roll(after, 1)
    step, median = (float(np.sort(after)[int(q * (len(after) - 1))]) for q in (USUAL_GAP, 0.5))
    ends = after > max(OPEN_GAP, IRREGULAR * step / median) * step
    begins = np.roll(ends, 1)
    half_after = np.where(ends, np.where(begins, step, before), after) / 2
    half_before = np.where(begins, np.where(ends, step, after), before) / 2
    weights = ((half_before + half_after) / count)[which]
    if not ends.any():
        return Directions(period, weights, distinct[:1], np.array([period]), step)
    starts = (distinct - half_before)[begins]
    stops = (distinct + half_after)[ends]
    if stops[0] < starts[0]:  # the arc that begins last ends a turn later, with the first
        stops = np.roll(stops, -1)
    return Directions(period, weights, starts, (stops - starts) % period, step)


@dataclass(frozen=True)
class Coverage:
    """Share of the frequencies (fx, fy) of the plane z = 0 that the views measure.

    Not of the third dimension: away from that plane a cone beam measures less, and so does a tilted beam.

    Attributes
    ----------
    directions : tuple of float
        Of each view the line through the origin that it measures [rad], from the x axis towards y, in [0, pi). Of a
        cone beam: the line of its central ray; the other rays differ from it by up to half the fan angle.
    share : tuple of float
        For SECTORS directions, evenly over half a turn: which part of the parallel rays that cross the object in this
        direction was measured. 1 = all, 0 = the missing wedge.
    nyquist : float
        The highest frequency that the detector's columns resolve [1/mm], at the axis.
    crowther : float
        Up to this frequency [1/mm] neighbouring lines are dense enough for an object of this diameter D:
        1 / (D angle between them). (Crowther, DeRosier, Klug 1970)
    """

    directions: tuple[float, ...]
    share: tuple[float, ...]
    nyquist: float
    crowther: float

    @property
    def missing(self) -> float:
        """The angle [rad] of the directions that no ray was measured in."""
        return math.pi * sum(s == 0 for s in self.share) / SECTORS


def coverage(pg: ParallelBeam | ConeBeam, diameter: float, seen: float | None = None) -> Coverage:
    """Return the frequencies that a scan of an object of this diameter [mm] measures.

    `seen` is the diameter [mm] of the circle about the axis whose rays count in `share`; None = that of the object,
    which then lies on the axis.
    """
    if not diameter > 0:
        raise ValueError(f"the object's diameter must be above 0 mm, got {diameter}.")
    views = pg.views()
    lines = np.arctan2(views.det_u[:, 1], views.det_u[:, 2]) % math.pi
    pixel = pg.pixel_size[1]
    if isinstance(pg, ConeBeam):
        pixel *= pg.src_orig_dist / pg.src_det_dist
    apart = _spacing(lines)
    return Coverage(
        tuple(float(a) for a in lines),
        tuple(float(s) for s in _share(pg, (diameter if seen is None else seen) / 2)),
        1 / (2 * pixel),
        1 / (diameter * apart),
    )


def _spacing(lines: np.ndarray) -> float:
    """The usual angle [rad] between neighbouring lines; opposite views share a line."""
    ordered = np.sort(lines)
    gaps = np.diff(np.append(ordered, ordered[0] + math.pi))
    apart = gaps[gaps > 1e-6]
    return float(np.median(apart)) if len(apart) else math.pi


def _share(pg: ParallelBeam | ConeBeam, radius: float) -> np.ndarray:
    """For each sector the measured share of its parallel rays within `radius` [mm] of the axis.

    The ray at fan angle g of the view at angle a runs along the parallel direction a - g, at the distance
    s = src_orig_dist sin(g) from the axis; the same ray seen from behind lies at a + pi and -s. (Kak & Slaney, 3.4)
    """
    theta = (np.arange(SECTORS) + 0.5)[:, None] * (math.pi / SECTORS)
    s = np.linspace(-1, 1, _OFFSETS)[None, :] * radius * (1 - 1e-6)
    half, shift = pg.det_shape[1] * pg.pixel_size[1] / 2, pg.det_offset[1]
    if isinstance(pg, ConeBeam):
        fan = np.arcsin(np.clip(s / pg.src_orig_dist, -1, 1))
        u = pg.src_det_dist * np.tan(fan)
    else:
        fan, u = np.zeros_like(s), s
    seen, seen_behind = abs(u - shift) <= half, abs(-u - shift) <= half
    ahead = _viewed(pg, theta + fan) & seen
    behind = _viewed(pg, theta + math.pi - fan) & seen_behind
    return (ahead | behind).mean(1)


def _viewed(pg: ParallelBeam | ConeBeam, angles: np.ndarray) -> np.ndarray:
    """Whether these angles [rad] lie in an arc that was scanned. A single view scans no arc."""
    if len(set(np.asarray(pg.angles) % (2 * math.pi))) == 1:
        return np.zeros_like(angles, dtype=bool)
    return directions(pg.angles, 2 * math.pi).depth(angles) >= -1e-9


# ---- which voxels the views see -------------------------------------------------------------------


@dataclass(frozen=True)
class Visibility:
    """Share of a volume that the detector sees.

    Attributes
    ----------
    unseen : float
        Share of the volume that lies in no view.
    truncated : float
        Share that lies in some views but in fewer than half: a detector that is too narrow or too low for it. Of a
        helix always 0: there each voxel leaves the beam again.
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
"""Shares of the volume below this are not worth a remark: corners that a slanted ray misses."""
_MOST_POINTS = 24  # per axis; spread evenly over the volume
_MOST_VIEWS, _MOST_VIEWS_LEVEL = 360, 90  # spread evenly over the scan; fewer where all lie at one height


def visibility(vg: VolumeGeometry, pg: Geometry) -> Visibility:
    """Find the parts of the volume's inscribed cylinder that fall onto the detector, and in how many views.

    Tested on points up to 24 per axis and on up to 360 views of a helix, 90 of other scans: right to a few per cent.
    """
    views = pg if isinstance(pg, Views) else pg.views()
    points = _points(grid_of(vg))
    seen = np.zeros(len(points))
    helical = views.cone and np.ptp(views.source[:, 0]) > 0.01 * grid_of(vg).size[0]
    most = min(views.num_views, _MOST_VIEWS if helical else _MOST_VIEWS_LEVEL)
    chosen = np.unique(np.linspace(0, views.num_views - 1, most).round().astype(int))
    for k in chosen:
        seen += _on_panel(views, k, points)
    share = seen / len(chosen)
    truncated = 0.0 if helical else float(((share > 0) & (share < 0.499)).mean())
    return Visibility(float((seen == 0).mean()), truncated, bool(helical))


def _points(vg: VolumeGeometry) -> np.ndarray:
    """Points (n, 3) [mm] that stand for equal parts of the volume's inscribed elliptic cylinder."""
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
