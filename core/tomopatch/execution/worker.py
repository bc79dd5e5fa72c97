"""The worker process: executes runs one after the other and writes their results into the store.

It is a separate program (`python -m tomopatch.execution.worker STORE`), so that heavy work neither slows
the server down nor crashes it. It reads JSON lines from stdin: {"run": ID}, {"cancel": ID}, {"finish": ID} or
{"prepare": SCAN}. It writes JSON lines to stdout: the progress of the current run. It ends when stdin does,
that is, with the server, and suspends the current run.
"""

from __future__ import annotations

import contextlib
import json
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch

from tomopatch import kernels
from tomopatch.execution.execute import EXPECTED_FAILURES, end_without_result, execute
from tomopatch.quiet import closed_pipe_ignored
from tomopatch.reconstruct.memory import give_back
from tomopatch.reconstruct.methods import make_params
from tomopatch.reconstruct.run import reconstruct
from tomopatch.runs.config import Beam, ScanConfig, scan_from_json
from tomopatch.runs.measured import prepare_any
from tomopatch.runs.prepare import prepare
from tomopatch.runs.weights import shared_prior
from tomopatch.store.checkpoint import has_checkpoint
from tomopatch.store.eviction import make_room
from tomopatch.store.store import RunStore


class Worker:
    """Executes runs in the order of their commands."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self.waiting: deque[str] = deque()
        self.next_scan: dict[str, Any] | None = None  # to be prepared while the worker is idle
        self.stop_requests: dict[str, str] = {}  # run id -> "cancel" or "finish"
        self.changed = threading.Condition()
        self.closed = False

    def listen(self) -> None:
        """Read commands until stdin ends."""
        for line in sys.stdin:
            command = json.loads(line)
            with self.changed:
                if "run" in command:
                    self.waiting.append(command["run"])
                self.next_scan = command.get("prepare", self.next_scan)
                for request in ("cancel", "finish"):
                    if request in command:
                        self.stop_requests[command[request]] = request
                self.changed.notify()
        with self.changed:
            self.closed = True
            self.changed.notify()

    def serve(self) -> None:
        """Execute runs, and prepare scans while idle, until stdin ends."""
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.next_scan or self.closed)
                if self.closed:
                    return
                run_id, request, scan = None, None, None
                if self.waiting:
                    run_id = self.waiting.popleft()
                    request = self.stop_requests.get(run_id)
                else:
                    scan, self.next_scan = self.next_scan, None
            if run_id is None:
                self._prepare(scan or {})
            elif request == "cancel" or (request == "finish" and not self._has_estimate(run_id)):
                end_without_result(self.store, run_id, emit, "cancelled")
            else:
                self._run(run_id)

    def _has_estimate(self, run_id: str) -> bool:
        with contextlib.suppress(ValueError):  # deleted meanwhile
            return has_checkpoint(self.store.run_folder(run_id))
        return False

    def _prepare(self, scan: dict[str, Any]) -> None:
        """Prepare a scan that may be run next. Errors are left to the run itself."""
        with contextlib.suppress(*EXPECTED_FAILURES):
            shared_prior()
            prepare_any(scan_from_json(scan), self.store)

    def _run(self, run_id: str) -> None:
        def requested() -> str | None:
            return self.stop_requests.get(run_id) or ("suspend" if self.closed else None)

        execute(self.store, run_id, emit, requested)
        make_room(self.store)
        give_back()


def warm_up() -> Iterator[None]:
    """Compile the projector's kernels, or load them from numba's cache, piece by piece."""
    pairs: tuple[tuple[Beam, str], ...] = (("parallel", "fbp"), ("cone", "fdk"))
    for beam, analytic in pairs:
        yield
        prepared = prepare(ScanConfig("phantom:shepp-logan", (4, 16, 16), beam, num_views=4, same_grid=True))
        for method in (analytic, "sirt", "tv"):
            short = {} if method == analytic else {"num_iterations": 1}
            reconstruct(method, prepared.A, prepared.measurement, params=make_params(method, short))
            yield


def emit(**event: Any) -> None:
    """Write an event to stdout, as one line of JSON."""
    # with a broken pipe the server is gone, and stdin ends in a moment
    with closed_pipe_ignored():
        print(json.dumps(event), flush=True)


def main() -> None:
    """Warm up, then execute the commands from stdin; the store is the first argument."""
    torch.set_num_threads(kernels.NUM_THREADS)
    worker = Worker(RunStore(sys.argv[1]))
    threading.Thread(target=worker.listen, daemon=True).start()
    for _ in warm_up():
        if worker.waiting:  # the run compiles the kernels that it needs
            break
    emit(status="ready")
    worker.serve()


if __name__ == "__main__":
    main()
