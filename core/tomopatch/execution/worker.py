"""The worker process: takes runs one after the other and writes what they make into the store.

It is a program of its own (`python -m tomopatch.execution.worker STORE`), so that heavy work neither slows the server
down nor can take it with it. It reads JSON lines from stdin, {"run": ID}, {"cancel": ID}, {"finish": ID} or {"expect":
SCAN}, and writes JSON lines to stdout: the progress of the run at hand. It ends when stdin does, with the server; a run
at hand is then left where it can be gone on with.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch

from tomopatch.execution.execute import TROUBLE, carry_out, end
from tomopatch.reconstruct.memory import give_back
from tomopatch.reconstruct.methods import make_params, reconstruct
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import prepare
from tomopatch.runs.weights import shared_prior
from tomopatch.store.checkpoint import has_checkpoint
from tomopatch.store.eviction import make_room
from tomopatch.store.store import RunStore


class Worker:
    """Runs what it is told to, in order."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self.waiting: deque[str] = deque()
        self.expected: dict[str, Any] | None = None  # a scan that may be asked for next
        self.wishes: dict[str, str] = {}  # run id -> "cancel" or "finish"
        self.changed = threading.Condition()
        self.closed = False

    def listen(self) -> None:
        """Read commands until stdin ends."""
        for line in sys.stdin:
            command = json.loads(line)
            with self.changed:
                if "run" in command:
                    self.waiting.append(command["run"])
                self.expected = command.get("expect", self.expected)
                for wish in ("cancel", "finish"):
                    if wish in command:
                        self.wishes[command[wish]] = wish
                self.changed.notify()
        with self.changed:
            self.closed = True
            self.wishes["*"] = "park"
            self.changed.notify()

    def serve(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.expected or self.closed)
                if self.closed:
                    return
                run_id, wish, scan = None, None, None
                if self.waiting:
                    run_id = self.waiting.popleft()
                    wish = self.wishes.get(run_id)
                else:
                    scan, self.expected = self.expected, None
            if run_id is None:
                self._prepare(scan or {})
            elif wish == "cancel" or (wish == "finish" and not self._begun(run_id)):
                end(self.store, run_id, say, "cancelled")
            else:
                self._run(run_id)

    def _begun(self, run_id: str) -> bool:
        """Whether there is something of the run to be kept."""
        with contextlib.suppress(ValueError):  # deleted meanwhile
            return has_checkpoint(self.store.run_folder(run_id))
        return False

    def _prepare(self, scan: dict[str, Any]) -> None:
        """Get ready for a run of this scan; what is wrong with it, the run will say."""
        with contextlib.suppress(*TROUBLE):
            shared_prior()
            prepare(ScanConfig.from_json(scan), self.store)

    def _run(self, run_id: str) -> None:
        carry_out(self.store, run_id, say, lambda: self.wishes.get(run_id) or self.wishes.get("*"))
        make_room(self.store)
        give_back()


def warm_up() -> Iterator[None]:
    """Compile the projector's kernels, or load them from numba's cache, before somebody waits for them; bit by bit."""
    for beam, analytic in (("parallel", "fbp"), ("cone", "fdk")):
        yield
        prepared = prepare(ScanConfig("phantom:shepp-logan", (4, 16, 16), beam, num_views=4, same_grid=True))
        for method in (analytic, "sirt", "tv"):
            short = {} if method == analytic else {"num_iterations": 1}
            reconstruct(method, prepared.A, prepared.measurement, params=make_params(method, short))
            yield


def say(**event: Any) -> None:
    # a broken pipe: the server is gone; that stdin ended with it is heard in a moment
    with contextlib.suppress(BrokenPipeError):
        print(json.dumps(event), flush=True)


def main() -> None:
    torch.set_num_threads(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    worker = Worker(RunStore(sys.argv[1]))
    threading.Thread(target=worker.listen, daemon=True).start()
    for _ in warm_up():
        if worker.waiting:  # for this run; it compiles what it needs itself
            break
    say(status="ready")
    worker.serve()


if __name__ == "__main__":
    main()
