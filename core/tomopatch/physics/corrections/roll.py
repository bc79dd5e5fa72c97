"""Detector roll: the angle between the rotation axis and the detector columns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import map_coordinates

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.physics.corrections.axis import estimate_axis, opposite_views

BANDS = 8
"""Number of bands of rows; the axis is estimated in each band."""


@dataclass(frozen=True)
class Roll:
    """Estimated roll.

    Attributes
    ----------
    angle, uncertainty : float
        Angle between the axis and the detector's columns, and its standard error [rad]. Positive: the axis
        moves to higher columns in higher rows.
    column : float
        Column of the axis at the detector's middle row.
    """

    angle: float
    uncertainty: float
    column: float


def estimate_roll(y: np.ndarray, pg: ParallelBeam) -> Roll:
    """Estimate the axis in bands of rows, and fit a straight line to its columns.

    (Donath et al. 2006, J. Opt. Soc. Am. A 23(5), 1048, sec. 4: slice-wise axis and a linear fit)

    Parameters
    ----------
    y : float32 array (v, angle, u)
        Line integrals without NaN.

    Raises
    ------
    ValueError
        If the beam is not parallel, or there are fewer than 3 rows with an object.
    """
    if isinstance(pg, ConeBeam) or pg.tilt:
        raise ValueError(
            "the roll can be estimated for a parallel beam without tilt only; give it as an angle."
        )
    rows = [r for r in np.array_split(np.arange(len(y)), min(BANDS, len(y))) if len(r)]
    strength = np.array([float(np.abs(y[r]).mean()) for r in rows])
    rows = [r for r, s in zip(rows, strength, strict=True) if s > 0.1 * strength.max()]
    if len(rows) < 3:
        raise ValueError(f"the roll needs at least 3 rows with an object in view, got {len(rows)}.")
    method = "mirror" if opposite_views(pg) else "mass"
    bands = [y[r].mean(0, keepdims=True) for r in rows]
    columns = np.array([estimate_axis(band, pg, method=method).column for band in bands])
    heights = np.array([r.mean() for r in rows]) - (len(y) - 1) / 2
    slope, middle = np.polyfit(heights, columns, 1)
    residual = columns - (slope * heights + middle)
    spread = math.sqrt(float(residual @ residual) / max(1, len(rows) - 2) / float(heights @ heights))
    scale = pg.pixel_size[1] / pg.pixel_size[0]
    return Roll(math.atan(slope * scale), spread * scale, float(middle))


def correct_roll(y: np.ndarray, angle: float, pixel_size: tuple[float, float]) -> np.ndarray:
    """Rotate the projections about the centre of the detector by `angle` [rad], with cubic splines.

    Parameters
    ----------
    y : float32 array (v, angle, u)
    pixel_size : (v, u)
        Pixel size [mm].
    """
    v, _, u = y.shape
    rows, columns = np.meshgrid(np.arange(v) - (v - 1) / 2, np.arange(u) - (u - 1) / 2, indexing="ij")
    up, across = rows * pixel_size[0], columns * pixel_size[1]
    sin, cos = math.sin(angle), math.cos(angle)
    where = (
        np.stack([(up * cos - across * sin) / pixel_size[0], (up * sin + across * cos) / pixel_size[1]])
        + np.array([(v - 1) / 2, (u - 1) / 2])[:, None, None]
    )
    order = 3 if v > 3 else 1
    turned = [map_coordinates(view, where, order=order, mode="nearest") for view in np.moveaxis(y, 1, 0)]
    return np.stack(turned, 1).astype(np.float32)
