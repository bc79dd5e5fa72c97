"""Any scan as vectors, one row per view: what projectors work with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Views:
    """Any geometry, as one row of vectors (z, y, x) per view [mm]; what a projector works with.

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

    def subset(self, angle_index: Sequence[int] | slice) -> Views:
        """Only these views, in this order."""
        index = view_index(angle_index, self.num_views)
        source, det_pos, det_v, det_u = (
            a[index] for a in (self.source, self.det_pos, self.det_v, self.det_u)
        )
        return Views(self.cone, source, det_pos, det_v, det_u, self.det_shape)


def check_det_shape(det_shape: Sequence[int]) -> None:
    if len(det_shape) != 2 or any(int(n) != n or n < 1 for n in det_shape):
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
