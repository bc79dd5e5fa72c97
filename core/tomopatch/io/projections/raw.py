"""Shared code of the readers: their result, checks of declared sizes, errors for missing libraries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

MAX_MB = 4096.0
"""Default limit on the memory that a reader needs [MB]."""
COPIES = 3
"""Float32 arrays of the size of the projections that a reader and the first corrections hold at once."""


@dataclass
class Raw:
    """Content of a file in the file's order of axes.

    Attributes
    ----------
    data : array
        Projections, three axes in the order that `keys["order"]` names.
    dark, flat : array (frame, ...) or None
        Frames; their other axes are in the same order as in the projections.
    keys : dict
        Metadata of the file, under the keys of a geometry file (see `geometry_file.KEYS`).
    notes : list of str
    """

    data: np.ndarray
    dark: np.ndarray | None = None
    flat: np.ndarray | None = None
    keys: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def check_size(shape: Sequence[int], itemsize: int, name: str, max_mb: float) -> None:
    """Refuse an array that would take too much memory, from its declared shape.

    Raises
    ------
    ValueError
        If an axis is shorter than 1, or the array needs more than `max_mb` [MB].
    """
    shape = tuple(int(n) for n in shape)
    if not shape or min(shape) < 1:
        raise ValueError(f"{name} declares an array of shape {shape}; expected counts of at least 1.")
    needed = math.prod(shape) * max(itemsize, 4 * COPIES) / 2**20
    if needed > max_mb:
        raise ValueError(
            f"{name} declares {' x '.join(map(str, shape))} values, which take {_gb(needed)} GB; at most"
            f" {_gb(max_mb)} GB may be used here; bin or crop the projections first."
        )


def _gb(mb: float) -> str:
    return f"{mb / 1000:.1f}" if mb < 1e9 else "more than a million"


def check_numbers(dtype: np.dtype[Any], name: str, what: str) -> None:
    """Refuse values that are not real numbers."""
    if dtype.kind not in "buif":
        raise ValueError(f"{name} has {what} of type {dtype}; expected integers or real numbers.")


def missing(library: str, kind: str) -> ValueError:
    """Return the error for a library that is not installed."""
    return ValueError(
        f"{kind} needs the library {library}; install it with pip install 'tomopatch[measured]'."
    )
