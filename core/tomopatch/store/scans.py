"""Stored scan files: measured projections as they were read, and their metadata."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomopatch.io.projections import Projections

_ARRAYS = ("data", "angles", "dark", "flat", "vectors")
_VALUES = (
    "quantity", "white", "background", "beam", "pixel_size", "src_orig_dist", "src_det_dist", "axis",
    "middle_row", "rows_down", "notes",
)  # fmt: skip
_COMPACT = (np.uint8, np.uint16, np.float16)
"""Smaller types of projections and frames, which are used if they keep every value."""


@dataclass(frozen=True)
class ScanInfo:
    """A stored scan file, without its projections.

    Attributes
    ----------
    shape : (v, angle, u)
    """

    digest: str
    name: str
    shape: tuple[int, int, int]
    created: float


def arrays_of(p: Projections) -> dict[str, np.ndarray]:
    """Return the arrays of a scan for an .npz, in small types."""
    arrays = {name: getattr(p, name) for name in _ARRAYS if getattr(p, name) is not None}
    return {name: a if name in ("angles", "vectors") else _compact(a) for name, a in arrays.items()}


def values_of(p: Projections) -> dict[str, Any]:
    """Return the other values of a scan, ready for JSON."""
    return {name: getattr(p, name) for name in _VALUES}


def digest_of_scan(p: Projections) -> str:
    """Digest of the content of a scan; its name does not count."""
    digest = hashlib.sha256(json.dumps(values_of(p), sort_keys=True).encode())
    for name in _ARRAYS:
        array = getattr(p, name)
        digest.update(f"{name} {None if array is None else array.shape}".encode())
        if array is not None:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def projections_of(arrays: dict[str, np.ndarray], values: dict[str, Any], name: str) -> Projections:
    """Return the scan with these arrays and values."""
    found: dict[str, Any] = {
        key: a.astype(np.float64 if key in ("angles", "vectors") else np.float32, copy=False)
        for key, a in arrays.items()
    }
    values = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items() if key in _VALUES}
    return Projections(**found, **values, name=name)


def _compact(array: np.ndarray) -> np.ndarray:
    for kind in _COMPACT:
        with np.errstate(all="ignore"):
            small = array.astype(kind)
            if np.array_equal(small.astype(np.float32), array, equal_nan=True):
                return small
    return array
