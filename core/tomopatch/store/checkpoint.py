"""What an interrupted run goes on from: the state after one of its steps, in one file, replaced as the run proceeds."""

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

VERSION = 2
_FILE = "checkpoint.npz"
_STATE = "state"
_DAMAGE = (OSError, ValueError, TypeError, KeyError, EOFError, RecursionError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A step of a run.

    Attributes
    ----------
    digest : str
        Of the run's config, weights included: the state means nothing to another.
    state : State
        See `tomopatch.progress.Step`; from a file tensors are on the CPU, and those without a dimension numbers.
    points : list of Point
        The figures of all steps up to this one.
    frames : int
        Snapshots that the history had by then.
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
    """The run's checkpoint; None, and the run begins anew, if there is none that fits or it is damaged."""
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
    return (folder / _FILE).exists()


def kept_steps(folder: Path) -> int:
    """Number of steps in the run's checkpoint, without its state; 0 if there is none or it is damaged."""
    try:
        with np.load(folder / _FILE, allow_pickle=False) as file:
            return len(json.loads(file["about"].tobytes())["points"])
    except _DAMAGE:
        return 0


def drop_checkpoint(folder: Path) -> None:
    """The run is over, or begins anew."""
    (folder / _FILE).unlink(missing_ok=True)


def _flat(prefix: str, state: State) -> Iterator[tuple[str, Any]]:
    """The leaves of a state, the names of their parts joined by slashes."""
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
    """Arrays without dimensions as plain numbers or texts."""
    return torch.from_numpy(array) if array.ndim else array.item()
