"""Keeping a store in order: how large runs are, their pictures, and which go when there is no room."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tomopatch.io.writing import write_beside
from tomopatch.runs.limits import USUAL, limit
from tomopatch.runs.run import FINISHED, Run
from tomopatch.store.store import RunStore
from tomopatch.volume import MU_WATER

LIMIT = "TOMOPATCH_STORE_LIMIT_GB"
USUAL_LIMIT = USUAL["STORE_LIMIT_GB"]
"""GB that runs may fill unless the environment variable LIMIT says otherwise."""
_THUMBNAIL = "thumbnail.png"
_WIDTH = 96


@dataclass(frozen=True)
class Kept:
    """A run and what it takes: bytes on the disk, and when it was last made use of [s since 1970]."""

    run: Run
    size: int
    used: float


def limit_bytes() -> float:
    """How much runs may fill.

    Raises
    ------
    ValueError
        If the environment variable is not a number above 0.
    """
    gigabytes = limit("STORE_LIMIT_GB")
    if not gigabytes > 0:
        raise ValueError(f"{LIMIT} must be a number of gigabytes above 0, got {gigabytes:g}.")
    return gigabytes * 1e9


def kept(store: RunStore) -> list[Kept]:
    """All readable runs with their sizes, newest first."""
    found = []
    for run in store.all_runs():
        with contextlib.suppress(ValueError):  # deleted meanwhile
            size, used = size_on_disk(store.run_folder(run.id)), store.last_used(run.id)
            found.append(Kept(run, size, max(run.created, used)))
    return found


def size_on_disk(folder: Path) -> int:
    """Bytes of the files in it; a run at work writes and renames some while they are counted."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def evict(store: RunStore, limit: float) -> list[str]:
    """Delete finished runs, those unused for longest first, until the rest fits into `limit` bytes.

    What killed processes left half written goes first. Pinned runs, and runs that are queued or at work, stay, whatever they take. Returns the ids of what went.
    """
    store.sweep()
    runs = kept(store)
    total = sum(k.size for k in runs)
    gone = []
    for k in sorted(runs, key=lambda k: k.used):
        if total <= limit:
            break
        if k.run.pinned or k.run.status not in (*FINISHED, "cancelled", "failed"):
            continue
        store.delete(k.run.id)
        gone.append(k.run.id)
        total -= k.size
    return gone


def make_room(store: RunStore) -> None:
    """After a run: evict what is over the store's limit. A bad limit is told on Runs; the run itself is done."""
    with contextlib.suppress(ValueError, OSError):
        evict(store, limit_bytes())


def thumbnail(store: RunStore, run_id: str) -> bytes | None:
    """A small PNG of the middle axial slice, -1000 to 400 HU; made once. None without a volume."""
    folder = store.run_folder(run_id)
    path: Path = folder / _THUMBNAIL
    if not path.exists():
        volume = folder / "volume.npy"
        if not volume.exists():
            return None
        try:
            mu = np.load(volume, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError):  # damaged: who opens it is told
            return None
        hu = 1000 * (np.asarray(mu[len(mu) // 2]) / MU_WATER - 1)
        grey = ((hu + 1000) / 1400 * 255).clip(0, 255).astype(np.uint8)
        picture = Image.fromarray(grey)
        picture.thumbnail((_WIDTH, _WIDTH))
        out = io.BytesIO()
        picture.save(out, format="png")
        with contextlib.suppress(OSError):  # it is made again the next time
            write_beside(path, out.getvalue())
        return out.getvalue()
    return path.read_bytes()
