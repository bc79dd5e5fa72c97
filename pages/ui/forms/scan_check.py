"""What a person should know about a scan before it is reconstructed: field of view, truncation, missing angles."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.coverage import directions
from tomopatch.volume import Volume, mu_from_hu


class FieldOfView(NamedTuple):
    """The cylinder about the axis that the views see: radius and height [mm]."""

    radius: float
    height: float


def field_of_view(pg: ParallelBeam | ConeBeam) -> FieldOfView:
    """What every ray direction reaches; over a whole turn a shifted detector sees its longer side."""
    half_v, half_u = (n * p / 2 for n, p in zip(pg.det_shape, pg.pixel_size, strict=True))
    shift = abs(pg.det_offset[1])
    reach = half_u + shift if directions(pg.angles, 2 * math.pi).full else half_u - shift
    if isinstance(pg, ParallelBeam):
        return FieldOfView(max(reach, 0.0), 2 * half_v)
    radius = pg.src_orig_dist * math.sin(math.atan(max(reach, 0.0) / pg.src_det_dist))
    return FieldOfView(radius, 2 * half_v * pg.src_orig_dist / pg.src_det_dist)


def content_radius(volume: Volume) -> float:
    """How far from the axis [mm] there is something denser than fat's half."""
    dense = (volume.data > mu_from_hu(torch.tensor(-500.0))).any(0)
    y, x = volume.geometry.axis(1)[:, None], volume.geometry.axis(2)[None, :]
    distance = torch.sqrt(y * y + x * x)[dense]
    return float(distance.max()) if len(distance) else 0.0


def remarks(volume: Volume, pg: ParallelBeam | ConeBeam) -> list[str]:
    """Sentences about what will show in the reconstruction."""
    out = []
    fov, reach = field_of_view(pg), content_radius(volume)
    if fov.radius < reach - max(volume.geometry.voxel_size):
        out.append(
            f"**Truncated.** The detector sees {fov.radius:.0f} mm around the axis, the object reaches "
            f"{reach:.0f} mm: "
            "expect a bright rim and wrong HU. Widen the detector, or shift it and scan a whole turn."
        )
    scanned = directions(pg.angles, 2 * math.pi)
    step, span = (scanned.step, float(scanned.lengths.sum())) if pg.num_views > 1 else (0.0, 0.0)
    needed = math.pi if isinstance(pg, ParallelBeam) else math.pi + pg.fan_angle
    if span < needed - step - 1e-6:
        out.append(
            f"**Limited angle.** A complete scan of this kind needs {math.degrees(needed):.0f}°: edges "
            "along the "
            "missing directions will be blurred."
        )
    if isinstance(pg, ConeBeam) and not pg.pitch:
        cone = math.degrees(2 * math.atan(pg.det_shape[0] * pg.pixel_size[0] / 2 / pg.src_det_dist))
        if cone > 20:
            out.append(f"**Wide cone ({cone:.0f}°).** Flat structures far from the middle slice will smear.")
    return out
