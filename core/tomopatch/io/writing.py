"""Files written beside their place and renamed: whoever reads sees the old one or the new one, whole."""

from __future__ import annotations

import errno
import math
import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

try:
    import fcntl
except ImportError:  # not on Windows: there nobody waits
    fcntl = None  # type: ignore[assignment]


FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says of a disk without room, and of a person's share that is used up."""


def write_beside(path: Path, data: bytes) -> None:
    """A file of these bytes."""
    _write(path, lambda file: file.write(data))


def write_array(path: Path, data: np.ndarray) -> None:
    """An array (.npy)."""
    _write(path, lambda file: np.save(file, data, allow_pickle=False))


def write_arrays(path: Path, arrays: dict[str, np.ndarray], *, compress: bool = False) -> None:
    """Named arrays (.npz)."""
    save = np.savez_compressed if compress else np.savez
    _write(path, lambda file: save(file, allow_pickle=False, **arrays))


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("wb") as file, errors_of_numpy():
            write(file)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)  # a full disk leaves no litter


@contextmanager
def errors_of_numpy() -> Iterator[None]:
    """Of an array that did not go onto the disk as a whole numpy tells how much did, and not that the disk is full."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def disk_sentence(error: OSError) -> str:
    """What is wrong with the disk, for people."""
    if error.errno in FULL:
        return "The disk is full. What was stored before is whole; make room, by deleting runs for instance, and try again."
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return (
            "The store cannot be written. Set TOMOPATCH_STORE to a folder of yours, or have this one opened."
        )
    return str(error)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One process at a time; the system opens the lock when its holder ends, in whichever way."""
    with lock.open("w") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def finite(value: float) -> float | None:
    """JSON has no infinity: an exact match has no PSNR there."""
    return value if math.isfinite(value) else None
