"""Stripes in sinograms, which become rings: pixels whose sensitivity differs from their neighbours'."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter

STRIPE_SIZE = 21
"""Width of the median filter [pixels]: above twice the widest stripe, below the object's details. Vo et al.
use 21 to 81 for detectors of 2000 columns; the weakest of these alters the object least."""
LEAST_VIEWS = 40
"""With fewer views the ranks along a column are too coarse to tell a stripe from the object."""


def remove_stripes(y: np.ndarray, *, size: int = STRIPE_SIZE) -> np.ndarray:
    """Remove stripes by sorting.

    Each column of a sinogram is sorted along the angles, a median filter acts across the columns at equal
    rank, and the values return to their views. (Vo, Atwood, Drakopoulos 2018, Opt. Express 26(22), 28396,
    algorithm 3)

    Parameters
    ----------
    y : float32 array (v, angle, u)
        Line integrals.
    size : int
        Width of the median filter [pixels], at least 3.

    Returns
    -------
    float32 array (v, angle, u)

    Raises
    ------
    ValueError
        If `size` is no whole number from 3 to the number of columns.
    """
    y = np.asarray(y, np.float32)
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


def stripe_amplitude(y: np.ndarray, *, size: int = STRIPE_SIZE) -> float:
    """Root mean square over pixels of what stays the same in all views: the strength of the stripes.

    Each view's deviation from its median-filtered self is averaged over the views by the median, in which the
    object's moving edges cancel.

    Parameters
    ----------
    y : float32 array (v, angle, u)
        Line integrals.
    """
    rough = y - median_filter(y, size=(1, 1, min(size, y.shape[2])), mode="reflect")
    return float(np.sqrt(np.square(np.median(rough, axis=1)).mean()))
