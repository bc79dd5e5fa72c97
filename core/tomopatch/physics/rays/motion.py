"""Exact motion of the object during a scan: source and detector move instead of the object."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tomopatch.geometry.views import Views
from tomopatch.physics.effects import Motion
from tomopatch.physics.rays.pixels import Rays
from tomopatch.volume import VolumeGeometry


def displacements(motion: Motion, num_views: int) -> np.ndarray:
    """Return the displacement (views, 3) of the object in each view [mm]; for breathing, of its lower end.

    View i is measured at the time i / num_views. A drift reaches the whole amplitude at the time 1.
    """
    time = np.arange(num_views) / num_views
    amplitude = np.asarray(motion.amplitude)
    if motion.kind == "drift":
        share = time
    elif motion.kind == "jump":
        share = (time >= motion.time).astype(float)
    else:
        share = (1 - np.cos(2 * np.pi * motion.cycles * time)) / 2
        amplitude = amplitude * (-1, 0, 0)  # the lower end moves down
    return share[:, None] * amplitude


def moving_rays(views: Views, motion: Motion, vg: VolumeGeometry) -> Rays:
    """Return rays through the object at rest that measure the same as `views` of the moving object.

    A rigid motion shifts source and detector by the opposite displacement. Breathing stretches the object
    uniformly along z about the upper end of the volume, so that its lower end moves by the amplitude. The
    attenuation of each tissue stays the same. A uniform stretch maps straight rays to straight rays,
    so neither motion phases nor interpolation are needed.

    Raises
    ------
    ValueError
        If breathing would compress the volume to nothing.
    """
    moved = displacements(motion, views.num_views)
    if motion.kind != "breathing":
        source = views.source - moved if views.cone else views.source
        return Rays(replace(views, source=source, det_pos=views.det_pos - moved))
    height, top = vg.size[0], vg.pos[0] + vg.size[0] / 2
    stretch = 1 - moved[:, 0] / height
    if stretch.min() < 0.1:
        raise ValueError(
            f"breathing by {motion.amplitude[0]:g} mm would compress the volume of {height:.4g} mm to less"
            f" than a tenth; expected at least {-0.9 * height:.4g} mm."
        )

    def compressed(vectors: np.ndarray, origin: float) -> np.ndarray:
        out = vectors.copy()
        out[:, 0] = origin + (vectors[:, 0] - origin) / stretch
        return out

    rays = replace(
        views,
        source=compressed(views.source, top if views.cone else 0.0),
        det_pos=compressed(views.det_pos, top),
        det_v=compressed(views.det_v, 0.0),
        det_u=compressed(views.det_u, 0.0),
    )
    return Rays(rays, stretch)
