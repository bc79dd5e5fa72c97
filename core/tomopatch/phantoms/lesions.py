"""Lesions planted into a volume, to test whether a reconstruction shows them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import uniform_filter

from tomopatch.phantoms.scene import Lesion
from tomopatch.volume import Triple, Volume, mu_from_hu

AIRY = (-980.0, -650.0)
"""[HU] Range of lung tissue: air, with the vessels in it on average."""


def plant(volume: Volume, lesions: Sequence[Lesion]) -> Volume:
    """The volume with these balls in it; an edge voxel gets the share that a ball covers, to first order.

    Raises
    ------
    ValueError
        If a centre lies outside the volume.
    """
    if not lesions:
        return volume
    vg, data = volume.geometry, volume.data.clone()
    for lesion in lesions:
        low, high = ([p + sign * s / 2 for p, s in zip(vg.pos, vg.size, strict=True)] for sign in (-1, 1))
        if not all(a <= c <= b for a, c, b in zip(low, lesion.centre, high, strict=True)):
            raise ValueError(
                f"a lesion at {_shown(lesion.centre)} mm (z, y, x) lies outside the volume, which "
                f"reaches from {_shown(low)} to {_shown(high)} mm."
            )
        z, y, x = torch.meshgrid(*(vg.axis(i) - c for i, c in enumerate(lesion.centre)), indexing="ij")
        distance = (z**2 + y**2 + x**2).sqrt() - lesion.radius
        # approximate length of a voxel along the ray from the centre
        scale = (z**2 + y**2 + x**2).sqrt().clamp(min=1e-6 * min(vg.voxel_size))
        sz, sy, sx = vg.voxel_size
        length = ((z * sz) ** 2 + (y * sy) ** 2 + (x * sx) ** 2).sqrt() / scale
        covered = (0.5 - distance / length.clamp(min=min(vg.voxel_size) / 2)).clamp(0, 1).to(data)
        data = data + covered * (float(mu_from_hu(torch.tensor(lesion.hu))) - data)
    return Volume(data, vg, volume.name)


def _shown(place: Sequence[float]) -> str:
    return f"({', '.join(f'{c:.4g}' for c in place)})"


def hiding_place(
    volume: Volume,
    radius: float,
    *,
    seed: int = 0,
    tissue: tuple[float, float] = AIRY,
    max_spread: float = 180.0,
) -> Triple:
    """Random centre (z, y, x) [mm] of a ball of this radius [mm] that lies in tissue of these HU.

    The same seed gives the same place. The standard deviation of the tissue within 1.3 radii along each
    axis is below `max_spread` [HU].

    Raises
    ------
    ValueError
        If the volume has no such place.
    """
    vg = volume.geometry
    hu = volume.hu.cpu().numpy().astype(np.float32)
    reach = [max(1, 2 * round(1.3 * radius / s) + 1) for s in vg.voxel_size]
    mean = uniform_filter(hu, reach, mode="nearest")
    # inside the tissue: the mean is that of the tissue, and little else is near
    spread = np.sqrt(np.maximum(uniform_filter(hu**2, reach, mode="nearest") - mean**2, 0))
    fits = (mean > tissue[0]) & (mean < tissue[1]) & (spread < max_spread)
    for axis, n in enumerate(reach):
        edge = np.zeros(hu.shape[axis], bool)
        edge[n : -n or None] = True
        fits &= edge.reshape([-1 if a == axis else 1 for a in range(3)])
    places = np.argwhere(fits)
    if not len(places):
        raise ValueError(f"this volume has no place for a lesion of {radius:g} mm in such tissue.")
    z, y, x = places[np.random.default_rng(seed).integers(len(places))]
    a, b, c = (float(vg.axis(i)[n]) for i, n in enumerate((z, y, x)))
    return a, b, c
