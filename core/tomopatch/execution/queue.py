"""The queue of runs: what waits, what is at work, and how far it is."""

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

from tomopatch.execution.cluster import ClusterLane
from tomopatch.execution.execute import MOST_LOST, count_loss, lost_word, tidy
from tomopatch.execution.progress import Progress
from tomopatch.execution.worker_queue import Lane
from tomopatch.progress import Tiles
from tomopatch.reconstruct.memory import give_back
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.limits import limit
from tomopatch.runs.prior import Config
from tomopatch.runs.resource_estimate import refusal
from tomopatch.runs.run import ACTIVE
from tomopatch.store.checkpoint import has_checkpoint
from tomopatch.store.history import PARTS, Point, read_trace
from tomopatch.store.owners import Owners
from tomopatch.store.store import RunStore, unfinished

SCHEDULER = "TOMOPATCH_SCHEDULER"
"""The environment variable with the address of a dask.distributed scheduler, whose workers do the heavy runs."""
FAST_METHODS = ("fbp", "fdk")
REMEMBERED = 100
"""So many runs that are over the queue has in memory; of those before them it asks the store."""


class JobQueue:
    """Runs of all sessions of one server, in the order of their submission.

    The worker processes start at once, so that the first run need not wait for their imports. Runs that an earlier
    server left queued or at work are taken up again.

    Parameters
    ----------
    who : f() -> str
        The visitor who asks; each may have so many runs at a time, and on a shared server change only their own.
    administrator : f() -> bool
        Whether the visitor may change all runs.
    """

    def __init__(
        self,
        store: RunStore,
        *,
        who: Callable[[], str] = lambda: "",
        administrator: Callable[[], bool] = lambda: False,
    ) -> None:
        self.store, self.who = store, who
        self.owners = Owners(store, lambda: self.who(), administrator)
        scheduler = os.environ.get(SCHEDULER, "")
        store.sweep()
        self._asked: dict[str, str] = {}  # who asked first for the runs that are not over, sweeps apart
        self._sweeps: set[str] = set()  # runs that are not over and give way to others
        self._under_way: dict[str, str] = {}  # runs that wait or work, by the digest of their config
        self._lock = threading.RLock()
        self._progress: dict[str, Progress] = {}
        self._wishes: dict[str, str] = {}  # of the runs that a worker has been given
        self._lanes: dict[str, Lane | ClusterLane] = {
            name: Lane(name, store.root, self._hear, self._lost)
            for name in ("heavy", "fast")[bool(scheduler) :]
        }
        if scheduler:
            self._lanes["heavy"] = ClusterLane(scheduler, store, self._hear)
        for run in unfinished(store):
            with (
                self._lock,
                contextlib.suppress(OSError),
            ):  # a store that may only be read is there to be looked at
                store.update(run.id, status="queued")
                self._add(run.id, run.config, run.patient)
        atexit.register(self.close)

    def submit(self, config: Config, *, patient: bool = False) -> str:
        """Queue a run and return its id; a finished run of the same config is returned as it is.

        A patient run, one of many that nobody waits for one by one, gives way to every other that comes meanwhile.
        What is more than the limits of `tomopatch.runs.limits` allow fails at once, with a sentence.
        """
        done = self.store.find(config)
        if done is not None:
            self.owners.join(done)
            return done
        with self._lock:
            under_way = self._under_way.get(config.digest())
            if under_way is not None and under_way not in self._wishes:
                self.owners.join(under_way)
                return under_way  # somebody asked for the very same a moment ago, and nobody to end it since
            mine = {"owners": [self.who()], "patient": patient}
            refused = self._refusal(config, patient)
            run_id = (None if refused else self._resumable(config, mine)) or self.store.create(config, **mine)
            if refused:
                self.store.update(run_id, status="failed", message=refused)
                self._progress[run_id] = Progress("failed", message=refused)
                return run_id
            if not patient:
                self._asked[run_id] = self.who()
            self._add(run_id, config, patient)
        return run_id

    def _resumable(self, config: Config, changes: dict[str, Any]) -> str | None:
        """A failed run of the same config whose checkpoint is still there, queued again; None if there is none."""
        for run_id in self.store.runs_of(config, "failed"):
            if has_checkpoint(self.store.run_folder(run_id)):
                self.store.update(run_id, status="queued", message="", lost=0, **changes)
                return run_id
        return None

    def _refusal(self, config: Config, patient: bool) -> str:
        """Why this run cannot be taken now; empty if it can."""
        under_way = [run_id for lane in self._lanes.values() for run_id in (*lane.runs, *lane.patient)]
        waiting = sum((run_id in self._sweeps) == patient for run_id in under_way)
        mine = sum(self._asked.get(run_id) == self.who() for run_id in under_way)
        try:
            if waiting >= limit("QUEUE_LENGTH"):
                sweeps = " of sweeps" if patient else ""
                return f"The queue{sweeps} is full: {waiting} {'run waits' if waiting == 1 else 'runs wait'}. Try again when some of them are done."
            if not patient and mine >= limit("SESSION_RUNS"):
                return f"You have {mine} run{'s' * (mine > 1)} waiting, the most that one may have here. Cancel one, or wait."
            return refusal(config, self.store)
        except ValueError as error:  # an impossible scan, or a bad limit
            return str(error)

    def _add(self, run_id: str, config: Config, patient: bool) -> None:
        self._progress[run_id] = Progress("queued")
        self._under_way[config.digest()] = run_id
        if patient:
            self._sweeps.add(run_id)
            self._lanes["heavy"].add_patient(run_id)
        else:
            self._lanes["fast" if config.method in FAST_METHODS else "heavy"].add(run_id)

    def _forget(self, run_id: str) -> None:
        """The run is over: it is nobody's, and the same may be asked for again."""
        self._wishes.pop(run_id, None)
        self._asked.pop(run_id, None)
        self._sweeps.discard(run_id)
        self._under_way = {digest: other for digest, other in self._under_way.items() if other != run_id}

    def expect(self, scan: ScanConfig) -> None:
        """A run of this scan may be submitted soon: an idle worker gets ready for it, if even the least run would fit."""
        try:
            if refusal(RunConfig(scan, FAST_METHODS[0]), self.store):
                return
        except ValueError:
            return
        with self._lock:
            self._lanes["heavy"].send({"expect": scan.to_json()})

    def progress(self, run_id: str) -> Progress:
        """Where the run is now; of a run of an earlier server, what the store says."""
        with self._lock:
            known = self._progress.get(run_id)
            if known is None:
                run = self.store.run(run_id)
                points = read_trace(self.store.run_folder(run_id))
                return Progress(run.status, seconds=run.seconds, points=points, message=run.message)
            places = [lane.place(run_id) for lane in self._lanes.values()]
            place = max(places)
            return replace(known, place=place)

    def forget(self, run_id: str) -> None:
        """A run that is over was changed by another than this queue: from now on the store says how it is."""
        with self._lock:
            self._progress.pop(run_id, None)

    def preview(self, run_id: str) -> dict[str, np.ndarray] | None:
        """The current iterate "x", and of the diffusion sampler "noisy" and "denoised": int16 HU (z, y, x).

        Volumes of more than 2 million voxels come reduced. None before the first.
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
        """Stop a run and drop what it has; returns why this visitor may not do so, or nothing."""
        return self._stop("cancel", run_id)

    def finish(self, run_id: str) -> str:
        """Stop a run and keep its current iterate; returns why this visitor may not do so, or nothing."""
        return self._stop("finish", run_id)

    def delete(self, run_id: str) -> str:
        """Remove a run, which is stopped first; returns why this visitor may not do so, or nothing."""
        refused = self.owners.leave(run_id)
        if not refused:
            self._wish("cancel", run_id)
            self.store.delete(run_id)
        return refused

    def rename(self, run_id: str, name: str) -> str:
        """Give a run a name; returns why this visitor may not do so, or nothing."""
        refused = self.owners.refusal(run_id)
        if not refused:
            self.store.update(run_id, name=name)
        return refused

    def pin(self, run_id: str, pinned: bool) -> str:
        """Exempt a run from eviction, or no longer; returns why this visitor may not do so, or nothing."""
        refused = self.owners.refusal_to_pin()
        if not refused:
            self.store.update(run_id, pinned=pinned)
        return refused

    def _stop(self, wish: str, run_id: str) -> str:
        with self._lock:
            if not any(run_id in (*lane.runs, *lane.patient) for lane in self._lanes.values()):
                return ""  # over, or deleted: nothing is to be stopped
            refused = self.owners.leave(run_id)
            if not refused:
                self._wish(wish, run_id)
            return refused

    def close(self) -> None:
        for lane in self._lanes.values():
            lane.leave()
        for lane in self._lanes.values():
            lane.close()

    def _wish(self, wish: str, run_id: str) -> None:
        with self._lock:
            for lane in self._lanes.values():
                waits = run_id in lane.waiting
                if waits and wish == "finish" and has_checkpoint(self.store.run_folder(run_id)):
                    self._wishes[run_id] = wish  # it has an earlier iterate, which its worker will keep
                    lane.send({wish: run_id})
                elif waits:  # not begun: it ends here
                    given = run_id in lane.runs
                    lane.finished(run_id)
                    self.store.update(run_id, status="cancelled")
                    tidy(self.store, run_id, "cancelled")
                    self._progress[run_id] = Progress("cancelled")
                    self._forget(run_id)
                    if given:  # the worker has it in its list and passes over it
                        lane.send({"cancel": run_id})
                elif run_id in lane.runs:
                    self._wishes[run_id] = wish
                    lane.send({wish: run_id})

    def _hear(self, lane: Lane | ClusterLane, event: dict) -> None:
        run_id = event.pop("run", None)
        if run_id is None:
            return
        with self._lock:
            known = self._progress.get(run_id, Progress("running"))
            if known.status not in ACTIVE and event.get("status") in ACTIVE:
                return  # a word that came late
            if "points" in event:  # it goes on after these
                event["points"] = tuple(Point(**p) for p in event.pop("points"))
            if "point" in event:
                event = self._with_point(known, Point(**event.pop("point")), event)
            self._progress[run_id] = known = replace(known, **event)
            if known.status not in ACTIVE:
                self._forget(run_id)
                lane.finished(run_id)
                over = [other for other, now in self._progress.items() if now.status not in ACTIVE]
                for other in over[:-REMEMBERED]:
                    del self._progress[other]
        if known.status not in ACTIVE:
            give_back()  # the pictures of a run at work come and go in this process, too

    def _with_point(self, known: Progress, point: Point, event: dict) -> dict:
        """The event with the run's figures so far, and the time left at the pace of this stage."""
        began = next((p for p in reversed(known.points) if p.stage != point.stage), None)
        done, before = (point.i / point.total, 0.0) if point.work is None else (point.work, 0.0)
        if point.work is not None and began is not None:  # the work of the whole run
            before = began.work or 0.0
        spent = point.seconds - (began.seconds if began else 0.0)
        tiles = event.pop("tiles", None)
        if tiles is not None:
            event["tiles"] = Tiles(tuple(tiles["size"]), tuple(map(tuple, tiles["starts"])))
        eta = spent * (1 - done) / max(1e-9, done - before)
        return event | {
            "points": (*known.points, point), "seconds": point.seconds, "eta": eta, "part": None
        }  # fmt: skip

    def _lost(self, lane: Lane | ClusterLane, code: int) -> None:
        """The worker died: a new one goes on with its runs, or all but the first, if that has lost another before."""
        with self._lock:
            runs, lane.runs = lane.runs, []
            if runs and not self._once_more(runs[0], code):
                runs = runs[1:]
            for run_id in runs:
                lane.add(run_id)
                if run_id in self._wishes:
                    lane.send({self._wishes[run_id]: run_id})
            lane.go_on()

    def _once_more(self, run_id: str, code: int) -> bool:
        """Whether the run that lost its worker is to go on; if not, it fails with a word."""
        try:
            lost = count_loss(self.store, run_id)
            self.store.update(run_id, status="queued")
        except (ValueError, OSError):  # deleted meanwhile, or nothing can be written
            lost = MOST_LOST
        if lost < MOST_LOST:
            self._progress[run_id] = Progress("queued", message="The worker process ended; a new one goes on")
            return True
        message = lost_word(self.store, run_id, lost, code)
        with contextlib.suppress(ValueError, OSError):
            self.store.update(run_id, status="failed", message=message)
        self._progress[run_id] = Progress("failed", message=message)
        self._forget(run_id)
        tidy(self.store, run_id, "failed", resumable=True)
        return False


def wait(queue: JobQueue, run_id: str, *, timeout: float = 600.0) -> Progress:
    """Block until a run is over; for scripts and tests."""
    deadline = time.monotonic() + timeout
    while (progress := queue.progress(run_id)).status in ACTIVE:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the run {run_id} is still {progress.status} after {timeout:.0f} s.")
        time.sleep(0.05)
    return progress
