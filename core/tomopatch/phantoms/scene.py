"""Scenes: an ordered list of primitives in patient space [mm], painted over one another on any grid.

Every primitive is a signed distance: a voxel on its edge gets the share that the primitive covers, and the
same scene on a finer grid is the same object. Texture is a sum of plane waves, whose average over a voxel is
known exactly. Values are Hounsfield units, coordinates (z, y, x).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from tomopatch.phantoms import raster
from tomopatch.phantoms.trees import Point
from tomopatch.schema import Real
from tomopatch.volume import VolumeGeometry

_MAX_THREADS = 8
_NUM_WAVES = 24  # per texture; enough that no direction stands out
_BANDS = ((9.0, 32.0), (3.0, 8.0))  # wavelengths [mm] of the coarse and of the fine texture


class Material(NamedTuple):
    """Hounsfield units, and the standard deviations [HU] of the coarse and the fine texture."""

    hu: float
    coarse: float = 0.0
    fine: float = 0.0


class Lesion(NamedTuple):
    """A lesion: centre (z, y, x) [mm], radius [mm], Hounsfield units."""

    centre: tuple[Real, Real, Real]
    radius: Annotated[Real, Field(gt=0, le=200)]
    hu: Annotated[Real, Field(ge=-1024, le=3071)]


class Appearance(NamedTuple):
    """Appearance of a primitive, in addition to its material.

    opacity: share of the existing values that it covers. added: it adds to the existing values instead of
    covering them. bump: height and wavelength [mm] of an uneven surface. above: painted only in front of this
    y [mm] (gas over fluid). soft: width of the edge [mm].
    """

    opacity: float = 1.0
    added: bool = False
    bump: tuple[float, float] = (0.0, 1.0)
    above: float = raster.EVERYWHERE
    soft: float = 0.0


class Scene:
    """Primitives in painting order: later ones cover earlier ones.

    Each primitive takes the fields of `Appearance` as keywords.
    """

    def __init__(self, seed: int = 0, *, lift: float = 0.0) -> None:
        """`lift` [mm] moves all added primitives towards the head, which selects the field of view."""
        self.lift = lift
        self.rng = np.random.default_rng(seed)
        self.lesions: list[Lesion] = []
        self._rows: list[np.ndarray] = []
        self._waves = [_draw_waves(self.rng, band) for band in _BANDS]
        self._bumps = _draw_waves(self.rng, (0.7, 1.6), 6)

    def ellipsoid(
        self,
        centre: Point,
        radii: Point,
        material: Material,
        *,
        turn: Point = (0, 0, 0),
        power: float = 2.0,
        **look: Any,
    ) -> None:
        """|x/a|^p + |y/b|^p + |z/c|^p <= 1; `turn` = degrees about the z, y and x axis; power >= 2."""
        frame = _frame(turn)
        reach = np.abs(frame.T) @ radii if power > 2 else np.sqrt((frame.T**2) @ np.square(radii))
        ends = (power, 3 ** (0.5 - 1 / power))  # |u|_2 <= the latter |u|_p
        self._add(
            raster.ELLIPSOID, (centre, frame, radii, ends), material, centre - reach, centre + reach, **look
        )

    def box(self, centre: Point, half: Point, material: Material, **look: Any) -> None:
        """A box with edges along the axes; `half` = half its edge lengths [mm]."""
        form = (centre, np.eye(3), half, (0, 0))
        self._add(raster.BOX, form, material, np.subtract(centre, half), np.add(centre, half), **look)

    def cylinder(
        self, centre: Point, radius: float, half_height: float, material: Material, **look: Any
    ) -> None:
        """An upright cylinder, along z."""
        half = (half_height, radius, radius)
        form = (centre, np.eye(3), half, (0, 0))
        self._add(raster.CYLINDER, form, material, np.subtract(centre, half), np.add(centre, half), **look)

    def rods(
        self,
        a: np.ndarray,
        b: np.ndarray,
        radii: np.ndarray,
        material: Material,
        *,
        flat: Point = (1, 1, 1),
        **look: Any,
    ) -> None:
        """Round-ended rods from a (n, 3) to b (n, 3) with radii (n, 2) at the two ends.

        `flat` stretches their cross-sections along z, y, x.
        """
        stretch = np.asarray(flat, dtype=float)
        reach = radii.max(1, keepdims=True) * stretch
        low, high = np.minimum(a, b) - reach, np.maximum(a, b) + reach
        self._add(raster.CAPSULE, (a, np.diag(1 / stretch), b, radii), material, low, high, **look)

    def capsule(
        self, a: Point, b: Point, radius: float | tuple[float, float], material: Material, **look: Any
    ) -> None:
        """One rod; `radius` is one number, or one for each end."""
        radii = np.broadcast_to(np.asarray(radius, dtype=float), (1, 2))
        self.rods(np.array([a]), np.array([b]), radii, material, **look)

    def tube(
        self,
        points: np.ndarray,
        radius: float | Sequence[float] | np.ndarray,
        material: Material,
        **look: Any,
    ) -> None:
        """Rods end to end along `points` (n, 3); one radius, or one for each point."""
        radii = np.broadcast_to(np.asarray(radius, dtype=float), len(points))
        self.rods(points[:-1], points[1:], np.stack([radii[:-1], radii[1:]], axis=1), material, **look)

    def lesion(self, centre: Point, radius: float, material: Material, **look: Any) -> None:
        """A ball that is recorded in `lesions`."""
        self.ellipsoid(centre, (radius, radius, radius), material, **look)
        z, y, x = (float(c) for c in centre)
        self.lesions.append(Lesion((z + self.lift, y, x), float(radius), float(material.hu)))

    def paint(self, vg: VolumeGeometry) -> Tensor:
        """Scene on a grid: Hounsfield units, float32 (z, y, x)."""
        axes = [vg.axis(axis).numpy() for axis in range(3)]
        rows = np.concatenate(self._rows) if self._rows else np.empty((0, raster.COLUMNS))
        waves = np.concatenate([_averaged(w, vg.voxel_size) for w in self._waves])
        out = np.empty(vg.shape, dtype=np.float32)
        (zs, ys, xs), size = axes, np.array(vg.voxel_size)
        threads = min(_MAX_THREADS, os.cpu_count() or 1, len(zs))

        def every(k: int) -> None:
            part = slice(k, None, threads)
            raster.paint(rows, waves, self._bumps, zs[part], ys, xs, size, out[part])

        with ThreadPoolExecutor(threads) as pool:  # slices are independent: always the same bits
            list(pool.map(every, range(threads)))
        return torch.from_numpy(out)

    def _add(
        self,
        kind: int,
        form: tuple[Any, ...],
        material: Material,
        low: np.ndarray,
        high: np.ndarray,
        **look: Any,
    ) -> None:
        """Add a primitive, or n of a kind if the arrays have n rows; `form` = centre, frame, radii, ends."""
        centre, frame, radii, ends = form
        opacity, added, bump, above, soft = Appearance(**look)
        numbers = (opacity, added, *bump, above, soft, self.rng.uniform(0, 2 * math.pi))
        rows = np.empty((len(np.atleast_2d(centre)), raster.COLUMNS))
        rows[:, raster.KIND] = kind
        rows[:, raster.CENTRE : raster.FRAME] = centre
        rows[:, raster.FRAME : raster.RADII] = frame.ravel()
        rows[:, raster.RADII : raster.ENDS] = radii
        rows[:, raster.ENDS : raster.HU] = ends
        rows[:, raster.HU : raster.OPACITY] = material
        rows[:, raster.OPACITY : raster.BOUNDS] = numbers
        rows[:, raster.BOUNDS : raster.BOUNDS + 3] = low
        rows[:, raster.BOUNDS + 3 :] = high
        rows[:, [raster.CENTRE, raster.BOUNDS, raster.BOUNDS + 3]] += self.lift
        if kind == raster.CAPSULE:  # its "radii" are its second end
            rows[:, raster.RADII] += self.lift
        self._rows.append(rows)


# ---- waves and frames ---------------------------------------------------------------------------


def _draw_waves(rng: np.random.Generator, band: tuple[float, float], count: int = _NUM_WAVES) -> np.ndarray:
    """Rows (kz, ky, kx, phase, amplitude) of plane waves in random directions; their sum has variance 1."""
    k = rng.normal(size=(count, 3))
    wavelength = np.exp(rng.uniform(math.log(band[0]), math.log(band[1]), count))
    k *= (2 * np.pi / wavelength / np.linalg.norm(k, axis=1))[:, None]
    phase = rng.uniform(0, 2 * np.pi, count)
    return np.column_stack([k, phase, np.full(count, math.sqrt(2 / count))])


def _averaged(waves: np.ndarray, voxel_size: Point) -> np.ndarray:
    """The same waves averaged over a voxel: the average of cos(k x) over a length h is sinc(k h / 2)."""
    damping = np.sinc(waves[:, :3] * np.asarray(voxel_size) / (2 * np.pi)).prod(1)
    return np.column_stack([waves[:, :4], waves[:, 4] * damping])


def _frame(turn: Point) -> np.ndarray:
    """Matrix whose rows are the primitive's axes (z, y, x) after turns [degrees] about z, then y, then x."""
    frame = np.eye(3)
    for axis, degrees in enumerate(turn):
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        i, j = [a for a in (2, 1, 0) if a != axis][:2]
        rotation = np.eye(3)
        rotation[i, i], rotation[i, j], rotation[j, i], rotation[j, j] = c, -s, s, c
        frame = frame @ rotation.T
    return frame
