"""Volumes that the pages show, kept in memory within a share of the server's limit."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

import numpy as np
import streamlit as st
import torch
from cachetools import LRUCache, cached
from torch import Tensor

from pages.ui.session import engine
from tomopatch.analysis.metrics import Quality, quality
from tomopatch.geometry.beams import Geometry
from tomopatch.library import load_volume
from tomopatch.prior.noise import add_noise
from tomopatch.reconstruct.run import Result
from tomopatch.runs.config import PHANTOM_GRID, Scan, ScanConfig
from tomopatch.runs.limits import memory_mb
from tomopatch.runs.measured import full_geometry, stand_in, used_geometry
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.prepare import reference_volume
from tomopatch.runs.resource_estimate import check_displayed, native_geometry, reconstruction_grid
from tomopatch.runs.run import FINISHED
from tomopatch.store.eviction import thumbnail
from tomopatch.store.history import Frame, read_history
from tomopatch.store.store import DamagedRun, RunStore
from tomopatch.volume import MU_WATER, Shape, Volume, VolumeGeometry, resample

P = ParamSpec("P")
R = TypeVar("R")
MAX_REFERENCES = 4
_lock = threading.Lock()
_references: dict[tuple, Future[Volume]] = {}
_announced: Scan | None = None
_drawing = threading.Lock()  # one volume at a time: many visitors take no more memory than one
_pool = ThreadPoolExecutor(1, thread_name_prefix="reference")


def cache_by_size(max_bytes: int, size: Callable[[Any], int]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Cache the most recently used results of a function within `max_bytes`.

    Larger results are not cached.
    """
    lock = threading.Condition()
    return cached(LRUCache(max_bytes, getsizeof=lambda found: size(found) + 1000), condition=lock)


def memory_share(share: float) -> int:
    """Return this share of the memory limit in bytes."""
    try:
        return int(share * 2**20 * memory_mb())
    except ValueError:  # the limit is not a number; pages and runs report it
        return int(share * 2**30)


# ---- grids and geometries -----------------------------------------------------------------------------


def grid_of(scan: Scan) -> Shape:
    """Return the reconstruction grid (z, y, x)."""
    grid = reconstruction_grid(scan, engine.store())
    assert grid is not None  # the pages offer phantoms and stored volumes only
    return grid


def names() -> dict[str, str]:
    """Return the names of stored volumes by digest."""
    return {v.digest: v.name for v in engine.store().volumes()}


def native_geometry_of(name: str) -> VolumeGeometry:
    """Return the geometry of a stored volume without loading it."""
    return engine.store().volume_geometry(name.removeprefix("volume:"))


def native_shape(name: str) -> Shape:
    """Return the grid (z, y, x) of a stored volume without loading it."""
    return native_geometry_of(name).shape


def small_grid(name: str) -> Shape:
    """Return the grid of the fastest computations, never finer than the volume."""
    if name.startswith("phantom:"):
        return PHANTOM_GRID
    z, y, x = (min(a, b) for a, b in zip(PHANTOM_GRID, native_shape(name), strict=True))
    return z, y, x


def scan_geometry(scan: Scan) -> Geometry:
    """Return the geometry of the views that a reconstruction uses.

    Raises
    ------
    ValueError
        If the scan is impossible, or its volume or file is not stored.
    """
    if isinstance(scan, MeasuredScan):
        return used_geometry(scan, engine.store())
    return scan.geometry(geometry(scan))


def geometry(scan: Scan) -> VolumeGeometry:
    """Return the geometry of the reconstruction without computing a volume."""
    if isinstance(scan, MeasuredScan):
        return full_geometry(scan, engine.store())[1]
    native = native_geometry(scan.source, engine.store())
    assert native is not None  # the pages offer phantoms and stored volumes only
    return native.with_shape(grid_of(scan))


def check_memory(scan: Scan) -> None:
    """Raise a ValueError if the scan's volume exceeds the memory limit."""
    check_displayed(scan, engine.store())


# ---- scanned volumes ----------------------------------------------------------------------------------


@cache_by_size(memory_share(0.1), lambda volume: volume.data.nbytes)
def preview_volume(name: str, grid: Shape) -> Volume:
    """Return the volume on a grid for display. Phantoms are evaluated on this grid, which is faster than
    averaging.

    Raises
    ------
    ValueError
        If the volume exceeds the memory limit.
    """
    check_displayed(ScanConfig(name, grid), engine.store())
    with st.spinner("Preparing the volume…"), _drawing:
        if name.startswith("phantom:"):
            return load_volume(name, shape=grid)
        return resample(engine.store().volume(name.removeprefix("volume:")), grid)


def reference(scan: Scan) -> Future[Volume]:
    """Return the volume on the reconstruction grid, as metrics use it; it is computed in the background.

    Of a measured scan it is the reconstruction from all views, a stand-in.
    The future of an unknown volume has a ValueError as its exception.
    """
    try:
        key = (scan.object, grid_of(scan))
    except ValueError as error:
        unknown: Future[Volume] = Future()
        unknown.set_exception(error)
        return unknown
    store = engine.store()
    with _lock:
        if key not in _references:
            while len(_references) >= MAX_REFERENCES or (
                _references and _reference_bytes() > memory_share(0.1)
            ):
                _references.pop(next(iter(_references)))
            _references[key] = _pool.submit(_make_reference, replace(scan, grid=key[1]), store)
        return _references[key]


def _make_reference(scan: Scan, store: RunStore) -> Volume:
    """Return the scan's volume on its grid; raise a ValueError if it exceeds the memory limit."""
    check_displayed(scan, store)
    assert scan.grid is not None
    with _drawing:
        if isinstance(scan, MeasuredScan):
            return stand_in(scan, store)
        return reference_volume(scan, store)


def _reference_bytes() -> int:
    """Return the total size of the references in memory."""
    ready = [f for f in _references.values() if f.done() and not f.cancelled() and f.exception() is None]
    return sum(f.result().data.nbytes for f in ready)


def prepare_worker(scan: Scan) -> None:
    """Let a worker prepare for this scan as soon as its reference exists; repeated calls do nothing."""
    global _announced
    with _lock:
        if scan == _announced:
            return
        _announced = scan
    queue = engine.queue()
    reference(scan).add_done_callback(lambda done: None if done.exception() else queue.prepare(scan))


@cache_by_size(memory_share(0.05), lambda hu: hu.nbytes)
def reference_hu(scan: Scan, shape: Shape) -> np.ndarray:
    """Return the finished reference in HU, on its own grid or on that of a reduced preview."""
    return int16_hu(resample(reference(scan).result(), shape))


@cache_by_size(memory_share(0.05), lambda volume: volume.data.nbytes)
def _noisy(scan: ScanConfig, sigma: float, seed: int) -> Volume:
    return add_noise(reference(scan).result(), sigma, seed=seed)


def noisy_hu(scan: ScanConfig, sigma: float, seed: int) -> np.ndarray:
    """Return the scan's volume with the noise that a denoising run receives."""
    return int16_hu(_noisy(scan, sigma, seed))


@st.cache_resource(max_entries=16, show_spinner=False)
def noise_quality(scan: ScanConfig, sigma: float, seed: int) -> Quality:
    """Return the metrics of the noisy volume against the clean one."""
    return quality(reference(scan).result(), _noisy(scan, sigma, seed))


def int16_hu(volume: Volume) -> np.ndarray:
    """Return the volume in HU as int16, the type that the viewer shows."""
    return volume.hu.cpu().clamp(-32000, 32000).round().to(torch.int16).numpy()


# ---- results of runs ----------------------------------------------------------------------------------


@cache_by_size(min(300_000_000, memory_share(0.05)), lambda volume: volume.data.nbytes)
def result_volume(run_id: str) -> Volume:
    """Return the reconstruction of a finished run."""
    return _result(run_id).volume


@cache_by_size(min(150_000_000, memory_share(0.05)), lambda hu: hu.nbytes)
def result_hu(run_id: str) -> np.ndarray:
    """Return the reconstruction of a finished run in whole HU."""
    return int16_hu(_result(run_id).volume)


def _result(run_id: str) -> Result:
    try:
        return engine.store().result(run_id)
    except DamagedRun:
        engine.queue().forget(run_id)
        run = engine.known_run(run_id)
        if run is not None and run.status not in FINISHED:
            st.rerun()  # the page then shows a failed run
        raise


@cache_by_size(min(100_000_000, memory_share(0.05)), lambda hu: 0 if hu is None else hu.nbytes)
def result_std(run_id: str) -> np.ndarray | None:
    """Return the standard deviation of a finished run's samples in whole HU; None for a single sample."""
    std = result_std_hu(run_id)
    return None if std is None else std.round().to(torch.int16).numpy()


def result_std_hu(run_id: str) -> Tensor | None:
    """Return the standard deviation of a finished run's samples in HU; None for a single sample."""
    std = _result(run_id).std
    return None if std is None else std.data * (1000 / MU_WATER)


@st.cache_resource(max_entries=500, show_spinner=False)
def thumbnail_url(run_id: str) -> str | None:
    """Return a small middle slice of a finished run as a data URL; None without a volume."""
    found = thumbnail(engine.store(), run_id)
    return None if found is None else "data:image/png;base64," + base64.b64encode(found).decode()


def has_history(run_id: str) -> bool:
    return (engine.store().run_folder(run_id) / "history" / "index.json").exists()


@st.cache_resource(max_entries=3, show_spinner=False)
def history(run_id: str) -> list[Frame]:
    """Return the snapshots of a finished run."""
    return read_history(engine.store().run_folder(run_id))
