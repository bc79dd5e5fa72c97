"""One run, from what the store knows of it to its result in the store; wherever that happens."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from functools import partial

from tomopatch.analysis.metrics import quality
from tomopatch.execution.live import Live, drop_previews
from tomopatch.execution.runner import Done, work
from tomopatch.io.writing import FULL, alone, disk_sentence
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.progress import Interrupted
from tomopatch.runs.limits import limit, run_seconds
from tomopatch.runs.run import ACTIVE, FINISHED
from tomopatch.runs.weights import shared_prior
from tomopatch.store.checkpoint import drop_checkpoint, has_checkpoint, kept_steps, read_checkpoint
from tomopatch.store.store import RunStore

TROUBLE = (ValueError, TypeError, ArithmeticError, MemoryError, OSError, RuntimeError)
"""What a run may fail of, which is told in a sentence; anything else is a mistake of ours and ends the worker."""
MOST_LOST = 3
"""A run is not tried again after this many workers in a row died without adding a step to its checkpoint."""


def carry_out(
    store: RunStore,
    run_id: str,
    say: Callable[..., None],
    ask: Callable[[], str | None],
    load: Callable[[str], PatchPrior] = shared_prior,
) -> None:
    """Do the run, or go on with it; not if it has been done meanwhile.

    Parameters
    ----------
    say : f(**event)
        Told how it goes: at last its status.
    ask : f() -> "cancel", "finish", "park" or None
        See `Live`.
    load : f(name) -> PatchPrior
        Called if the run needs a prior.
    """
    try:
        # a worker that was given up, or whose server was killed, may still be at its last step
        with alone(store.run_folder(run_id) / "lock"):
            run = store.run(run_id)
            if run.status == "running":  # whoever had it is gone without a word
                lost = count_loss(store, run_id)
                if lost >= MOST_LOST:
                    end(store, run_id, say, "failed", lost_word(store, run_id, lost), resumable=True)
                    return
            if run.status in ACTIVE:
                _carry_out(store, run_id, say, ask, load)
            else:
                say(run=run_id, status=run.status, seconds=run.seconds, message=run.message, version=-1)
    except TROUBLE as error:
        resumable = isinstance(error, (MemoryError, OSError)) and not isinstance(error, ValueError)
        end(store, run_id, say, "failed", _sentence(error), resumable=resumable)


def count_loss(store: RunStore, run_id: str) -> int:
    """Note in the store that a worker died, and return how many did in a row without progress.

    A checkpoint with more steps than at the last loss is progress, and the count starts again.
    """
    run = store.run(run_id)
    steps = kept_steps(store.run_folder(run_id))
    lost = 1 if steps > run.kept_steps else run.lost + 1
    store.update(run_id, lost=lost, kept_steps=steps)
    return lost


def lost_word(store: RunStore, run_id: str, times: int, code: int = -9) -> str:
    """Message about a run whose workers died, and what can be done."""
    word = (
        f"Its worker process was killed {times} times, probably for want of memory; use a smaller grid."
        if code == -9
        else f"Its worker process ended {times} times (code {code})."
    )
    with contextlib.suppress(ValueError):  # deleted meanwhile
        steps = kept_steps(store.run_folder(run_id))
        if steps:
            word += f" If you run it again, it goes on after its {steps} finished steps."
    return f"{word} Other runs are not affected."


def _carry_out(
    store: RunStore,
    run_id: str,
    say: Callable[..., None],
    ask: Callable[[], str | None],
    load: Callable[[str], PatchPrior],
) -> None:
    run = store.run(run_id)
    config = run.config
    store.update(run_id, status="running", started=time.time(), begun=run.begun + 1)

    def tell(message: str) -> None:
        say(run=run_id, status="running", message=message)

    folder, digest = store.run_folder(run_id), config.digest()
    every, most = limit("CHECKPOINT_SECONDS"), run_seconds()
    live = Live(folder, partial(say, run=run_id), ask, digest=digest, every=every, most=most)
    done: Done | None = None
    with contextlib.suppress(StopIteration, Interrupted):  # stopped before there was a result
        done = work(config, store, live, tell, read_checkpoint(folder, digest), load)
    late = f"It reached the {most / 60:g} minutes that a run may take here" if live.late else ""
    if done is None or live.wish in ("cancel", "park"):
        if late and ask() is None:
            end(store, run_id, say, "failed", f"{late}, before there was a volume.")
        elif ask() != "park":
            end(store, run_id, say, "cancelled")
        return
    live.close()
    metrics = None if done.reference is None else quality(done.reference, done.result.volume)
    message = f"{late}." if late else ""
    try:
        store.save_result(run_id, done.result, metrics, done.device, message)
    except OSError as error:
        if error.errno not in FULL:
            raise
        drop_previews(folder, history=True)  # rather the result than how it came about
        drop_checkpoint(folder)
        store.save_result(run_id, done.result, metrics, done.device, message)
    tidy(store, run_id, done.result.status)
    say(run=run_id, status=done.result.status, seconds=done.result.seconds, message=message, version=-1)


def end(
    store: RunStore,
    run_id: str,
    say: Callable[..., None],
    status: str,
    message: str = "",
    *,
    resumable: bool = False,
) -> None:
    """End a run without a result: note its status and message, and report them.

    resumable : bool
        Whether its checkpoint stays, so that the same run can go on from it when it is asked for again.
    """
    with contextlib.suppress(ValueError, OSError):  # deleted meanwhile; or no room even for that
        store.update(run_id, status=status, message=message)
    tidy(store, run_id, status, resumable=resumable)
    say(run=run_id, status=status, message=message)


def tidy(store: RunStore, run_id: str, status: str, *, resumable: bool = False) -> None:
    """Remove what a run that is over no longer needs: its previews and its checkpoint; its history, too, if there is no
    result. A run that can be resumed keeps its checkpoint and the history before it."""
    with contextlib.suppress(ValueError, OSError):  # deleted meanwhile
        folder = store.run_folder(run_id)
        resumable = resumable and has_checkpoint(folder)
        drop_previews(folder, history=status not in FINISHED and not resumable)
        if not resumable:
            drop_checkpoint(folder)


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError) or "alloc" in str(error).lower():
        return "There was not enough memory for this run; use a smaller grid or fewer views."
    if isinstance(error, ArithmeticError):
        return f"The numbers of this scan are too large or too small to compute with ({error}); check its lengths and its dose."
    return (disk_sentence(error) if isinstance(error, OSError) else str(error)) or type(error).__name__
