"""Caches of computed volumes as files, shared by the server and its workers.

A large phantom takes seconds to draw, and so does a reconstruction from all views of a measured scan.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path

import numpy as np
import torch

import tomopatch.phantoms
from tomopatch.io.writing import alone, write_arrays
from tomopatch.library import load_volume
from tomopatch.volume import Shape, Volume, VolumeGeometry

MAX_BYTES = 2**30
"""Size of a whole cache. The volumes that were used longest ago are removed first."""


def cached_phantom(folder: Path, spec: str, shape: Shape) -> Volume:
    """Return the phantom `spec` on a grid, from the cache or drawn and cached.

    A phantom that would fill a quarter of the cache is drawn each time.
    """
    if 4 * np.prod(shape, dtype=float) > MAX_BYTES / 4:
        return load_volume(spec, shape=shape)
    return cached_volume(folder, _digest(spec, shape), lambda: load_volume(spec, shape=shape))


def cached_volume(folder: Path, name: str, make: Callable[[], Volume]) -> Volume:
    """Return the volume of this name from the cache in a folder, or make and cache it."""
    made: list[Volume] = []
    try:
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}.npz"
        with alone(path.with_suffix(".lock")):
            if path.exists():
                with contextlib.suppress(ValueError, KeyError, EOFError, zipfile.BadZipFile):  # damaged
                    volume = _read(path)
                    path.touch()
                    return volume
            volume = make()
            made.append(volume)
            _evict(folder, MAX_BYTES - 4 * volume.data.numel())
            about = json.dumps({"name": volume.name, **asdict(volume.geometry)}).encode()
            write_arrays(path, {"data": volume.data.cpu().numpy(), "about": np.frombuffer(about, np.uint8)})
            return volume
    except OSError:  # a full or read-only disk does not prevent the computation
        return made[0] if made else make()


def _read(path: Path) -> Volume:
    with np.load(path, allow_pickle=False) as file:
        about = json.loads(file["about"].tobytes())
        data = torch.from_numpy(file["data"])
    return Volume(data, VolumeGeometry(about["shape"], about["voxel_size"], about["pos"]), about["name"])


def _evict(folder: Path, max_bytes: float) -> None:
    """Remove the volumes that were used longest ago until the rest fits."""
    files = sorted(folder.glob("*.npz"), key=lambda p: -p.stat().st_mtime)
    used = 0
    for path in files:
        used += path.stat().st_size
        if used > max_bytes:
            path.unlink(missing_ok=True)
            path.with_suffix(".lock").unlink(missing_ok=True)


def _digest(spec: str, shape: Shape) -> str:
    return hashlib.sha256(f"{_source_digest()} {spec} {tuple(shape)}".encode()).hexdigest()[:16]


@cache
def _source_digest() -> str:
    """Digest of the drawing code: another version of it draws other phantoms."""
    files = sorted(Path(tomopatch.phantoms.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
