"""Execution of one run, from its stored configuration to its stored result."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial

from tomopatch.analysis.metrics import quality
from tomopatch.execution.monitor import RunMonitor, drop_previews
from tomopatch.execution.runner import Output, run_config
from tomopatch.io.writing import FULL, alone, disk_sentence
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.progress import Interrupted
from tomopatch.runs.limits import limit, run_seconds
from tomopatch.runs.run import ACTIVE, FINISHED
from tomopatch.runs.weights import shared_prior
from tomopatch.store.checkpoint import drop_checkpoint, has_checkpoint, kept_steps, read_checkpoint
from tomopatch.store.store import RunStore

EXPECTED_FAILURES = (ValueError, TypeError, ArithmeticError, MemoryError, OSError, RuntimeError)
"""Exceptions that are reported to the user. Any other exception is a bug and ends the worker."""
MAX_LOST_WORKERS = 3
"""A run fails after this many workers in a row died without adding a step to its checkpoint."""


def execute(
    store: RunStore,
    run_id: str,
    emit: Callable[..., None],
    requested: Callable[[], str | None],
    load_prior: Callable[[str], PatchPrior] = shared_prior,
) -> None:
    """Execute a run, or resume it. A run that is over is only reported.

    Parameters
    ----------
    emit : f(**event)
        Receives the progress of the run; the last event holds its final status.
    requested : f() -> "cancel", "finish", "suspend" or None
        Pending stop request, see `RunMonitor`.
    load_prior : f(name) -> PatchPrior
        Called if the run needs a prior.
    """
    try:
        # a worker that was replaced, or whose server was killed, may still be at its last step
        with alone(store.run_folder(run_id) / "lock"):
            run = store.run(run_id)
            if run.status == "running":  # its worker died without a report
                lost = count_lost_worker(store, run_id)
                if lost >= MAX_LOST_WORKERS:
                    message = lost_workers_message(store, run_id, lost)
                    end_without_result(store, run_id, emit, "failed", message, resumable=True)
                    return
            if run.status in ACTIVE:
                _execute(store, run_id, emit, requested, load_prior)
            else:
                emit(run=run_id, status=run.status, seconds=run.seconds, message=run.message, version=-1)
    except EXPECTED_FAILURES as error:
        resumable = isinstance(error, (MemoryError, OSError)) and not isinstance(error, ValueError)
        end_without_result(store, run_id, emit, "failed", _error_message(error), resumable=resumable)


def count_lost_worker(store: RunStore, run_id: str) -> int:
    """Record that a worker died, and return the number that died in a row without progress.

    A checkpoint with more steps than at the last loss is progress, and the count starts again.
    """
    run = store.run(run_id)
    steps = kept_steps(store.run_folder(run_id))
    lost = 1 if steps > run.kept_steps else run.lost + 1
    store.update(run_id, lost=lost, kept_steps=steps)
    return lost


def lost_workers_message(store: RunStore, run_id: str, times: int, code: int = -9) -> str:
    """Message about a run whose workers died, and advice for the user."""
    message = (
        f"Its worker process was killed {times} times, probably because memory ran out; use a smaller grid."
        if code == -9
        else f"Its worker process ended {times} times (code {code})."
    )
    with contextlib.suppress(ValueError):  # deleted meanwhile
        steps = kept_steps(store.run_folder(run_id))
        if steps:
            message += f" If you run it again, it continues after its {steps} finished steps."
    return f"{message} Other runs are not affected."


def _execute(
    store: RunStore,
    run_id: str,
    emit: Callable[..., None],
    requested: Callable[[], str | None],
    load_prior: Callable[[str], PatchPrior],
) -> None:
    run = store.run(run_id)
    store.update(run_id, status="running", started=time.time(), attempts=run.attempts + 1)

    def on_message(message: str) -> None:
        emit(run=run_id, status="running", message=message)

    folder, digest = store.run_folder(run_id), run.config.digest()
    max_seconds = run_seconds()
    monitor = RunMonitor(
        folder,
        partial(emit, run=run_id),
        requested,
        digest=digest,
        checkpoint_seconds=limit("CHECKPOINT_SECONDS"),
        max_seconds=max_seconds,
    )
    output: Output | None = None
    with contextlib.suppress(StopIteration, Interrupted):  # stopped before there was a result
        checkpoint = read_checkpoint(folder, digest)
        output = run_config(run.config, store, monitor, on_message, checkpoint, load_prior)
    timeout = (
        f"It reached the {max_seconds / 60:g} minutes that a run may take here" if monitor.timed_out else ""
    )
    if output is None or monitor.stop_request in ("cancel", "suspend"):
        if timeout and requested() is None:
            end_without_result(store, run_id, emit, "failed", f"{timeout}, before there was a volume.")
        elif requested() != "suspend":
            end_without_result(store, run_id, emit, "cancelled")
        return
    monitor.close()
    result = output.result
    metrics = None if output.reference is None else quality(output.reference, result.volume)
    message = f"{timeout}." if timeout else ""
    try:
        store.save_result(run_id, result, metrics, output.device, message, output.measured)
    except OSError as error:
        if error.errno not in FULL:
            raise
        drop_previews(folder, history=True)  # the result matters more than its history
        drop_checkpoint(folder)
        store.save_result(run_id, result, metrics, output.device, message, output.measured)
    remove_leftovers(store, run_id, result.status)
    emit(run=run_id, status=result.status, seconds=result.seconds, message=message, version=-1)


def end_without_result(
    store: RunStore,
    run_id: str,
    emit: Callable[..., None],
    status: str,
    message: str = "",
    *,
    resumable: bool = False,
) -> None:
    """End a run without a result: store its status and message, and report them.

    resumable : bool
        Whether to keep its checkpoint, so that the same run can be resumed when it is submitted again.
    """
    with contextlib.suppress(ValueError, OSError):  # deleted meanwhile, or the disk is full
        store.update(run_id, status=status, message=message)
    remove_leftovers(store, run_id, status, resumable=resumable)
    emit(run=run_id, status=status, message=message)


def remove_leftovers(store: RunStore, run_id: str, status: str, *, resumable: bool = False) -> None:
    """Remove the previews and the checkpoint of a run that is over; without a result, also its history.

    A resumable run keeps its checkpoint and the history that belongs to it.
    """
    with contextlib.suppress(ValueError, OSError):  # deleted meanwhile
        folder = store.run_folder(run_id)
        resumable = resumable and has_checkpoint(folder)
        drop_previews(folder, history=status not in FINISHED and not resumable)
        if not resumable:
            drop_checkpoint(folder)


def _error_message(error: BaseException) -> str:
    if isinstance(error, MemoryError) or "alloc" in str(error).lower():
        return "There was not enough memory for this run; use a smaller grid or fewer views."
    if isinstance(error, ArithmeticError):
        return (
            f"The numbers of this scan are too large or too small to compute with ({error}); "
            "check its lengths and its dose."
        )
    return (disk_sentence(error) if isinstance(error, OSError) else str(error)) or type(error).__name__
