"""Files written beside their place and renamed: whoever reads sees the old one or the new one, whole."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np


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
        with beside.open("wb") as file:
            write(file)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)  # a full disk leaves no litter


def finite(value: float) -> float | None:
    """JSON has no infinity: an exact match has no PSNR there."""
    return value if math.isfinite(value) else None
