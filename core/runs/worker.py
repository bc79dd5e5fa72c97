"""The worker process: takes runs one after the other and writes what they make into the store.

It is a program of its own (`python -m core.runs.worker STORE`), so that heavy work neither slows the server
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
import time
from collections import deque
from functools import partial
from typing import Any

import torch

from core.metrics import quality
from core.reconstruct.methods import make_params, reconstruct
from core.runs.checkpoint import drop_checkpoint, has_checkpoint, read_checkpoint
from core.runs.config import ScanConfig
from core.runs.limits import limit, run_seconds
from core.runs.live import Live
from core.runs.prepare import prepare
from core.runs.store import RunStore
from core.runs.upkeep import evict, limit_bytes
from core.runs.weights import shared_prior
from core.runs.work import Done, work
from core.runs.writing import alone

TROUBLE = (ValueError, TypeError, MemoryError, OSError, RuntimeError)
"""What a run may fail of, which is told in a sentence; anything else is a mistake of ours and ends the worker."""


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
                self._end(run_id, "cancelled", "")
            else:
                self._run_safely(run_id)

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

    def _run_safely(self, run_id: str) -> None:
        try:
            with alone(
                self.store.run_folder(run_id) / "lock"
            ):  # a worker of a killed server may be at its last step
                run = self.store.run(run_id)
                if run.status in ("queued", "running"):
                    self._run(run_id)
                else:  # done by another
                    say(run=run_id, status=run.status, seconds=run.seconds, message=run.message, version=-1)
        except TROUBLE as error:
            self._end(run_id, "failed", _sentence(error))

    def _run(self, run_id: str) -> None:
        config = self.store.run(run_id).config
        self.store.update(run_id, status="running", started=time.time())

        def tell(message: str) -> None:
            say(run=run_id, status="running", message=message)

        def ask() -> str | None:
            return self.wishes.get(run_id) or self.wishes.get("*")

        folder, digest = self.store.run_folder(run_id), config.digest()
        every, most = limit("CHECKPOINT_SECONDS"), run_seconds()
        live = Live(folder, partial(say, run=run_id), ask, digest=digest, every=every, most=most)
        resume = read_checkpoint(folder, digest)
        done: Done | None = None
        with contextlib.suppress(StopIteration):  # stopped where nothing is there to be kept
            done = work(config, self.store, live, tell, resume)
        if done is None or live.wish in ("cancel", "park"):
            if ask() != "park":
                self._end(run_id, "cancelled", "")
            return
        live.close()
        metrics = None if done.reference is None else quality(done.reference, done.result.volume)
        message = f"It reached the {most / 60:g} minutes that a run may take here." if live.late else ""
        self.store.save_result(run_id, done.result, metrics, done.device, message)
        drop_checkpoint(folder)
        say(run=run_id, status=done.result.status, seconds=done.result.seconds, message=message, version=-1)
        with contextlib.suppress(ValueError, OSError):  # a bad limit is told on Runs; the run itself is done
            evict(self.store, limit_bytes())

    def _end(self, run_id: str, status: str, message: str) -> None:
        with contextlib.suppress(ValueError):  # deleted meanwhile
            self.store.update(run_id, status=status, message=message)
            drop_checkpoint(self.store.run_folder(run_id))
        say(run=run_id, status=status, message=message)


def warm_up() -> None:
    """Compile the projector's kernels, or load them from numba's cache, before somebody waits for them."""
    for beam, analytic in (("parallel", "fbp"), ("cone", "fdk")):
        prepared = prepare(ScanConfig("phantom:shepp-logan", (4, 16, 16), beam, num_views=4, same_grid=True))
        for method in (analytic, "sirt"):
            reconstruct(method, prepared.A, prepared.measurement, params=make_params(method))


def say(**event: Any) -> None:
    with contextlib.suppress(
        BrokenPipeError
    ):  # the server is gone; that stdin ended with it is heard in a moment
        print(json.dumps(event), flush=True)


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError) or "alloc" in str(error).lower():
        return "There was not enough memory for this run; use a smaller grid or fewer views."
    return str(error) or type(error).__name__


def main() -> None:
    torch.set_num_threads(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    worker = Worker(RunStore(sys.argv[1]))
    threading.Thread(target=worker.listen, daemon=True).start()
    warm_up()
    say(status="ready")
    worker.serve()


if __name__ == "__main__":
    main()
