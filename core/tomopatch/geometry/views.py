"""Scan geometries as vectors, one row per view; and the detector that covers a volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tomopatch.volume import finite

FARTHEST = 1e9
"""Largest distance or shift [mm]. Beyond it float64 no longer resolves a voxel."""
MAX_PIXELS = 1e6
"""Upper limit on the rows or columns of a detector that is fitted to a volume."""


@dataclass(frozen=True, eq=False)
class Views:
    """Any geometry as one row of vectors (z, y, x) per view [mm]; the input of a projector.

    Attributes
    ----------
    cone : bool
        True: `source` holds source positions. False: it holds ray directions of a parallel beam.
    source, det_pos, det_v, det_u : float64 arrays (views, 3)
        Source (or ray), detector centre, and the steps from one pixel to the next row and column.
    det_shape : (v, u)
        Number of detector rows and columns.
    """

    cone: bool
    source: np.ndarray
    det_pos: np.ndarray
    det_v: np.ndarray
    det_u: np.ndarray
    det_shape: tuple[int, int]

    def __post_init__(self) -> None:
        rows = {np.shape(a) for a in (self.source, self.det_pos, self.det_v, self.det_u)}
        if (
            len(rows) != 1
            or len(next(iter(rows))) != 2
            or next(iter(rows))[1] != 3
            or next(iter(rows))[0] == 0
        ):
            raise ValueError(
                f"views need four arrays of the same shape (views, 3), got shapes {sorted(rows)}."
            )
        if not all(np.isfinite(a).all() for a in (self.source, self.det_pos, self.det_v, self.det_u)):
            raise ValueError("views must be finite: one of the vectors holds NaN or infinity.")
        check_det_shape(self.det_shape)

    @property
    def num_views(self) -> int:
        return len(self.source)

    def views(self) -> Views:
        """These views themselves: every geometry can be asked for its views."""
        return self

    def subset(self, angle_index: Sequence[int] | slice) -> Views:
        """Only these views, in this order."""
        index = view_index(angle_index, self.num_views)
        source, det_pos, det_v, det_u = (
            a[index] for a in (self.source, self.det_pos, self.det_v, self.det_u)
        )
        return Views(self.cone, source, det_pos, det_v, det_u, self.det_shape)


def pixel_size(views: Views) -> tuple[float, float]:
    """Edge lengths (v, u) of a detector pixel in the first view [mm]."""
    return float(np.linalg.norm(views.det_v[0])), float(np.linalg.norm(views.det_u[0]))


def frame(angles: Sequence[float], tilt: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors (views, 3) of the central ray, the detector's rows and its columns."""
    sin, cos = np.sin(np.asarray(angles)), np.cos(np.asarray(angles))
    zero, one = np.zeros_like(sin), np.ones_like(sin)
    across = np.stack([zero, sin, cos], 1)
    forward = np.stack([zero, cos, -sin], 1)
    z = np.stack([one, zero, zero], 1)
    ray = math.cos(tilt) * forward + math.sin(tilt) * z
    up = math.cos(tilt) * z - math.sin(tilt) * forward
    return ray, up, across


def difference(a: Views, b: Views) -> str | None:
    """Difference of two geometries as the end of a sentence; None if equal to a thousandth of a pixel."""
    if a.cone != b.cone:
        return "one is a cone beam, the other parallel"
    if a.det_shape != b.det_shape:
        return f"their detectors have {a.det_shape} and {b.det_shape} pixels (v, u)"
    if a.num_views != b.num_views:
        return f"they have {a.num_views} and {b.num_views} views"
    pixel = float(np.linalg.norm(a.det_u, axis=1).min())
    near = {"source" if a.cone else "ray direction": (a.source, b.source, pixel if a.cone else 1.0)}
    near |= {
        "detector position": (a.det_pos, b.det_pos, pixel),
        "pixel size or detector direction": (a.det_u, b.det_u, pixel / max(a.det_shape)),
        "row height or detector direction": (a.det_v, b.det_v, pixel / max(a.det_shape)),
    }
    for what, (first, second, unit) in near.items():
        apart = np.linalg.norm(first - second, axis=1)
        if apart.max() > 1e-3 * unit:
            return f"their {what} differs, most in view {int(apart.argmax())} of {a.num_views}"
    return None


def is_pair(values: Sequence[float]) -> bool:
    """Whether these are two lengths (v, u) [mm] within FARTHEST."""
    return np.shape(values) == (2,) and all(finite(v) and abs(v) <= FARTHEST for v in values)


def check_det_shape(det_shape: Sequence[int]) -> None:
    if np.shape(det_shape) != (2,) or any(not finite(n) or int(n) != n or n < 1 for n in det_shape):
        raise ValueError(f"det_shape must be two counts (v, u) of at least 1, got {det_shape}.")


def view_index(angle_index: Sequence[int] | slice, num_views: int) -> np.ndarray:
    index = np.arange(num_views)
    try:
        index = index[angle_index if isinstance(angle_index, slice) else np.asarray(angle_index)]
    except IndexError:
        raise ValueError(f"angle_index names a view outside 0..{num_views - 1}: {angle_index}.") from None
    if index.ndim != 1 or len(index) == 0:
        raise ValueError(f"angle_index must name at least one of the {num_views} views, got {angle_index}.")
    return index


def fitted_shape(
    size: tuple[float, float],
    pixel_size: Sequence[float],
    offset: Sequence[float],
    slices: tuple[int, float] | None = None,
) -> tuple[int, int]:
    """Pixels (v, u) that cover a shadow of `size` [mm] despite a detector shift of `offset` [mm].

    If a row is as high as a slice's shadow, the number of rows is made odd or even like the number of slices.
    Each slice then has a row at its height. Otherwise the outermost rows would run along the top and bottom
    faces of the volume, where a ray sees half of each voxel. A single slice gets a single row: a fan beam.

    Parameters
    ----------
    size, pixel_size, offset : (v, u)
        [mm]
    slices : (count, height) or None
        Number of slices of a volume whose slices are parallel to the rows, and height of a slice's shadow
        [mm]; None = not parallel.
    """
    if not is_pair(pixel_size) or not all(p > 0 for p in pixel_size):
        raise ValueError(f"pixel_size must be two lengths (v, u) in mm above 0, got {pixel_size}.")
    if np.shape(offset) != (2,) or not all(map(finite, offset)):
        raise ValueError(f"det_offset must be two lengths (v, u) in mm, got {offset}.")
    pixels = [(s + 2 * abs(o)) / p - 1e-9 for s, p, o in zip(size, pixel_size, offset, strict=True)]
    if not all(n < MAX_PIXELS for n in pixels):
        raise ValueError(
            f"a detector with pixels of {tuple(pixel_size)} mm that is shifted by {tuple(offset)} mm would"
            f" need more than {MAX_PIXELS:.0e} of them a side to cover the volume; use larger pixels or a"
            " smaller shift."
        )
    v, u = (max(1, math.ceil(n)) for n in pixels)
    if slices is None or offset[0]:
        return v, u
    count, height = slices
    if count == 1 and pixel_size[0] >= height * (1 - 1e-6):
        return 1, u
    return v + (v - count) % 2 if math.isclose(pixel_size[0], height, rel_tol=1e-6) else v, u
