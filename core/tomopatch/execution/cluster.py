"""Queue of heavy runs on the workers of a dask.distributed scheduler.

Each worker executes one run at a time; all workers share one store. Progress arrives as events of a topic,
and a stop request is a file in the run's folder. When a worker dies, the scheduler gives its run to another
one, which resumes it from the last checkpoint.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
from collections.abc import Callable
from typing import Any

from tomopatch.execution.execute import execute, remove_leftovers
from tomopatch.io.writing import write_bytes
from tomopatch.runs.run import ACTIVE
from tomopatch.store.eviction import make_room
from tomopatch.store.store import RunStore

_one_run = threading.Lock()
"""Held during a run: a worker executes one run at a time, however many threads it has."""
_STOP_REQUEST = "stop-request"


def execute_on_worker(root: str, run_id: str, topic: str) -> None:
    """Execute a run on a worker of the cluster."""
    from distributed import get_worker

    store, worker = RunStore(root), get_worker()
    request = store.run_folder(run_id) / _STOP_REQUEST

    def requested() -> str | None:
        try:
            return request.read_text("utf-8")
        except OSError:
            return None

    with _one_run:
        execute(store, run_id, lambda **event: worker.log_event(topic, {"event": event}), requested)
        make_room(store)
        request.unlink(missing_ok=True)


class ClusterQueue:
    """Runs submitted to a scheduler, with the interface of `WorkerQueue`.

    Parameters
    ----------
    address : str
        Address of the scheduler, like tcp://host:8786.
    store : RunStore
        In a folder that the workers see under the same path.
    on_event : f(queue, event)
        Receives the workers' events.

    Raises
    ------
    ValueError
        If there is no such scheduler, or dask is not installed.
    """

    def __init__(
        self, address: str, store: RunStore, on_event: Callable[[Any, dict[str, Any]], None]
    ) -> None:
        try:
            from distributed import Client
        except ImportError as error:
            raise ValueError(
                "TOMOPATCH_SCHEDULER is set but dask is not installed: pip install 'tomopatch[dask]'."
            ) from error
        self.store, self.on_event = store, on_event
        try:
            self.client = Client(address, timeout=20, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ValueError(
                f"there is no dask scheduler at TOMOPATCH_SCHEDULER={address}; "
                "start it, or unset the variable."
            ) from error
        self.topic = f"tomopatch-{secrets.token_hex(4)}"
        self.runs: list[str] = []
        self.background: list[str] = []
        self._begun: set[str] = set()
        self._futures: dict[str, Any] = {}  # the scheduler drops a task without a reference
        self.client.subscribe_topic(self.topic, self._listen)

    @property
    def waiting(self) -> list[str]:
        """Runs that no worker has begun."""
        return [run_id for run_id in (*self.runs, *self.background) if run_id not in self._begun]

    def add(self, run_id: str) -> None:
        """Submit a run with the usual priority."""
        self.runs.append(run_id)
        self._submit(run_id, 0)

    def add_background(self, run_id: str) -> None:
        """Submit a run that gives way to all others."""
        self.background.append(run_id)
        self._submit(run_id, -1)

    def remove(self, run_id: str) -> None:
        """Remove a run that is over."""
        for runs in (self.runs, self.background):
            if run_id in runs:
                runs.remove(run_id)
        self._futures.pop(run_id, None)
        self._begun.discard(run_id)

    def start_background(self) -> None:
        """Do nothing: the scheduler starts background runs itself."""

    def send(self, command: dict[str, Any]) -> None:
        """Pass on a stop request; other commands have no meaning on a cluster."""
        for request in ("cancel", "finish"):
            if request in command:
                with contextlib.suppress(ValueError):  # deleted meanwhile
                    write_bytes(self.store.run_folder(command[request]) / _STOP_REQUEST, request.encode())

    def begin_close(self) -> None:
        """Do nothing: `close` is quick."""

    def close(self) -> None:
        """Disconnect. Runs continue on the cluster and store their results."""
        self.client.close(timeout=5)

    def _listen(self, message: tuple[float, Any]) -> None:
        event = dict(message[1]["event"])  # the scheduler adds other keys
        if event.get("status") == "running":
            self._begun.add(event["run"])
        self.on_event(self, event)

    def _submit(self, run_id: str, priority: int) -> None:
        key = f"{run_id}-{secrets.token_hex(2)}"
        root = str(self.store.root.resolve())
        future = self.client.submit(
            execute_on_worker, root, run_id, self.topic, key=key, pure=False, priority=priority
        )
        self._futures[run_id] = future
        future.add_done_callback(lambda done: self._on_task_end(run_id, done))

    def _on_task_end(self, run_id: str, future: Any) -> None:
        """Report the stored status of a run whose task has ended; events may have been lost."""
        try:
            run = self.store.run(run_id)
        except ValueError:  # deleted meanwhile
            self.on_event(self, {"run": run_id, "status": "cancelled"})
            return
        status, message = run.status, run.message
        if status in ACTIVE:
            if future.status == "cancelled" and self.client.status == "closed":
                return  # this server stops; the next one resumes the run
            reason = future.exception() if future.status == "error" else future.status
            status, message = "failed", f"The cluster gave it up: {reason}"
            self.store.update(run_id, status=status, message=message)
            remove_leftovers(self.store, run_id, status, resumable=True)
        self.on_event(self, {"run": run_id, "status": status, "message": message, "seconds": run.seconds})
