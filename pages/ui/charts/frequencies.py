"""Frequency coverage of a scan: data of its picture, and a caption."""

from __future__ import annotations

import math
from typing import Any

from pages.ui.texts.formatting import length
from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.fourier_coverage import FourierCoverage

Scan = ParallelBeam | ConeBeam


def picture_data(found: FourierCoverage, pg: Scan) -> dict[str, Any]:
    """Return the data that the browser draws."""
    fan = [0.0, 0.0]
    if isinstance(pg, ConeBeam):
        half, shift = pg.det_shape[1] * pg.pixel_size[1] / 2, pg.det_offset[1]
        fan = [math.atan((shift + side * half) / pg.src_det_dist) for side in (-1, 1)]
    return {
        "lines": [round(a, 4) for a in found.directions],
        "share": [round(s, 3) for s in found.share],
        "dense": min(1.0, found.crowther / found.nyquist),
        # fan angles of the outer rays; a ray measures the direction at this angle before the view's line
        "fan": fan,
    }


def caption(found: FourierCoverage, pg: Scan) -> str:
    """Return an explanation of the picture."""
    parts = [
        "**Frequencies**: coarse structures in the centre, the finest detail that the pixels resolve "
        f"({0.5 / found.nyquist:.2g} mm) at the rim."
    ]
    if isinstance(pg, ConeBeam):
        parts.append(
            "The picture shows the middle plane, where the cone beam is a fan beam: the rays of a view "
            f"spread by {math.degrees(pg.fan_angle):.0f}° and measure a bow tie of directions (yellow). "
            "Outside this plane a circular orbit leaves further gaps."
        )
    else:
        parts.append("Each view measures one line through the centre (central slice theorem).")
    if pg.tilt:
        parts.append(
            "The beam is tilted: each view measures a tilted plane, which meets this one in the drawn line. "
            "A double cone around the rotation axis is not measured."
        )
    if isinstance(pg, ConeBeam) and pg.pitch:
        parts.append("For the helix, the directions are drawn as if all views lay at one height.")
    if found.crowther >= found.nyquist:
        parts.append("There are enough views for all detail up to the rim.")
    else:
        resolved = length(float(f"{0.5 / found.crowther:.2g}"))
        parts.append(
            f"Inside the dashed circle (Crowther; details above {resolved}) there are enough views; finer "
            "detail shows streaks."
        )
    missing, partly = math.degrees(found.missing), sum(0 < s < 1 for s in found.share)
    if missing >= 0.5:
        parts.append(f"Orange: the missing wedge, {missing:.0f}° without any ray.")
    if partly:
        parts.append(f"Pale orange: {partly}° in which some rays are missing.")
    return " ".join(parts)
