"""Execution of the cells of a sweep, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from tomopatch.execution.execute import execute
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.run import ACTIVE
from tomopatch.store.history import Point
from tomopatch.store.store import RunStore, unfinished
from tomopatch.studies.sweep.cells import Cell, look_up
from tomopatch.studies.sweep.config import SweepConfig


def run_sweep(
    sweep: SweepConfig,
    store: RunStore,
    *,
    prior: Callable[[str], PatchPrior],
    progress: Callable[[str], AbstractContextManager[Callable[[Point], None] | None]],
) -> Iterator[list[Cell]]:
    """Run the missing cells one after the other. Yield all cells at the start and after each run.

    A failed cell stores its message, and the others continue. A cell that a stopped process left unfinished
    resumes from its checkpoint.

    Parameters
    ----------
    store : RunStore
        The store of this sweep alone. Unfinished runs of other sweeps are removed from it.
    prior : f(name) -> PatchPrior
        Called if a method needs one.
    progress : f(label) -> context manager of f(Point)
        The function is called after each step.
    """
    cells = look_up(sweep, store.runs())
    own = {cell.run.id for cell in cells if cell.run is not None}
    for run in unfinished(store):
        if run.id not in own:
            store.delete(run.id)
    yield cells
    for i, cell in enumerate(cells):
        if cell.run is None or cell.run.status in ACTIVE:
            run_id = store.create(cell.config) if cell.run is None else cell.run.id
            with progress(
                f"{METHODS[cell.config.method].label}, {cell.config.scan.num_views} views"
            ) as on_point:
                _execute(store, run_id, prior, on_point)
            cells[i] = replace(cell, run=store.run(run_id))
            yield cells


def _execute(
    store: RunStore, run_id: str, prior: Callable[[str], PatchPrior], on_point: Callable[[Point], None] | None
) -> None:
    def emit(point: dict[str, Any] | None = None, **event: Any) -> None:
        if point is not None and on_point is not None:
            on_point(Point(**point))

    try:
        execute(store, run_id, emit, lambda: None, prior)
    except KeyboardInterrupt:
        store.update(run_id, status="queued")  # not a lost worker: the user stopped the sweep
        raise
