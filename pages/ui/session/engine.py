"""The engine as the pages use it: one store and one queue a server, and what is worth keeping in memory."""

from __future__ import annotations

import base64
import gc
import hashlib
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

from pages.ui.session import state
from pages.ui.session.server import VISITOR
from tomopatch.analysis.metrics import Quality, quality
from tomopatch.execution.queue import JobQueue, Progress
from tomopatch.library import load_volume
from tomopatch.prior.noise import add_noise
from tomopatch.reconstruct.memory import spare_memory
from tomopatch.reconstruct.methods import Result
from tomopatch.runs.config import PHANTOM_GRID, RunConfig, ScanConfig
from tomopatch.runs.limits import memory_mb
from tomopatch.runs.prepare import source_volume
from tomopatch.runs.prior import DenoiseConfig, GenerateConfig
from tomopatch.runs.resource_estimate import check_displayed, native_geometry, reconstruction_grid
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
_drawing = threading.Lock()  # one volume at a time: many visitors take no more memory than one
_pool = ThreadPoolExecutor(1, thread_name_prefix="reference")


def kept(max_bytes: int, size: Callable[[Any], int]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Keep what a function returns, the latest of it, in so many bytes; larger things are made anew each time."""
    lock = threading.Condition()
    return cached(LRUCache(max_bytes, getsizeof=lambda found: size(found) + 1000), condition=lock)


def room(share: float) -> int:
    """This share of the memory limit [bytes]: what the server keeps to show it again is part of what it may take."""
    try:
        return int(share * 2**20 * memory_mb())
    except ValueError:  # a limit that is no number: pages and runs say so
        return int(share * 2**30)


@st.cache_resource(show_spinner=False)
def queue() -> JobQueue:
    """The queue that all sessions share; its workers warm up in the background."""
    spare_memory()
    return JobQueue(RunStore(), visitor=visitor, administrator=state.administrator)


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


def visitor() -> str:
    """Id of the visitor: of the browser by the cookie that `pages.ui.session.server` gave it, else of the session. Neither can be
    found out from it."""
    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        return ""
    cookie = st.context.cookies.get(VISITOR)
    secret = cookie if cookie and isinstance(cookie, str) else context.session_id
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


def toast(refused: str) -> None:
    """Tell the visitor why something was not done, if there is a reason."""
    if refused:
        st.toast(refused, icon=":material/lock:")


def cancel(run_id: str) -> None:
    """Stop a run and drop what it has, if this visitor may do so."""
    toast(queue().cancel(run_id))


def finish(run_id: str) -> None:
    """Stop a run and keep its current iterate, if this visitor may do so."""
    toast(queue().finish(run_id))


def store() -> RunStore:
    return queue().store


def grid_of(scan: ScanConfig) -> Shape:
    """The reconstruction grid (z, y, x)."""
    grid = reconstruction_grid(scan, store())
    assert grid is not None  # pages know phantoms and stored volumes only
    return grid


def native_shape(name: str) -> Shape:
    """The grid (z, y, x) of a stored volume, which is not loaded for that."""
    return store().volume_geometry(name.removeprefix("volume:")).shape


def small_grid(name: str) -> Shape:
    """The grid on which everything answers fast: not finer than the volume is."""
    if name.startswith("phantom:"):
        return PHANTOM_GRID
    z, y, x = (min(a, b) for a, b in zip(PHANTOM_GRID, native_shape(name), strict=True))
    return z, y, x


@kept(room(0.1), lambda volume: volume.data.nbytes)
def draft(name: str, grid: Shape) -> Volume:
    """The volume on a grid, to look at: phantoms are drawn straight onto it, which is quicker than averaging.

    Raises
    ------
    ValueError
        If it takes more memory than one may take here.
    """
    check_displayed(ScanConfig(name, grid), store())
    with st.spinner("Preparing the volume…"), _drawing:
        if name.startswith("phantom:"):
            return load_volume(name, shape=grid)
        return resample(store().volume(name.removeprefix("volume:")), grid)


def geometry(scan: ScanConfig) -> VolumeGeometry:
    """Where the voxels of the reconstruction are; nothing is drawn for that."""
    native = native_geometry(scan.source, store())
    assert native is not None  # as above
    return native.with_shape(grid_of(scan))


def reference(scan: ScanConfig) -> Future[Volume]:
    """The volume on the reconstruction grid, exactly as runs are measured against it; made in the background."""
    key = (scan.object, grid_of(scan))
    keeper = store()
    with _lock:
        if key not in _references:
            while len(_references) >= 4 or (_references and _reference_bytes() > room(0.1)):
                _references.pop(next(iter(_references)))
            _references[key] = _pool.submit(_make_reference, replace(scan, grid=key[1]), keeper)
        return _references[key]


def check(scan: ScanConfig) -> None:
    """Refuse with a ValueError a scan whose volume takes more memory than one may take here."""
    check_displayed(scan, store())


def _make_reference(scan: ScanConfig, keeper: RunStore) -> Volume:
    """The volume of a scan on its grid; a ValueError in place of one that takes too much memory."""
    check_displayed(scan, keeper)
    assert scan.grid is not None
    with _drawing:
        return resample(source_volume(scan, keeper), scan.grid)


def _reference_bytes() -> int:
    """Size of the references that are there."""
    there = [f for f in _references.values() if f.done() and not f.cancelled() and f.exception() is None]
    return sum(f.result().data.nbytes for f in there)


def expect(scan: ScanConfig) -> None:
    """Have a worker get ready for this scan once its volume is there; told once for each change."""
    global _expected
    with _lock:
        if scan == _expected:
            return
        _expected = scan
    shared = queue()
    reference(scan).add_done_callback(lambda done: None if done.exception() else shared.prepare(scan))


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


@kept(room(0.05), lambda volume: volume.data.nbytes)
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


@kept(min(300_000_000, room(0.05)), lambda volume: volume.data.nbytes)
def result_volume(run_id: str) -> Volume:
    """The reconstruction of a finished run."""
    return _result(run_id).volume


@kept(min(150_000_000, room(0.05)), lambda hu: hu.nbytes)
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


@kept(min(100_000_000, room(0.05)), lambda hu: 0 if hu is None else hu.nbytes)
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


@kept(room(0.05), lambda hu: hu.nbytes)
def reference_hu(scan: ScanConfig, shape: Shape) -> np.ndarray:
    """The reference, once it is there, as it is shown: on its own grid, or on that of a reduced picture beside it."""
    return rounded(resample(reference(scan).result(), shape))


def rounded(volume: Volume) -> np.ndarray:
    """A volume as int16 HU, the form in which it is shown."""
    return volume.hu.cpu().clamp(-32000, 32000).round().to(torch.int16).numpy()
