"""The engine as the pages use it: one store and one queue a server, and what is worth keeping in memory."""

from __future__ import annotations

import base64
import gc
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, ParamSpec, TypeVar

import numpy as np
import streamlit as st
import torch
from cachetools import LRUCache, cached
from streamlit.runtime.scriptrunner import get_script_run_ctx
from torch import Tensor

from tomopatch.analysis.metrics import Quality, quality
from tomopatch.execution.queue import JobQueue, Progress
from tomopatch.library import load_volume
from tomopatch.prior.noise import add_noise
from tomopatch.reconstruct.memory import spare_memory
from tomopatch.reconstruct.methods import Result
from tomopatch.runs.config import PHANTOM_GRID, RunConfig, ScanConfig
from tomopatch.runs.prepare import source_volume
from tomopatch.runs.prior import DenoiseConfig, GenerateConfig
from tomopatch.runs.run import FINISHED, Run
from tomopatch.store.eviction import thumbnail
from tomopatch.store.history import Frame, read_history
from tomopatch.store.store import DamagedRun, RunStore
from tomopatch.volume import MU_WATER, Shape, Volume, VolumeGeometry, resample

_lock = threading.Lock()
_references: dict[tuple, Future[Volume]] = {}
_expected: ScanConfig | None = None
_settled = 0  # how many modules there were
P = ParamSpec("P")
R = TypeVar("R")
_pool = ThreadPoolExecutor(1, thread_name_prefix="reference")


def kept(max_bytes: int, size: Callable[[Any], int]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep what a function returns, the latest of it, in so many bytes; larger things are made anew each time."""
    lock = threading.Condition()
    return cached(LRUCache(max_bytes, getsizeof=lambda found: size(found) + 1000), condition=lock)


@st.cache_resource(show_spinner=False)
def queue() -> JobQueue:
    """The queue that all sessions share; its workers warm up in the background."""
    spare_memory()
    return JobQueue(RunStore(), who=_session)


def settle() -> None:
    """Keep what imports made out of the garbage collector's way, each time there were any.

    Streamlit collects after each run of the script. Over all that the engine's libraries made this takes 0.2 s in which
    no session is answered, and 20 ms for pandas, which comes when the first numbers are shown.
    """
    global _settled
    if len(sys.modules) != _settled:
        _settled = len(sys.modules)
        gc.collect()
        gc.freeze()


def _session() -> str:
    """Who asks: a browser tab, or nobody in particular."""
    context = get_script_run_ctx()
    return "" if context is None else context.session_id


def store() -> RunStore:
    return queue().store


def grid_of(scan: ScanConfig) -> Shape:
    """The reconstruction grid (z, y, x)."""
    if scan.grid is not None:
        return scan.grid
    return PHANTOM_GRID if scan.source.startswith("phantom:") else source(scan.source).shape


def small_grid(name: str) -> Shape:
    """The grid on which everything answers fast: not finer than the volume is."""
    if name.startswith("phantom:"):
        return PHANTOM_GRID
    z, y, x = (min(a, b) for a, b in zip(PHANTOM_GRID, source(name).shape, strict=True))
    return z, y, x


@st.cache_resource(max_entries=2, show_spinner="Loading the volume…")
def source(name: str) -> Volume:
    """A stored volume at its own resolution."""
    return store().volume(name.removeprefix("volume:"))


@st.cache_resource(max_entries=4, show_spinner="Preparing the volume…")
def draft(name: str, grid: Shape) -> Volume:
    """The volume on a grid, to look at: phantoms are drawn straight onto it, which is quicker than averaging."""
    if name.startswith("phantom:"):
        return load_volume(name, shape=grid)
    return resample(source(name), grid)


def geometry(scan: ScanConfig) -> VolumeGeometry:
    """Where the voxels of the reconstruction are."""
    return draft(scan.source, grid_of(scan)).geometry


def reference(scan: ScanConfig) -> Future[Volume]:
    """The volume on the reconstruction grid, exactly as runs are measured against it; made in the background."""
    key = (scan.object, grid_of(scan))
    keeper = store()
    with _lock:
        if key not in _references:
            while len(_references) >= 4:
                _references.pop(next(iter(_references)))
            chosen, grid = replace(scan, grid=key[1]), key[1]
            _references[key] = _pool.submit(lambda: resample(source_volume(chosen, keeper), grid))
        return _references[key]


def expect(scan: ScanConfig) -> None:
    """Have a worker get ready for this scan once its volume is there; told once for each change."""
    global _expected
    with _lock:
        if scan == _expected:
            return
        _expected = scan
    shared = queue()
    reference(scan).add_done_callback(lambda done: None if done.exception() else shared.expect(scan))


def known_run(run_id: str | None, kind: Any = RunConfig) -> Run[Any] | None:
    """The run of this kind, or None where there is none (any more)."""
    if run_id is None:
        return None
    try:
        run = store().run(run_id)
    except ValueError:
        return None
    return run if isinstance(run.config, kind) else None


def known_prior_run(run_id: str) -> Run[Any] | None:
    """The run of the prior alone, or None where there is none (any more)."""
    return known_run(run_id, (GenerateConfig, DenoiseConfig))


@st.cache_resource(max_entries=4, show_spinner=False)
def _noisy(scan: ScanConfig, sigma: float, seed: int) -> Volume:
    return add_noise(reference(scan).result(), sigma, seed=seed)


def noisy_hu(scan: ScanConfig, sigma: float, seed: int) -> np.ndarray:
    """The scan's volume with the noise that a run of the prior was given."""
    return rounded(_noisy(scan, sigma, seed))


@st.cache_resource(max_entries=16, show_spinner=False)
def noise_quality(scan: ScanConfig, sigma: float, seed: int) -> Quality:
    """How far that is from the clean volume."""
    return quality(reference(scan).result(), _noisy(scan, sigma, seed))


def progress(run: Run) -> Progress:
    return queue().progress(run.id)


@kept(300_000_000, lambda volume: volume.data.nbytes)
def result_volume(run_id: str) -> Volume:
    """The reconstruction of a finished run."""
    return _result(run_id).volume


@kept(150_000_000, lambda hu: hu.nbytes)
def result_hu(run_id: str) -> np.ndarray:
    """The same, rounded to whole HU."""
    return rounded(_result(run_id).volume)


def _result(run_id: str) -> Result:
    try:
        return store().result(run_id)
    except DamagedRun:
        queue().forget(run_id)
        run = known_run(run_id)
        if run is not None and run.status not in FINISHED:
            st.rerun()  # the page as it is with a run that failed
        raise


@st.cache_resource(max_entries=500, show_spinner=False)
def picture(run_id: str) -> str | None:
    """The middle slice of a finished run, small, as an address of its own; None without a volume."""
    found = thumbnail(store(), run_id)
    return None if found is None else "data:image/png;base64," + base64.b64encode(found).decode()


@kept(100_000_000, lambda hu: 0 if hu is None else hu.nbytes)
def result_std(run_id: str) -> np.ndarray | None:
    """The deviation of a finished run's samples in HU, where it has several."""
    std = result_std_hu(run_id)
    return None if std is None else std.round().to(torch.int16).numpy()


def result_std_hu(run_id: str) -> Tensor | None:
    """The same, not rounded."""
    std = _result(run_id).std
    return None if std is None else std.data * (1000 / MU_WATER)


def has_history(run_id: str) -> bool:
    return (store().run_folder(run_id) / "history" / "index.json").exists()


@st.cache_resource(max_entries=3, show_spinner=False)
def history(run_id: str) -> list[Frame]:
    """The snapshots of a run that is over."""
    return read_history(store().run_folder(run_id))


@st.cache_resource(max_entries=6, show_spinner=False)
def reference_hu(scan: ScanConfig, shape: Shape) -> np.ndarray:
    """The reference, once it is there, as it is shown: on its own grid, or on that of a reduced picture beside it."""
    return rounded(resample(reference(scan).result(), shape))


def rounded(volume: Volume) -> np.ndarray:
    """A volume as int16 HU, the form in which it is shown."""
    return volume.hu.cpu().clamp(-32000, 32000).round().to(torch.int16).numpy()
