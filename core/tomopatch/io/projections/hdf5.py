"""Reader of HDF5 in the Data Exchange layout of synchrotron beamlines; links to other files are refused.

(De Carlo et al. 2014, "Scientific data exchange", J. Synchrotron Rad. 21, 1224)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from tomopatch.io.projections.raw import Raw, check_numbers, check_size, missing

MAGIC = b"\x89HDF\r\n\x1a\n"
ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError, NotImplementedError)


def is_hdf5(head: bytes) -> bool:
    """Whether a file with these first 520 bytes is HDF5; MATLAB 7.3 files start with 512 other bytes."""
    return head[:8] == MAGIC or head[512:520] == MAGIC


@contextmanager
def opened(file: BinaryIO, name: str) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    Raises
    ------
    ValueError
        If it cannot be read, or h5py is missing.
    """
    try:
        import h5py
    except ImportError:
        raise missing("h5py", "HDF5") from None
    try:
        with h5py.File(file, "r") as root:
            yield root
    except ERRORS as error:
        if str(error).startswith(name):
            raise
        raise ValueError(f"{name} cannot be read as HDF5 ({str(error)[:120]}); it is damaged.") from error


def child(group: Any, path: str, name: str) -> Any | None:
    """Return the object at `path`, or None; links to other files are refused."""
    import h5py

    for part in path.strip("/").split("/"):
        link = group.get(part, getlink=True) if isinstance(group, h5py.Group) else None
        if link is None:
            return None
        if isinstance(link, h5py.ExternalLink):
            raise ValueError(f"{name} links {path} to another file; expected the data in the file itself.")
        group = group.get(part)
    return group


def array(group: Any, path: str, name: str, max_mb: float) -> np.ndarray | None:
    """Return the array at `path`, or None; its declared size is checked before it is read."""
    import h5py

    found = child(group, path, name)
    if found is None:
        return None
    if not isinstance(found, h5py.Dataset) or found.shape is None:
        raise ValueError(f"{name} has a {path} that is not an array; expected numbers.")
    if found.is_virtual or found.external:
        raise ValueError(f"{name} stores {path} in another file; expected the data in the file itself.")
    check_numbers(found.dtype, name, path)
    if found.shape:
        check_size(found.shape, found.dtype.itemsize, name, max_mb)
    if found.chunks and math.prod(found.chunks) * found.dtype.itemsize > max_mb * 2**20:
        raise ValueError(f"{name} has a {path} in chunks of {found.chunks} values; expected smaller chunks.")
    return np.asarray(found[()])


def read_exchange(file: BinaryIO, name: str, max_mb: float) -> Raw:
    """Read `/exchange/data` with `data_white`, `data_dark` and `theta` [degrees unless its units say rad]."""
    with opened(file, name) as root:
        data = array(root, "exchange/data", name, max_mb)
        if data is None:
            raise ValueError(
                f"{name} has no /exchange/data; expected the Data Exchange layout; it has"
                f" {', '.join(sorted(root)[:8])}."
            )
        flat, dark, theta = (
            array(root, f"exchange/{key}", name, max_mb) for key in ("data_white", "data_dark", "theta")
        )
        raw = Raw(data, dark, flat, {"quantity": "counts" if flat is not None else "transmission"})
        if theta is not None:
            units = str(_text(root["exchange/theta"].attrs.get("units", "degrees")))
            degrees = np.rad2deg(theta) if units.startswith("rad") else theta
            raw.keys["angles_deg"] = np.ravel(degrees).astype(float).tolist()
        axes = str(_text(root["exchange/data"].attrs.get("axes", "theta:y:x"))).replace(" ", "")
        order = {"theta": "view", "y": "v", "x": "u"}
        if sorted(axes.split(":")) == sorted(order):
            raw.keys["order"] = ",".join(order[a] for a in axes.split(":"))
        if flat is None:
            raw.notes.append("there is no data_white; the values are taken as transmissions.")
    return raw


def _text(value: Any) -> Any:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
