"""The queue of runs of one server: waiting runs, running runs, and their progress."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from tomopatch.execution.cluster import ClusterQueue
from tomopatch.execution.execute import (
    MAX_LOST_WORKERS,
    count_lost_worker,
    lost_workers_message,
    remove_leftovers,
)
from tomopatch.execution.progress import Progress, with_point
from tomopatch.execution.submissions import Submissions
from tomopatch.execution.worker_queue import WorkerQueue
from tomopatch.reconstruct.memory import give_back
from tomopatch.runs.config import RunConfig, Scan
from tomopatch.runs.prior import Config
from tomopatch.runs.resource_estimate import refusal
from tomopatch.runs.run import ACTIVE
from tomopatch.store.checkpoint import has_checkpoint
from tomopatch.store.history import PARTS, Point, read_trace
from tomopatch.store.owners import Owners
from tomopatch.store.store import RunStore, unfinished

SCHEDULER = "TOMOPATCH_SCHEDULER"
"""Environment variable with the address of a dask.distributed scheduler, whose workers execute the heavy
runs."""
FAST_METHODS = ("fbp", "fdk")
MAX_REMEMBERED = 100
"""Number of finished runs whose progress stays in memory. Progress of older runs is read from the store."""


class RunQueue:
    """Runs of all sessions of one server, in the order of their submission.

    The worker processes start at once, so that the first run does not wait for their imports. Runs that an
    earlier server left queued or running are queued again.

    Parameters
    ----------
    visitor : f() -> str
        Id of the visitor who asks. The number of runs per visitor is limited, and on a shared server visitors
        change only their own runs.
    administrator : f() -> bool
        Whether the visitor may change all runs.
    """

    def __init__(
        self,
        store: RunStore,
        *,
        visitor: Callable[[], str] = lambda: "",
        administrator: Callable[[], bool] = lambda: False,
    ) -> None:
        self.store, self.visitor = store, visitor
        self.owners = Owners(store, visitor, administrator)
        scheduler = os.environ.get(SCHEDULER, "")
        store.remove_abandoned()
        self._submissions = Submissions()
        self._active: dict[str, str] = {}  # active run by the digest of its config
        self._lock = threading.RLock()
        self._progress: dict[str, Progress] = {}
        self._stop_requests: dict[str, str] = {}  # requests that were sent to a worker
        self._queues: dict[str, WorkerQueue | ClusterQueue] = {
            name: WorkerQueue(name, store.root, self._on_event, self._on_worker_exit)
            for name in ("heavy", "fast")[bool(scheduler) :]
        }
        if scheduler:
            self._queues["heavy"] = ClusterQueue(scheduler, store, self._on_event)
        for run in unfinished(store):
            with self._lock, contextlib.suppress(OSError):  # a read-only store can still be viewed
                store.update(run.id, status="queued")
                self._add(run.id, run.config, None, run.background)
        atexit.register(self.close)

    def submit(self, config: Config, *, background: bool = False) -> str:
        """Queue a run and return its id; a finished or active run of the same config is returned instead.

        A background run, such as one of a sweep, gives way to all other runs. A run beyond the limits of
        `tomopatch.runs.limits` fails at once, with a message.
        """
        done = self.store.find(config)
        if done is not None:
            self.owners.join(done)
            return done
        with self._lock:
            active = self._active.get(config.digest())
            if active is not None and active not in self._stop_requests:
                self.owners.join(active)
                return active
            state = {"owners": [self.visitor()], "background": background}
            refused = self._refusal(config, background)
            run_id = (None if refused else self._resumable(config, state)) or self.store.create(
                config, **state
            )
            if refused:
                self.store.update(run_id, status="failed", message=refused)
                self._progress[run_id] = Progress("failed", message=refused)
                return run_id
            self._add(run_id, config, self.visitor(), background)
        return run_id

    def _resumable(self, config: Config, changes: dict[str, Any]) -> str | None:
        """Queue a failed run of the same config again if it has a checkpoint; return its id or None."""
        for run_id in self.store.runs_of(config, "failed"):
            if has_checkpoint(self.store.run_folder(run_id)):
                self.store.update(run_id, status="queued", message="", lost=0, **changes)
                return run_id
        return None

    def _refusal(self, config: Config, background: bool) -> str:
        """Reason why this run cannot be queued now; empty if it can."""
        active = [run_id for queue in self._queues.values() for run_id in (*queue.runs, *queue.background)]
        try:
            full = self._submissions.refusal(active, self.visitor(), background=background)
            return full or refusal(config, self.store)
        except ValueError as error:  # an impossible scan, or an invalid limit
            return str(error)

    def _add(self, run_id: str, config: Config, visitor: str | None, background: bool) -> None:
        self._submissions.add(run_id, visitor, background=background)
        self._progress[run_id] = Progress("queued")
        self._active[config.digest()] = run_id
        if background:
            self._queues["heavy"].add_background(run_id)
        else:
            self._queues["fast" if config.method in FAST_METHODS else "heavy"].add(run_id)

    def _release(self, run_id: str) -> None:
        """Drop the records of a run that is over, so that its config can be submitted again."""
        self._stop_requests.pop(run_id, None)
        self._submissions.remove(run_id)
        self._active = {digest: other for digest, other in self._active.items() if other != run_id}

    def prepare(self, scan: Scan) -> None:
        """Prepare a scan on an idle worker, because a run of it may follow; not if no run of it would fit."""
        try:
            if refusal(RunConfig(scan, FAST_METHODS[0]), self.store):
                return
        except ValueError:
            return
        with self._lock:
            self._queues["heavy"].send({"prepare": scan.to_json()})

    def progress(self, run_id: str) -> Progress:
        """Current progress of a run; for a run of an earlier server, the stored one."""
        with self._lock:
            known = self._progress.get(run_id)
            if known is not None:
                return replace(known, position=self._position(run_id)).counted_down(time.monotonic())
            run = self.store.run(run_id)
            points = read_trace(self.store.run_folder(run_id))
            return Progress(run.status, seconds=run.seconds, points=points, message=run.message)

    def _position(self, run_id: str) -> int:
        """Position among the waiting runs of its worker, counted from 1; 0 = it does not wait."""
        for waiting in (queue.waiting for queue in self._queues.values()):
            if run_id in waiting:
                return waiting.index(run_id) + 1
        return 0

    def worker_pids(self) -> dict[str, int]:
        """Process ids of the living workers on this machine, by the name of their queue."""
        return {
            name: queue.process.pid
            for name, queue in self._queues.items()
            if isinstance(queue, WorkerQueue) and queue.process.poll() is None
        }

    def forget(self, run_id: str) -> None:
        """Drop the progress of a finished run that was changed in the store; it is then read from there."""
        with self._lock:
            self._progress.pop(run_id, None)

    def preview(self, run_id: str) -> dict[str, np.ndarray] | None:
        """Current iterate "x", and "noisy" and "denoised" of the diffusion sampler, as int16 HU (z, y, x).

        Volumes of more than 2 million voxels are reduced. None before the first preview.
        """
        folder = self.store.run_folder(run_id)
        found = {}
        for name in PARTS:
            try:
                found[name] = np.load(folder / f"live-{name}.npy", allow_pickle=False)
            except (OSError, ValueError):
                continue
        return found or None

    def cancel(self, run_id: str) -> str:
        """Stop a run and drop its estimate; return the reason if this visitor may not do so."""
        return self._stop("cancel", run_id)

    def finish(self, run_id: str) -> str:
        """Stop a run and keep its current iterate; return the reason if this visitor may not do so."""
        return self._stop("finish", run_id)

    def delete(self, run_id: str) -> str:
        """Stop and remove a run; return the reason if this visitor may not do so."""
        refused = self.owners.leave(run_id)
        if not refused:
            self._request_stop("cancel", run_id)
            self.store.delete(run_id)
        return refused

    def rename(self, run_id: str, name: str) -> str:
        """Give a run a name; return the reason if this visitor may not do so."""
        refused = self.owners.refusal(run_id)
        if not refused:
            self.store.update(run_id, name=name)
        return refused

    def pin(self, run_id: str, pinned: bool) -> str:
        """Exempt a run from eviction, or end that; return the reason if this visitor may not do so."""
        refused = self.owners.refusal_to_pin()
        if not refused:
            self.store.update(run_id, pinned=pinned)
        return refused

    def close(self) -> None:
        """End the workers; running runs are suspended and queued again by the next server."""
        for queue in self._queues.values():
            queue.begin_close()
        for queue in self._queues.values():
            queue.close()

    def _stop(self, request: str, run_id: str) -> str:
        with self._lock:
            if not any(run_id in (*queue.runs, *queue.background) for queue in self._queues.values()):
                return ""  # already over, or deleted
            refused = self.owners.leave(run_id)
            if not refused:
                self._request_stop(request, run_id)
            return refused

    def _request_stop(self, request: str, run_id: str) -> None:
        with self._lock:
            for queue in self._queues.values():
                waits = run_id in queue.waiting
                if waits and request == "finish" and has_checkpoint(self.store.run_folder(run_id)):
                    self._stop_requests[run_id] = request  # its worker stores the estimate of the checkpoint
                    queue.send({request: run_id})
                elif waits:  # not begun: it ends here
                    sent = run_id in queue.runs
                    queue.remove(run_id)
                    self.store.update(run_id, status="cancelled")
                    remove_leftovers(self.store, run_id, "cancelled")
                    self._progress[run_id] = Progress("cancelled")
                    self._release(run_id)
                    if sent:  # the worker has it in its list and skips it
                        queue.send({"cancel": run_id})
                elif run_id in queue.runs:
                    self._stop_requests[run_id] = request
                    queue.send({request: run_id})

    def _on_event(self, queue: WorkerQueue | ClusterQueue, event: dict[str, Any]) -> None:
        run_id = event.pop("run", None)
        if run_id is None:
            return
        with self._lock:
            known = self._progress.get(run_id, Progress("running"))
            if known.status not in ACTIVE and event.get("status") in ACTIVE:
                return  # a late event of a run that is over
            if "points" in event:  # the run is resumed after these steps
                event["points"] = tuple(Point(**p) for p in event.pop("points"))
            if "point" in event:
                event = with_point(known, Point(**event.pop("point")), event)
            self._progress[run_id] = known = replace(known, **event)
            if known.status not in ACTIVE:
                self._release(run_id)
                queue.remove(run_id)
                over = [other for other, now in self._progress.items() if now.status not in ACTIVE]
                for other in over[:-MAX_REMEMBERED]:
                    del self._progress[other]
        if known.status not in ACTIVE:
            give_back()  # this process loaded the previews of the run

    def _on_worker_exit(self, queue: WorkerQueue, code: int) -> None:
        """Send the runs of a dead worker to a new one; the first only if it has not lost too many workers."""
        with self._lock:
            runs, queue.runs = queue.runs, []
            if runs and not self._try_again(runs[0], code):
                runs = runs[1:]
            for run_id in runs:
                queue.add(run_id)
                if run_id in self._stop_requests:
                    queue.send({self._stop_requests[run_id]: run_id})
            queue.start_background()

    def _try_again(self, run_id: str, code: int) -> bool:
        """Queue a run whose worker died again; fail it and return False if too many of its workers died."""
        try:
            lost = count_lost_worker(self.store, run_id)
            self.store.update(run_id, status="queued")
        except (ValueError, OSError):  # deleted meanwhile, or the store cannot be written
            lost = MAX_LOST_WORKERS
        if lost < MAX_LOST_WORKERS:
            self._progress[run_id] = Progress(
                "queued", message="The worker process ended; a new one continues the run"
            )
            return True
        message = lost_workers_message(self.store, run_id, lost, code)
        with contextlib.suppress(ValueError, OSError):
            self.store.update(run_id, status="failed", message=message)
        self._progress[run_id] = Progress("failed", message=message)
        self._release(run_id)
        remove_leftovers(self.store, run_id, "failed", resumable=True)
        return False


def wait(queue: RunQueue, run_id: str, *, timeout: float = 600.0) -> Progress:
    """Block until a run is over; for scripts and tests."""
    deadline = time.monotonic() + timeout
    while (progress := queue.progress(run_id)).status in ACTIVE:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the run {run_id} is still {progress.status} after {timeout:.0f} s.")
        time.sleep(0.05)
    return progress
