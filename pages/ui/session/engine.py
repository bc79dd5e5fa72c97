"""Shared engine resources: one store and one queue for all sessions of the server."""

from __future__ import annotations

import gc
import sys
from typing import Any

import streamlit as st

from pages.ui.session import visitor
from tomopatch.execution.progress import Progress
from tomopatch.execution.queue import RunQueue
from tomopatch.reconstruct.memory import spare_memory
from tomopatch.runs.config import RunConfig
from tomopatch.runs.prior import DenoiseConfig, GenerateConfig
from tomopatch.runs.run import Run
from tomopatch.store.store import RunStore

_frozen_modules = 0


@st.cache_resource(show_spinner=False)
def queue() -> RunQueue:
    """Return the queue that all sessions share; its workers warm up in the background."""
    spare_memory()
    return RunQueue(RunStore(), visitor=visitor.visitor_id, administrator=visitor.is_administrator)


def store() -> RunStore:
    return queue().store


def freeze_imports() -> None:
    """Exclude objects of newly imported modules from garbage collection.

    Streamlit collects garbage after each run of the script. With the objects of the engine's libraries, a
    collection takes 0.2 s in which no session gets an answer. Those of pandas, which is imported with the
    first table, take 20 ms.
    """
    global _frozen_modules
    if len(sys.modules) != _frozen_modules:
        _frozen_modules = len(sys.modules)
        gc.collect()
        gc.freeze()


def source_names() -> dict[str, str]:
    """Return the names of stored volumes and measured scans by digest."""
    names = {volume.digest: volume.name for volume in store().volumes()}
    return names | {scan.digest: scan.name for scan in store().scans()}


# ---- runs ---------------------------------------------------------------------------------------------


def known_run(run_id: str | None, kind: Any = RunConfig) -> Run[Any] | None:
    """Return the run if it exists and is of this kind, else None."""
    if run_id is None:
        return None
    try:
        run = store().run(run_id)
    except ValueError:
        return None
    return run if isinstance(run.config, kind) else None


def known_prior_run(run_id: str) -> Run[Any] | None:
    """Return the run of the prior alone if it exists, else None."""
    return known_run(run_id, (GenerateConfig, DenoiseConfig))


def progress(run: Run) -> Progress:
    return queue().progress(run.id)


def cancel(run_id: str) -> None:
    """Stop a run and discard its estimate, if this visitor may do so."""
    show_refusal(queue().cancel(run_id))


def finish(run_id: str) -> None:
    """Stop a run and keep its current estimate, if this visitor may do so."""
    show_refusal(queue().finish(run_id))


def show_refusal(reason: str) -> None:
    """Show why an action was refused; an empty reason shows nothing."""
    if reason:
        st.toast(reason, icon=":material/lock:")
