"""Fourier coverage: the frequencies that a scan measures. (Central slice theorem; Kak & Slaney, sec. 3.2)"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.directions import directions

SECTORS = 180
"""Directions of the frequency plane for which the measured share is computed: one per degree."""
_OFFSETS = 61  # parallel rays that are tested in each direction


@dataclass(frozen=True)
class FourierCoverage:
    """Share of the frequencies (fx, fy) of the plane z = 0 that the views measure.

    Away from that plane, a cone beam and a tilted beam measure less.

    Attributes
    ----------
    directions : tuple of float
        The line through the origin that each view measures [rad], from the x axis towards y, in [0, pi). For
        a cone beam this is the line of the central ray; the other rays differ from it by up to half the fan
        angle.
    share : tuple of float
        For SECTORS directions over half a turn: the measured share of the parallel rays that cross the object
        in this direction. 1 = all, 0 = the missing wedge.
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
        """The total angle [rad] of the directions without any measured ray."""
        return math.pi * sum(s == 0 for s in self.share) / SECTORS


def fourier_coverage(
    pg: ParallelBeam | ConeBeam, diameter: float, seen: float | None = None
) -> FourierCoverage:
    """Return the frequencies that a scan of an object of this diameter [mm] measures.

    `seen` is the diameter [mm] of the circle about the axis whose rays count in `share`; None = that of the
    object, which then lies on the axis.
    """
    if not diameter > 0:
        raise ValueError(f"the object's diameter must be above 0 mm, got {diameter}.")
    views = pg.views()
    lines = np.arctan2(views.det_u[:, 1], views.det_u[:, 2]) % math.pi
    pixel = pg.pixel_size[1]
    if isinstance(pg, ConeBeam):
        pixel *= pg.src_orig_dist / pg.src_det_dist
    apart = _spacing(lines)
    return FourierCoverage(
        tuple(float(a) for a in lines),
        tuple(float(s) for s in _share(pg, (diameter if seen is None else seen) / 2)),
        1 / (2 * pixel),
        1 / (diameter * apart),
    )


def _spacing(lines: np.ndarray) -> float:
    """Median angle [rad] between neighbouring lines; opposite views share a line."""
    ordered = np.sort(lines)
    gaps = np.diff(np.append(ordered, ordered[0] + math.pi))
    apart = gaps[gaps > 1e-6]
    return float(np.median(apart)) if len(apart) else math.pi


def _share(pg: ParallelBeam | ConeBeam, radius: float) -> np.ndarray:
    """Measured share of the parallel rays within `radius` [mm] of the axis, for each sector.

    The ray at fan angle g of the view at angle a runs along the parallel direction a - g, at the distance
    s = src_orig_dist sin(g) from the axis; the same ray seen from behind lies at a + pi and -s. (Kak &
    Slaney, 3.4)
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
    """Whether these angles [rad] lie in a scanned arc; a single view scans no arc."""
    if len(set(np.asarray(pg.angles) % (2 * math.pi))) == 1:
        return np.zeros_like(angles, dtype=bool)
    return directions(pg.angles, 2 * math.pi).depth(angles) >= -1e-9
