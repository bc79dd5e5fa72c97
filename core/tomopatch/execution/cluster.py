"""Heavy runs on the workers of a dask.distributed scheduler: one at a time on each, in the store that all of them share.

What a run tells comes as events of a topic; what somebody wishes of it lies as a file in its folder. A worker that dies
loses nothing: the scheduler gives its run to another, which goes on from the last kept step.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from typing import Any

from tomopatch.execution.execute import carry_out, tidy
from tomopatch.io.writing import write_beside
from tomopatch.runs.run import ACTIVE
from tomopatch.store.eviction import make_room
from tomopatch.store.store import RunStore

_one = threading.Lock()
"""One run at a time, however many threads a worker has."""
_WISH = "wish"


def perform(root: str, run_id: str, topic: str) -> None:
    """What a worker of the cluster does."""
    from distributed import get_worker

    store, worker = RunStore(root), get_worker()
    wish = store.run_folder(run_id) / _WISH

    def ask() -> str | None:
        try:
            return wish.read_text()
        except OSError:
            return None

    with _one:
        carry_out(store, run_id, lambda **event: worker.log_event(topic, {"told": event}), ask)
        make_room(store)
        wish.unlink(missing_ok=True)


class ClusterLane:
    """The runs that a scheduler has been given; the same to the queue as a `Lane` of this machine.

    Parameters
    ----------
    address : str
        Of the scheduler, like tcp://host:8786.
    store : RunStore
        In a folder that the workers see under the same path.
    hear : f(lane, event)
        Told what the workers say.

    Raises
    ------
    ValueError
        If there is no such scheduler, or dask is not installed.
    """

    def __init__(self, address: str, store: RunStore, hear: Callable[[Any, dict], None]) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise ValueError(
                "TOMOPATCH_SCHEDULER is set but dask is not installed: pip install 'tomopatch[dask]'."
            ) from error
        self.store, self.hear = store, hear
        try:
            self.client = Client(address, timeout=20, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"there is no dask scheduler at TOMOPATCH_SCHEDULER={address}; start it, or unset the variable."
            ) from error
        self.topic = f"tomopatch-{secrets.token_hex(4)}"
        self.runs: list[str] = []
        self.patient: list[str] = []
        self._begun: set[str] = set()
        self._futures: dict[str, Any] = {}  # the scheduler drops a task that nobody holds
        self.client.subscribe_topic(self.topic, self._listen)

    @property
    def waiting(self) -> list[str]:
        """Runs that no worker has begun."""
        return [run_id for run_id in (*self.runs, *self.patient) if run_id not in self._begun]

    def place(self, run_id: str) -> int:
        """How many runs wait before this one; 0 = none, or it is not here."""
        waiting = self.waiting
        return waiting.index(run_id) + 1 if run_id in waiting else 0

    def add(self, run_id: str) -> None:
        self.runs.append(run_id)
        self._submit(run_id, 0)

    def add_patient(self, run_id: str) -> None:
        self.patient.append(run_id)
        self._submit(run_id, -1)

    def finished(self, run_id: str) -> None:
        for runs in (self.runs, self.patient):
            if run_id in runs:
                runs.remove(run_id)
        self._futures.pop(run_id, None)
        self._begun.discard(run_id)

    def go_on(self) -> None:
        """The scheduler does."""

    def send(self, command: dict) -> None:
        """Only what somebody wishes of a run means anything there."""
        for wish in ("cancel", "finish"):
            if wish in command:
                with contextlib.suppress(ValueError):  # deleted meanwhile
                    write_beside(self.store.run_folder(command[wish]) / _WISH, wish.encode())

    def leave(self) -> None:
        """Nothing to be asked beforehand."""

    def close(self) -> None:
        """Runs at work go on there and are in the store when they are done."""
        self.client.close(timeout=5)

    def _listen(self, event: tuple[float, Any]) -> None:
        told = dict(event[1]["told"])  # beside it the scheduler writes whose it is
        if told.get("status") == "running":
            self._begun.add(told["run"])
        self.hear(self, told)

    def _submit(self, run_id: str, priority: int) -> None:
        key = f"{run_id}-{secrets.token_hex(2)}"
        root = str(self.store.root.resolve())
        future = self.client.submit(perform, root, run_id, self.topic, key=key, pure=False, priority=priority)
        self._futures[run_id] = future
        future.add_done_callback(lambda done: self._over(run_id, done))

    def _over(self, run_id: str, future: Any) -> None:
        """The task has ended; what the store says of the run holds, whatever was heard."""
        try:
            run = self.store.run(run_id)
        except ValueError:  # deleted meanwhile
            self.hear(self, {"run": run_id, "status": "cancelled"})
            return
        status, message = run.status, run.message
        if status in ACTIVE:
            if future.status == "cancelled" and self.client.status == "closed":
                return  # this server stops; the run is taken up again by the next
            message = (
                f"The cluster gave it up: {future.exception() if future.status == 'error' else future.status}"
            )
            status = "failed"
            self.store.update(run_id, status=status, message=message)
            tidy(self.store, run_id, status, resumable=True)
        self.hear(self, {"run": run_id, "status": status, "message": message, "seconds": run.seconds})
