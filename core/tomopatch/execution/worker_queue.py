"""Queue of one worker process on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tomopatch.quiet import closed_pipe_ignored

NICENESS = {"fast": 5, "heavy": 15}
"""Niceness of the worker processes. The server comes first, then fast runs, then heavy ones."""

LOWER_PRIORITY: int = getattr(subprocess, "BELOW_NORMAL_PRIORITY_CLASS", 0)
"""Windows' flag for the priority of a new process, which has no `nice`; 0 elsewhere."""


def start_worker(name: str, store: Path) -> subprocess.Popen[str]:
    """Start a worker program for the store, with the niceness of its queue."""
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {
        "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads slow the projector down two to four times
        "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
    }
    nice = shutil.which("nice") if LOWER_PRIORITY == 0 else None
    command = [nice, "-n", str(NICENESS[name])] if nice else []
    return subprocess.Popen(
        [*command, sys.executable, "-m", "tomopatch.execution.worker", str(store)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", errors="replace",
        env=environment, creationflags=LOWER_PRIORITY,
    )  # fmt: skip


class WorkerQueue:
    """One worker process, the runs sent to it, and the background runs that it gets when it is idle.

    Parameters
    ----------
    name : a name in NICENESS
    store : Path
        The store's folder.
    on_event : f(queue, event)
        Receives the worker's events.
    on_exit : f(queue, code)
        Called with the exit code when the worker dies.
    """

    def __init__(
        self,
        name: str,
        store: Path,
        on_event: Callable[[WorkerQueue, dict[str, Any]], None],
        on_exit: Callable[[WorkerQueue, int], None],
    ) -> None:
        self.name, self.store, self.on_event, self.on_exit = name, store, on_event, on_exit
        self.runs: list[str] = []
        self.background: list[str] = []
        self.closing = self.ready = False
        self.process = self._start()

    @property
    def waiting(self) -> list[str]:
        """Runs that the worker has not begun."""
        return [*self.runs[1:], *self.background]

    def add(self, run_id: str) -> None:
        """Send a run to the worker, which executes runs in this order."""
        self.runs.append(run_id)
        self.send({"run": run_id})

    def add_background(self, run_id: str) -> None:
        """Add a run that the worker gets when no other run waits."""
        self.background.append(run_id)
        self.start_background()

    def remove(self, run_id: str) -> None:
        """Remove a run that is over."""
        for runs in (self.runs, self.background):
            if run_id in runs:
                runs.remove(run_id)
        self.start_background()

    def start_background(self) -> None:
        """Send the next background run if the worker is idle."""
        if not self.runs and self.background:
            self.add(self.background.pop(0))

    def send(self, command: dict[str, Any]) -> None:
        """Send a command (see `tomopatch.execution.worker`) to the worker; a dead one is replaced first."""
        if self.process.poll() is not None:
            self.process = self._start()
        assert self.process.stdin is not None
        with closed_pipe_ignored():  # the worker just died; `on_exit` submits its runs again
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()

    def begin_close(self) -> None:
        """Ask the worker to end. A worker that is still starting has nothing to save and is killed."""
        self.closing = True
        if not self.ready:
            self.process.kill()
        if self.process.stdin is not None and not self.process.stdin.closed:
            with closed_pipe_ignored():
                self.process.stdin.close()

    def close(self) -> None:
        """End the worker: wait up to 5 s until it has suspended its run, then kill it."""
        self.begin_close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def _start(self) -> subprocess.Popen[str]:
        self.ready = False
        process = start_worker(self.name, self.store)
        threading.Thread(
            target=self._listen, args=(process,), daemon=True, name=f"{self.name} worker"
        ).start()
        return process

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # a library printed to stdout
            if event == {"status": "ready"}:
                self.ready = True
            elif isinstance(event, dict):
                self.on_event(self, event)
        code = process.wait()
        if not self.closing:
            self.on_exit(self, code)
