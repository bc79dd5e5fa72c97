"""Checkpoint of a run: the state after one of its steps, in one file that later steps replace."""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tomopatch.io.writing import write_arrays
from tomopatch.progress import State
from tomopatch.store.history import Point

VERSION = 3
"""Grows when the state of a method changes: runs that were interrupted earlier start again."""
_FILE = "checkpoint.npz"
_STATE = "state"
_DAMAGE = (OSError, ValueError, TypeError, KeyError, EOFError, RecursionError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State of a run after one of its steps.

    Attributes
    ----------
    digest : str
        Digest of the run's config, weights included. Another config cannot use the state.
    state : State
        See `tomopatch.progress.Step`. After reading, tensors are on the CPU, and those without dimensions are
        numbers.
    points : list of Point
        The figures of all steps up to this one.
    frames : int
        Number of snapshots in the history at this step.
    """

    digest: str
    state: State
    points: list[Point]
    frames: int


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the run's checkpoint, as a whole or not at all."""
    about = {
        "version": VERSION,
        "digest": checkpoint.digest,
        "points": [asdict(p) for p in checkpoint.points],
        "frames": checkpoint.frames,
    }
    arrays = {name: _array(value) for name, value in _flat(_STATE, checkpoint.state)}
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    write_arrays(folder / _FILE, arrays)


def read_checkpoint(folder: Path, digest: str) -> Checkpoint | None:
    """Return the run's checkpoint; None if it is missing, damaged or of another config."""
    try:
        with np.load(folder / _FILE, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            if (about["version"], about["digest"]) != (VERSION, digest):
                return None
            state = _nested(
                {
                    name.removeprefix(f"{_STATE}/"): _value(file[name])
                    for name in file.files
                    if name.startswith(f"{_STATE}/")
                }
            )
        return Checkpoint(digest, state, [Point(**p) for p in about["points"]], int(about["frames"]))
    except _DAMAGE:
        return None


def has_checkpoint(folder: Path) -> bool:
    """Whether the run has a checkpoint; it may be damaged."""
    return (folder / _FILE).exists()


def kept_steps(folder: Path) -> int:
    """Number of steps in the run's checkpoint; 0 if it is missing or damaged. The state is not read."""
    try:
        with np.load(folder / _FILE, allow_pickle=False) as file:
            return len(json.loads(file["about"].tobytes())["points"])
    except _DAMAGE:
        return 0


def drop_checkpoint(folder: Path) -> None:
    """Remove the run's checkpoint."""
    (folder / _FILE).unlink(missing_ok=True)


def _flat(prefix: str, state: State) -> Iterator[tuple[str, Any]]:
    """Leaves of a state, with paths of names joined by slashes."""
    for name, value in state.items():
        path = f"{prefix}/{name}"
        if isinstance(value, Mapping):
            yield from _flat(path, value)
        else:
            yield path, value


def _nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `_flat`."""
    state: dict[str, Any] = {}
    for path, value in leaves.items():
        *parts, name = path.split("/")
        inner = state
        for part in parts:
            inner = inner.setdefault(part, {})
        inner[name] = value
    return state


def _array(value: Tensor | float | int | str) -> np.ndarray:
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)


def _value(array: np.ndarray) -> Tensor | float | int | str:
    """An array as a tensor; one without dimensions as a plain number or text."""
    return torch.from_numpy(array) if array.ndim else array.item()
