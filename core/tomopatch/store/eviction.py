"""Eviction of runs from a full store, sizes of runs, and their thumbnails."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tomopatch.io.writing import write_bytes
from tomopatch.runs.limits import DEFAULTS, limit
from tomopatch.runs.run import FINISHED, Run
from tomopatch.store.store import RunStore
from tomopatch.volume import MU_WATER

LIMIT = "TOMOPATCH_STORE_LIMIT_GB"
DEFAULT_LIMIT = DEFAULTS["STORE_LIMIT_GB"]
"""Size of all runs [GB], unless the environment variable LIMIT is set."""
_THUMBNAIL = "thumbnail.png"
_WIDTH = 96


@dataclass(frozen=True)
class StoredRun:
    """A run, its size on disk [bytes], and the time of its last use [s since 1970]."""

    run: Run[Any]
    size: int
    used: float


def limit_bytes() -> float:
    """Return the size that all runs together may have.

    Raises
    ------
    ValueError
        If the environment variable is not a number above 0.
    """
    gigabytes = limit("STORE_LIMIT_GB")
    if not gigabytes > 0:
        raise ValueError(f"{LIMIT} must be a number of gigabytes above 0, got {gigabytes:g}.")
    return gigabytes * 1e9


def stored_runs(store: RunStore) -> list[StoredRun]:
    """All readable runs with their sizes, newest first."""
    found = []
    for run in store.all_runs():
        with contextlib.suppress(ValueError):  # deleted meanwhile
            size, used = size_on_disk(store.run_folder(run.id)), store.last_used(run.id)
            found.append(StoredRun(run, size, max(run.created, used)))
    return found


def size_on_disk(folder: Path) -> int:
    """Total size of the files in a folder [bytes]; files that disappear meanwhile do not count."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def evict(store: RunStore, max_bytes: float) -> list[str]:
    """Delete the least recently used runs until the rest fits into `max_bytes`; return their ids.

    Abandoned files are removed first. Pinned, queued and running runs stay, whatever their size.
    """
    store.remove_abandoned()
    runs = stored_runs(store)
    total = sum(stored.size for stored in runs)
    evicted = []
    for stored in sorted(runs, key=lambda stored: stored.used):
        if total <= max_bytes:
            break
        if stored.run.pinned or stored.run.status not in (*FINISHED, "cancelled", "failed"):
            continue
        store.delete(stored.run.id)
        evicted.append(stored.run.id)
        total -= stored.size
    return evicted


def make_room(store: RunStore) -> None:
    """Evict runs beyond the store's limit. The Runs page reports an invalid limit; it does not fail a run."""
    with contextlib.suppress(ValueError, OSError):
        evict(store, limit_bytes())


def thumbnail(store: RunStore, run_id: str) -> bytes | None:
    """A small PNG of the middle axial slice, -1000 to 400 HU, stored on first use. None without a volume."""
    folder = store.run_folder(run_id)
    path: Path = folder / _THUMBNAIL
    if not path.exists():
        volume = folder / "volume.npy"
        if not volume.exists():
            return None
        try:
            mu = np.load(volume, mmap_mode="r", allow_pickle=False)
        except (ValueError, EOFError):  # damaged, which is reported when the result is opened
            return None
        hu = 1000 * (np.asarray(mu[len(mu) // 2]) / MU_WATER - 1)
        grey = ((hu + 1000) / 1400 * 255).clip(0, 255).astype(np.uint8)
        picture = Image.fromarray(grey)
        picture.thumbnail((_WIDTH, _WIDTH))
        out = io.BytesIO()
        picture.save(out, format="png")
        with contextlib.suppress(OSError):  # made again the next time
            write_bytes(path, out.getvalue())
        return out.getvalue()
    return path.read_bytes()
