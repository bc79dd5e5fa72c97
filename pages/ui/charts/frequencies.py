"""Which frequencies a scan measures, as the scan's picture draws it, and in words."""

from __future__ import annotations

import math
from typing import Any

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.fourier_coverage import FourierCoverage

Scan = ParallelBeam | ConeBeam


def drawing(found: FourierCoverage, pg: Scan) -> dict[str, Any]:
    """What the browser needs to draw it."""
    fan = [0.0, 0.0]
    if isinstance(pg, ConeBeam):
        half, shift = pg.det_shape[1] * pg.pixel_size[1] / 2, pg.det_offset[1]
        fan = [math.atan((shift + side * half) / pg.src_det_dist) for side in (-1, 1)]
    return {
        "lines": [round(a, 4) for a in found.directions],
        "share": [round(s, 3) for s in found.share],
        "dense": min(1.0, found.crowther / found.nyquist),
        "fan": fan,  # the ray at this angle of the fan belongs to the direction so much before the view's line
    }


def told(found: FourierCoverage, pg: Scan) -> str:
    """The picture in plain words."""
    parts = [
        "**Frequencies**: broad shades in the middle, the finest detail that the pixels resolve "
        f"({0.5 / found.nyquist:.2g} mm) at the rim."
    ]
    if isinstance(pg, ConeBeam):
        parts.append(
            f"The middle plane alone, as a fan beam: a view's rays spread by {math.degrees(pg.fan_angle):.0f}° and measure "
            "a bow tie of directions (yellow). Off that plane a circle of views leaves further gaps."
        )
    else:
        parts.append("Every view measures one line through the middle (the central slice theorem).")
    if pg.tilt:
        parts.append(
            "The beam is tilted: a view measures a tilted plane, which crosses the drawn one along its line; a double cone "
            "about the rotation axis stays empty."
        )
    if isinstance(pg, ConeBeam) and pg.pitch:
        parts.append("Of the helix it shows the directions as if all views lay at one height.")
    if found.crowther >= found.nyquist:
        parts.append("The lines are dense enough up to the rim.")
    else:
        parts.append(
            f"Inside the dashed circle (Crowther; details above {0.5 / found.crowther:.2g} mm) there are enough views for "
            "this object; finer detail shows streaks."
        )
    missing, partly = math.degrees(found.missing), sum(0 < s < 1 for s in found.share)
    if missing >= 0.5:
        parts.append(f"Orange: the missing wedge, {missing:.0f}° that no ray is measured in.")
    if partly:
        parts.append(f"Pale orange: {partly}° that some rays are missing in.")
    return " ".join(parts)
