"""Interpolation of dead pixels, whose values are missing or never change."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

STUCK_VIEWS = 8
"""Least number of views in which a constant pixel counts as dead; with fewer views it may be chance."""
STUCK_SHARE = 0.05
"""A constant pixel is dead if its neighbours change by more than this share of the largest change."""


def repair_pixels(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Interpolate pixels without a value, and pixels with the same value in all views.

    The interpolation is linear along a row, between the nearest good columns. A row without good columns gets
    the mean of the nearest good rows. No value lies beyond the range of its neighbours.

    Parameters
    ----------
    y : float32 array (v, angle, u)
        Line integrals; NaN or infinity where a pixel has no value.

    Returns
    -------
    repaired : float32 array (v, angle, u)
    dead : bool array (v, angle, u)
        Values that were interpolated.

    Raises
    ------
    ValueError
        If a view has no good pixel at all.
    """
    y = np.asarray(y, np.float32)
    dead = ~np.isfinite(y)
    if y.shape[1] >= STUCK_VIEWS:
        # if the neighbours are constant too, no object is there, and the pixel is good
        highest, lowest = np.where(dead, -np.inf, y).max(1), np.where(dead, np.inf, y).min(1)
        spread = np.maximum(highest - lowest, 0)
        around = median_filter(spread, size=(1, 5), mode="reflect")
        dead |= ((spread == 0) & (around > STUCK_SHARE * spread.max()))[:, None]
    if not dead.any():
        return y, dead
    out = y.copy()
    columns = np.arange(y.shape[2])
    for row, view in zip(*np.nonzero(dead.any(2)), strict=True):
        bad = dead[row, view]
        if not bad.all():
            out[row, view, bad] = np.interp(columns[bad], columns[~bad], y[row, view, ~bad])
    lost = dead.all(2)  # (v, angle)
    for view in np.flatnonzero(lost.any(0)):
        good = np.flatnonzero(~lost[:, view])
        if not good.size:
            raise ValueError(
                f"view {view} has no pixel with a value; expected some signal; leave that view out"
                " (leave_out in a geometry file)."
            )
        for row in np.flatnonzero(lost[:, view]):
            above, below = good[good > row][:1], good[good < row][-1:]
            out[row, view] = out[np.concatenate([above, below]), view].mean(0)
    return out, dead
