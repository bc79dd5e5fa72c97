"""Worker processes: one for heavy runs, one for those that answer at once."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

NICENESS = {"fast": 5, "heavy": 15}
"""The server answers first, then what is there at once, then the rest; while they load as well as afterwards."""


class Lane:
    """One worker process, the runs that it has been given, and those that it gets when it has nothing else to do.

    Parameters
    ----------
    name : a name in NICENESS
    store : Path
        The store's folder.
    hear : f(lane, event)
        Told what the worker says.
    lost : f(lane, code)
        Told that it died, and the code it ended with.
    """

    def __init__(
        self, name: str, store: Path, hear: Callable[[Lane, dict], None], lost: Callable[[Lane, int], None]
    ) -> None:
        self.name, self.store, self.hear, self.lost = name, store, hear, lost
        self.runs: list[str] = []
        self.patient: list[str] = []
        self.closing = self.ready = False
        self.process = self._start()

    @property
    def waiting(self) -> list[str]:
        """Runs whose turn has not come."""
        return [*self.runs[1:], *self.patient]

    def place(self, run_id: str) -> int:
        """How many runs come before this one; 0 = none, or it is not here."""
        return self.waiting.index(run_id) + 1 if run_id in self.waiting else 0

    def add(self, run_id: str) -> None:
        self.runs.append(run_id)
        self.send({"run": run_id})

    def add_patient(self, run_id: str) -> None:
        self.patient.append(run_id)
        self.go_on()

    def finished(self, run_id: str) -> None:
        for runs in (self.runs, self.patient):
            if run_id in runs:
                runs.remove(run_id)
        self.go_on()

    def go_on(self) -> None:
        """With nothing else to do, the next of the patient runs."""
        if not self.runs and self.patient:
            self.add(self.patient.pop(0))

    def send(self, command: dict) -> None:
        if self.process.poll() is not None:
            self.process = self._start()
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # it died this moment; its listener hears of it and hands the runs on

    def leave(self) -> None:
        """Ask the worker to end; one that has begun nothing yet has nothing to put down and ends at once."""
        self.closing = True
        if not self.ready:
            self.process.kill()
        if self.process.stdin is not None and not self.process.stdin.closed:
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()

    def close(self) -> None:
        self.leave()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def _start(self) -> subprocess.Popen[str]:
        self.ready = False
        root = Path(__file__).resolve().parents[2]
        environment = os.environ | {
            "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads slow the projector's down two to four times
            "PYTHONPATH": os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        }
        nice = shutil.which("nice")
        command = [nice, "-n", str(NICENESS[self.name])] if nice else []
        process = subprocess.Popen(
            [*command, sys.executable, "-m", "tomopatch.execution.worker", str(self.store)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip
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
                continue  # a library's word on stdout
            if event == {"status": "ready"}:
                self.ready = True
            elif isinstance(event, dict):
                self.hear(self, event)
        code = process.wait()
        if not self.closing:
            self.lost(self, code)
