"""Built-in phantoms: analytic test objects and random anatomy.

A phantom is an object in millimetres that is sampled on a grid. A voxel at the edge of a primitive gets the
share that the primitive covers. The same phantom on twice the grid is the same object.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from numbers import Integral
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.views import Views
from tomopatch.phantoms.anatomy import abdomen, thorax
from tomopatch.phantoms.geometric import geometric
from tomopatch.phantoms.head import head
from tomopatch.phantoms.scene import Lesion, Material, Scene
from tomopatch.volume import MU_WATER, Shape, Triple, Volume, VolumeGeometry


class Sphere(NamedTuple):
    """A ball: centre (z, y, x) [mm], radius [mm], and the mu [1/mm] that it adds to its surroundings."""

    centre: Triple
    radius: float
    mu: float


SPHERES = (
    Sphere((0.0, 0.0, 0.0), 80.0, MU_WATER),
    Sphere((20.0, -25.0, 35.0), 22.0, 0.5 * MU_WATER),
    Sphere((-25.0, 30.0, 20.0), 15.0, -0.6 * MU_WATER),
    Sphere((10.0, 25.0, -38.0), 18.0, 0.1 * MU_WATER),
    Sphere((-30.0, -35.0, -15.0), 10.0, 0.9 * MU_WATER),
    Sphere((40.0, 10.0, -5.0), 6.0, -0.9 * MU_WATER),
)
"""The phantom "spheres"."""


def phantom(
    name: str, shape: Shape = (96, 128, 128), voxel_size: Triple | None = None, seed: int = 0
) -> Volume:
    """Draw a built-in phantom on a grid.

    Parameters
    ----------
    name : str
        One of `PHANTOMS`.
    shape : (z, y, x)
        Number of voxels.
    voxel_size : (z, y, x), optional
        [mm]; by default the phantom's own field of view divided by `shape`.
    seed : int
        Selects the anatomy of "thorax", "abdomen" and "head", and the objects of "geometric". The other
        phantoms ignore it.
    """
    vg = field_of_view(name).with_shape(shape) if voxel_size is None else VolumeGeometry(shape, voxel_size)
    return draw(name, vg, seed=seed)


def field_of_view(name: str) -> VolumeGeometry:
    """The extent of a phantom, as a single voxel."""
    return VolumeGeometry((1, 1, 1), _entry(name).field_of_view)


def draw(name: str, vg: VolumeGeometry, *, seed: int = 0) -> Volume:
    """Draw a built-in phantom on any geometry, for instance a window around a lesion."""
    name = current_name(name)
    title = f"{name} {seed}" if _entry(name).seeded else name
    return Volume.from_hu(_scene(name, seed).paint(vg), vg, name=title)


def lesions(name: str, seed: int = 0) -> list[Lesion]:
    """The lesions in the field of view of `phantom(name, seed=seed)`: centre [mm], radius [mm], HU."""
    entry = _entry(name)
    half = entry.field_of_view[0] / 2
    return [lesion for lesion in _scene(name, seed).lesions if abs(lesion.centre[0]) + lesion.radius < half]


def sphere_line_integrals(spheres: Sequence[Sphere], views: Views) -> Tensor:
    """Exact line integrals of balls: the sum of mu times chord length, 2 sqrt(r^2 - d^2).

    Each ray runs through the centre of a detector pixel; the result is not averaged over the pixel.

    Returns
    -------
    Tensor (v, angle, u), float32
        Dimensionless.
    """
    rows, columns = views.det_shape
    v = (np.arange(rows) - (rows - 1) / 2)[:, None, None, None]
    u = (np.arange(columns) - (columns - 1) / 2)[:, None]
    pixel = (views.det_pos[:, None] + v * views.det_v[:, None]) + u * views.det_u[:, None]  # (v, angle, u, 3)
    ray = pixel - views.source[:, None] if views.cone else np.broadcast_to(views.source[:, None], pixel.shape)
    ray = ray / np.linalg.norm(ray, axis=-1, keepdims=True)
    total = np.zeros(pixel.shape[:-1])
    for centre, radius, mu in spheres:
        offset = np.asarray(centre) - pixel
        along = (offset * ray).sum(-1)
        squared = (offset**2).sum(-1) - along**2
        total += mu * 2 * np.sqrt((radius**2 - squared).clip(min=0))
    return torch.from_numpy(total.astype(np.float32))


# ---- test objects -------------------------------------------------------------------------------

# Kak & Slaney's head in the form of Toft: mu in units of water, half axes and centre (x, y, z) in units of
# the head's frame, degrees in the plane. Skull and brain as in the original (2.0 and 1.02 times water), the
# inner contrasts ten times as strong, as in Toft's "modified" phantom, to make them visible.
_SHEPP_LOGAN = (
    (2.00, (0.6900, 0.9200, 0.8100), (0.00, 0.0000, 0.00), 0),
    (-0.98, (0.6624, 0.8740, 0.7800), (0.00, -0.0184, 0.00), 0),
    (-0.20, (0.1100, 0.3100, 0.2200), (0.22, 0.0000, 0.00), -18),
    (-0.20, (0.1600, 0.4100, 0.2800), (-0.22, 0.0000, 0.00), 18),
    (0.10, (0.2100, 0.2500, 0.4100), (0.00, 0.3500, -0.15), 0),
    (0.10, (0.0460, 0.0460, 0.0500), (0.00, 0.1000, 0.25), 0),
    (0.10, (0.0460, 0.0460, 0.0500), (0.00, -0.1000, 0.25), 0),
    (0.10, (0.0460, 0.0230, 0.0500), (-0.08, -0.6050, 0.00), 0),
    (0.10, (0.0230, 0.0230, 0.0200), (0.00, -0.6060, 0.00), 0),
    (0.10, (0.0230, 0.0460, 0.0200), (0.06, -0.6050, 0.00), 0),
)


def _shepp_logan(seed: int) -> Scene:
    scene = Scene(seed)
    for water, (a, b, c), (x, y, z), degrees in _SHEPP_LOGAN:
        # their y points to the front
        centre, radii = (100 * z, -100 * y, 100 * x), (100 * c, 100 * b, 100 * a)
        scene.ellipsoid(centre, radii, Material(1000 * water), turn=(-degrees, 0, 0), added=True)
    return scene


def _spheres(seed: int) -> Scene:
    scene = Scene(seed)
    for centre, radius, mu in SPHERES:
        scene.ellipsoid(centre, (radius,) * 3, Material(1000 * mu / MU_WATER), added=True)
    return scene


def _defrise(seed: int) -> Scene:
    """Discs perpendicular to the axis, which a circular cone beam measures incompletely."""
    scene = Scene(seed)
    for z in range(-72, 73, 24):
        scene.cylinder((z, 0, 0), 75, 6, Material(0))
    return scene


def _bars(seed: int) -> Scene:
    """Groups of four bars, 8 to 1.5 mm wide: across x and y in the lower half, across z in the upper."""
    scene = Scene(seed)
    scene.cylinder((0, 0, 0), 95, 75, Material(0))
    places = {  # width -> centres (z, y, x) of its groups across x, y and z
        8.0: ((-36, -60, -40), (-36, -32, 25), (34, 0, -66)),
        6.0: ((-36, -36, -40), (-36, 25, 25), (34, 0, -42)),
        4.0: ((-36, -12, -40), (-36, -36, 55), (34, 0, -18)),
        3.0: ((-36, 12, -40), (-36, -6, 55), (34, 0, 6)),
        2.0: ((-36, 36, -40), (-36, 17, 55), (34, 0, 30)),
        1.5: ((-36, 60, -40), (-36, 35, 55), (34, 0, 54)),
    }
    for width, centres in places.items():
        for axis, centre, half in zip((2, 1, 0), centres, ((24, 8, 0), (24, 0, 10), (0, 30, 8)), strict=True):
            for k in range(4):
                at, size = np.array(centre, dtype=float), np.array(half, dtype=float)
                at[axis] += (2 * k - 3) * width
                size[axis] = width / 2
                scene.box(at, size, Material(1000))
    return scene


# ---- the table ----------------------------------------------------------------------------------


class _Entry(NamedTuple):
    scene: Callable[[int], Scene]
    field_of_view: Triple
    seeded: bool


_TABLE = {
    "thorax": _Entry(thorax, (280.0, 400.0, 400.0), True),
    "abdomen": _Entry(abdomen, (280.0, 400.0, 400.0), True),
    "head": _Entry(head, (200.0, 240.0, 240.0), True),
    "geometric": _Entry(geometric, (300.0, 240.0, 240.0), True),
    "shepp-logan": _Entry(_shepp_logan, (200.0, 200.0, 200.0), False),
    "spheres": _Entry(_spheres, (180.0, 180.0, 180.0), False),
    "defrise": _Entry(_defrise, (176.0, 176.0, 176.0), False),
    "bars": _Entry(_bars, (200.0, 200.0, 200.0), False),
}
PHANTOMS: tuple[str, ...] = tuple(_TABLE)
SEEDED: tuple[str, ...] = tuple(name for name, entry in _TABLE.items() if entry.seeded)
"""Phantoms that depend on the seed."""
RENAMED = {"solids": "geometric"}
"""Earlier names of phantoms, which stored files and links may contain."""


def current_name(name: str) -> str:
    """Return the present name of a phantom."""
    return RENAMED.get(name, name)


def _entry(name: str) -> _Entry:
    if current_name(name) not in _TABLE:
        raise ValueError(f"there is no phantom {name!r}; expected one of {', '.join(PHANTOMS)}.")
    return _TABLE[current_name(name)]


@lru_cache(maxsize=8)
def _scene(name: str, seed: int) -> Scene:
    """Compose the scene once for all grids; painting does not change it."""
    if not isinstance(seed, Integral) or seed < 0:
        raise ValueError(f"a phantom's seed must be a whole number of at least 0, got {seed!r}.")
    return _entry(name).scene(seed)
