"""Photons per ray and air kerma [mGy] of a scan, from the tube current."""

from __future__ import annotations

import math

import numpy as np

from tomopatch.geometry.beams import Geometry
from tomopatch.physics.effects import Tube
from tomopatch.physics.source.spectrum import tube_spectrum
from tomopatch.volume import finite

METRE = 1000.0


def photons_per_ray(tube: Tube, pg: Geometry) -> float | None:
    """Return the photons that reach a pixel through air in one view; None without `tube.mas`.

    Photons per mm^2 and mAs at 1 m, times mAs, times the area of a pixel, times (1 m / distance)^2; the
    distance is measured from source to detector in the first view. A parallel beam has no distance; 1 m is
    used. Absorption in air and oblique incidence are neglected, and every photon is detected.
    """
    if tube.mas is None:
        return None
    views = pg.views()
    area = float(np.linalg.norm(np.cross(views.det_u[0], views.det_v[0])))
    distance = float(np.linalg.norm(views.det_pos[0] - views.source[0])) if views.cone else METRE
    return tube_spectrum(tube, None).total * tube.mas * area * (METRE / distance) ** 2


def air_kerma_at_axis(tube: Tube, num_views: int, distance: float) -> float:
    """Return the air kerma [mGy] of a scan at the rotation axis, free in air: a dose index like CTDI in air.

        K = k(kVp, filters) mAs views (1 m / distance)^2

    with k the air kerma per mAs at 1 m of the spectrum (`Spectrum.air_kerma`) and `distance` from the source
    to the axis [mm]. It is an index of the tube's output, not a patient's dose: it ignores absorption and
    scatter in the object, a bowtie, the length of the scan and the organs. Inside a body the dose is lower:
    in the 32 cm phantom of the CT dose index about a third of this value, in the 16 cm phantom two thirds.

    Raises
    ------
    ValueError
        If the tube has no mAs, or the distance is not above 0.
    """
    if tube.mas is None:
        raise ValueError("the dose needs the tube's mAs of one view; set `mas`.")
    if not (finite(distance) and distance > 0):
        raise ValueError(f"the distance from source to axis must be above 0 mm, got {distance}.")
    total = tube.mas * num_views
    return tube_spectrum(tube, None).air_kerma * total * math.pow(METRE / distance, 2)
