"""Positions of planted lesions in the slice viewer."""

from __future__ import annotations

from tomopatch.runs.config import Scan, ScanConfig
from tomopatch.volume import Triple, VolumeGeometry


def lesion_places(scan: Scan, geometry: VolumeGeometry) -> list[Triple]:
    """Return the centres of the planted lesions as fractions (z, y, x) of the volume, like the crosshair."""
    if not isinstance(scan, ScanConfig):
        return []
    places = []
    for lesion in scan.lesions:
        z, y, x = (
            min(max((c - p) / s + 0.5, 0.0), 1.0)
            for c, p, s in zip(lesion.centre, geometry.pos, geometry.size, strict=True)
        )
        places.append((z, y, x))
    return places
