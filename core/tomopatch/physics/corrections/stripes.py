"""Stripes in sinograms, which become rings: pixels whose sensitivity differs from their neighbours'."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

LEAST_VIEWS = 40
"""With fewer views the sorted columns are too coarse to distinguish a stripe from the object."""
STRIPE_SHARE = 0.4
"""The filter is used only if at least this share of the mean square of its change is the same in all views,
as for stripes. Set between two scans: 0.52 in a tooth with rings, 0.06 in a small object near the axis
without rings. There a wide filter (21 of 80 columns) raised the held-out error from 0.056 to 0.098."""


def default_size(columns: int) -> int:
    """Return the width [pixels] of the median filter for this number of columns: 1/90, odd, at least 5.

    The filter must be wider than twice the widest stripe, and narrower than the object. Vo et al. use 21 to
    81 for detectors of about 2000 columns.
    """
    return max(5, columns // 90 // 2 * 2 + 1)


def remove_stripes(y: np.ndarray, *, size: int | None = None) -> np.ndarray:
    """Remove stripes by sorting.

    Each column of a sinogram is sorted along the angles, a median filter acts across the columns at equal
    rank, and the values return to their views. (Vo, Atwood, Drakopoulos 2018, Opt. Express 26(22), 28396,
    algorithm 3)

    Parameters
    ----------
    y : float32 array (v, angle, u)
        Line integrals.
    size : int or None
        Width of the median filter [pixels], at least 3; None = `default_size`.

    Returns
    -------
    float32 array (v, angle, u)

    Raises
    ------
    ValueError
        If `size` is not a whole number from 3 to the number of columns.
    """
    y = np.asarray(y, np.float32)
    size = default_size(y.shape[2]) if size is None else size
    if int(size) != size or not 3 <= size <= y.shape[2]:
        raise ValueError(
            f"the width of the stripe filter must be a whole number of pixels from 3 to {y.shape[2]},"
            f" got {size}."
        )
    out = np.empty_like(y)
    for row, sinogram in enumerate(y):
        order = np.argsort(sinogram, axis=0, kind="stable")
        ranked = np.take_along_axis(sinogram, order, axis=0)
        smooth = median_filter(ranked, size=(1, int(size)), mode="reflect")
        np.put_along_axis(out[row], order, smooth, axis=0)
    return out


def stripe_share(y: np.ndarray, filtered: np.ndarray) -> float:
    """Return the share of the filter's mean square change that is the same in all views (see STRIPE_SHARE).

    Parameters
    ----------
    y, filtered : float32 array (v, angle, u)
        Line integrals before and after `remove_stripes`.
    """
    change = filtered - y
    power = float(np.square(change).mean())
    return float(np.square(np.median(change, axis=1)).mean()) / power if power > 0 else 0.0


def stripe_amplitude(y: np.ndarray, *, size: int | None = None) -> float:
    """Return the strength of the stripes: RMS over the pixels of the deviation that is equal in all views.

    The deviation of each view from its median-filtered copy is reduced to its median over the views. Moving
    edges of the object cancel in this median.

    Parameters
    ----------
    y : float32 array (v, angle, u)
        Line integrals.
    size : int or None
        Width of the median filter [pixels]; None = `default_size`.
    """
    size = min(default_size(y.shape[2]) if size is None else size, y.shape[2])
    rough = y - median_filter(y, size=(1, 1, size), mode="reflect")
    return float(np.sqrt(np.square(np.median(rough, axis=1)).mean()))
