"""Files written under a temporary name and renamed: readers see the old or the new file, always complete."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
try:
    import msvcrt
except ImportError:  # not Windows
    msvcrt = None  # type: ignore[assignment]

WINDOWS = os.name == "nt"
PAUSES = (0.01, 0.05, 0.2, 0.5)
"""Seconds between attempts to rename on Windows, where it fails while another program has the file open."""
PART = re.compile(r"\.(new-.+-|gone-|.+\.)[0-9a-f]{8}")
"""Names of files and folders that are being written or removed."""
RECENT = 60.0
"""Seconds for which a new part counts as in use, since it is locked only after it is created."""
UNLOCKED = 24 * 3600.0
"""The same on systems without locks on folders."""
FULL = (errno.ENOSPC, errno.EDQUOT)
"""Error numbers of a full disk and of an exhausted quota."""


def write_bytes(path: Path, data: bytes) -> None:
    """Write bytes."""
    _write(path, lambda file: file.write(data))


def write_array(path: Path, data: np.ndarray) -> None:
    """Write an array (.npy)."""
    _write(path, lambda file: np.save(file, data, allow_pickle=False))


def write_arrays(path: Path, arrays: dict[str, np.ndarray], *, compress: bool = False) -> None:
    """Write named arrays (.npz)."""
    save = np.savez_compressed if compress else np.savez
    _write(path, lambda file: save(file, allow_pickle=False, **arrays))


def _write(path: Path, write: Callable[[BinaryIO], object]) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("wb") as file, errors_of_numpy(), in_use(temporary):
            write(file)
        patiently(lambda: temporary.replace(path))
    finally:
        temporary.unlink(missing_ok=True)  # also if the disk is full


def patiently(rename: Callable[[], object]) -> None:
    """Rename a file or folder; on Windows, wait for readers of the old one to close it."""
    for pause in PAUSES if WINDOWS else ():
        try:
            rename()
            return
        except PermissionError:
            time.sleep(pause)
    rename()


@contextmanager
def errors_of_numpy() -> Iterator[None]:
    """Turn numpy's error about an incomplete write, which has no error number, into one about a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error


def disk_sentence(error: OSError) -> str:
    """Return a sentence for users about a disk error."""
    if error.errno in FULL:
        return (
            "The disk is full. Data stored earlier is intact; free some space, for instance by deleting runs,"
            " and try again."
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return (
            "The store cannot be written. Set TOMOPATCH_STORE to a folder of yours, or ask for access to it."
        )
    return str(error)


@contextmanager
def in_use(part: Path) -> Iterator[None]:
    """Mark a file or folder that is being written, so that `is_abandoned` leaves it alone.

    The mark is a lock, which the system releases whenever and however the process ends.
    """
    handle = _locked(part)
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)


def is_abandoned(part: Path) -> bool:
    """Whether no process writes this part any more; one changed in the last minute counts as in use.

    Without locks (Windows), one changed in the last day does.
    """
    try:
        age = time.time() - part.stat().st_mtime
        if age < RECENT:
            return False
        if fcntl is None:
            return age > UNLOCKED
        handle = _locked(part)
    except FileNotFoundError:
        return False
    if handle is None:
        return False
    os.close(handle)
    return True


def _locked(part: Path) -> int | None:
    """Descriptor that holds the lock; None if another process has it, or on systems without locks."""
    if fcntl is None:
        return None
    handle = os.open(part, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Exclusive lock for one process at a time; the system releases it however its holder ends."""
    with lock.open("w", encoding="utf-8") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX)
        while msvcrt is not None:
            with contextlib.suppress(OSError):  # after ten seconds without the lock
                msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)  # type: ignore[attr-defined]
                break
        yield


def finite(value: float) -> float | None:
    """The value, or None if it is infinite or NaN: JSON has no infinity, the PSNR of an exact match."""
    return value if math.isfinite(value) else None
