"""Remarks on the effects of a scan: approximations and extreme values."""

from __future__ import annotations

import numpy as np

from tomopatch.geometry.beams import Geometry
from tomopatch.physics.chain import switched_on
from tomopatch.physics.detector.blur import MOST_SOURCES, focal_spot
from tomopatch.physics.effects import METALS, Effects, Insert
from tomopatch.physics.materials.inserts import extent
from tomopatch.physics.source.dose import METRE, air_kerma_at_axis, photons_per_ray
from tomopatch.volume import VolumeGeometry

FEW_PHOTONS = 100.0
"""Below this number of photons per ray, hardly any pass a body: a line integral of 4.6 leaves 1 of 100."""


def effect_remarks(
    effects: Effects | None, vg: VolumeGeometry, pg: Geometry, photon_count: float | None = None
) -> list[str]:
    """Return sentences about approximations and extreme values of the effects of a scan.

    Parameters
    ----------
    effects : Effects or None
    vg : VolumeGeometry
        Grid of the object.
    pg : ParallelBeam, ConeBeam or Views
    photon_count : float or None
        Photons per ray that the scan sets.
    """
    effects, views = switched_on(effects), pg.views()
    remarks = []
    tube, faults, motion = effects.tube, effects.faults, effects.motion
    if tube is not None and tube.mas is not None:
        photons = photons_per_ray(tube, pg)
        assert photons is not None
        where = "" if views.cone else " A parallel beam has no distance; it counts as 1 m."
        given = "" if photon_count is None else f" The scan's {_count(photon_count)} photons are not used."
        distance = float(np.linalg.norm(views.source[0])) if views.cone else METRE
        kerma = air_kerma_at_axis(tube, views.num_views, distance)
        remarks.append(
            f"The tube's current gives {_count(photons)} photons per ray and {kerma:.3g} mGy of air kerma"
            f" at the axis, free in air.{given}{where}"
        )
        photon_count = photons
    if photon_count is not None and photon_count < FEW_PHOTONS:
        remarks.append(
            f"Only {_count(photon_count)} photons per ray: most rays through a body measure nothing."
        )
    if tube is None and any(i.material in METALS for i in effects.inserts):
        remarks.append("Without a tube, metal attenuates all photons equally: there is no beam hardening.")
    for insert in effects.inserts:
        remarks += _on_insert(insert, vg)
    if effects.blur is not None and effects.blur.focal_spot and views.cone:
        points = len(focal_spot(views, effects.blur.focal_spot))
        coarse = " The spot is too large for an accurate blur." if points == MOST_SOURCES else ""
        remarks.append(
            f"The focal spot is sampled by {points} points, so the scan takes {points} times as long.{coarse}"
        )
    if motion is not None and motion.kind == "breathing":
        remarks.append(
            "Breathing stretches the whole volume along z, bones included; the attenuation of each"
            " tissue stays the same."
        )
    if faults is not None and faults.saturation is not None and faults.saturation < 1:
        remarks.append("The unattenuated beam saturates the detector, so the outline of the object is lost.")
    return remarks


def _count(photons: float) -> str:
    """Format a number with three digits and thin spaces, such as 52 000."""
    digits = f"{photons:.3g}"
    return f"{float(digits):,.0f}".replace(",", "\u202f") if 100 <= photons < 1e9 else digits


def _on_insert(insert: Insert, vg: VolumeGeometry) -> list[str]:
    half = extent(insert)
    name = f"The {insert.material} {insert.shape}"
    remarks = []
    inside = all(
        abs(c - p) + h <= s / 2 + 1e-9
        for c, p, h, s in zip(insert.centre, vg.pos, half, vg.size, strict=True)
    )
    if not inside:
        remarks.append(f"{name} reaches beyond the volume; that part is left out.")
    if any(2 * h < s for h, s in zip(half, vg.voxel_size, strict=True)):
        remarks.append(f"{name} is thinner than a voxel, so the voxel holds a mixture.")
    return remarks
