"""The worker process: takes runs one after the other and writes what they make into the store.

It is a program of its own (`python -m core.runs.worker STORE`), so that heavy work neither slows the server
down nor can take it with it. It reads JSON lines from stdin, {"run": ID}, {"cancel": ID} or {"finish": ID}, and
writes JSON lines to stdout: the progress of the run at hand. It ends when stdin does.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import threading
import time
from collections import deque
from typing import Any

import numpy as np
import torch

from core.metrics import quality
from core.prior.denoiser import load_prior
from core.progress import Step
from core.reconstruct.methods import METHODS, make_params, reconstruct
from core.runs.config import ScanConfig, prepare
from core.runs.store import RunStore, write_array
from core.volume import area_average, hu_from_mu

PREVIEW_EVERY = 0.3  # seconds between two previews
PREVIEW_VOXELS = 2**21


class Worker:
    """Runs what it is told to, in order."""

    def __init__(self, store: RunStore) -> None:
        self.store = store
        self.waiting: deque[str] = deque()
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
                for wish in ("cancel", "finish"):
                    if wish in command:
                        self.wishes[command[wish]] = wish
                self.changed.notify()
        with self.changed:
            self.closed = True
            self.wishes["*"] = "cancel"
            self.changed.notify()

    def serve(self) -> None:
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.waiting or self.closed)
                if self.closed:
                    return
                run_id = self.waiting.popleft()
                wish = self.wishes.pop(run_id, None)
            if wish is not None:
                self._end(run_id, "cancelled", "")
                continue
            try:
                self._run(run_id)
            except (ValueError, TypeError, MemoryError, OSError, RuntimeError) as error:
                self._end(run_id, "failed", _sentence(error))

    def _run(self, run_id: str) -> None:
        config = self.store.run(run_id).config
        self.store.update(run_id, status="running", started=time.time())
        say(run=run_id, status="running", i=0, total=0, message="Scanning the volume")
        prepared = prepare(config.scan, self.store)
        method = METHODS[config.method]
        prior = None
        if method.needs_prior:
            say(run=run_id, status="running", i=0, total=0, message="Loading the prior")
            prior = load_prior().at(prepared.reference.geometry.voxel_size)
        live = _Live(self, run_id)
        say(run=run_id, status="running", i=0, total=0, message="")
        result = reconstruct(
            config.method,
            prepared.A,
            prepared.measurement,
            params=make_params(config.method, config.params),
            prior=prior,
            callback=live,
        )
        if live.wish == "cancel":
            self._end(run_id, "cancelled", "")
            return
        metrics = quality(prepared.reference, result.volume)
        self.store.save_result(run_id, result, metrics, str(prepared.A.device))
        say(
            run=run_id,
            status=result.status,
            i=live.last,
            total=live.total,
            seconds=result.seconds,
            version=-1,
        )

    def _end(self, run_id: str, status: str, message: str) -> None:
        with contextlib.suppress(ValueError):  # deleted meanwhile
            self.store.update(run_id, status=status, message=message)
        say(run=run_id, status=status, message=message)


class _Live:
    """The callback of a run: tells progress, leaves previews, and stops when asked to."""

    def __init__(self, worker: Worker, run_id: str) -> None:
        self.worker, self.run_id = worker, run_id
        self.folder = worker.store.run_folder(run_id)
        self.wish: str | None = None
        self.started = time.perf_counter()
        self.shown = -math.inf
        self.version = self.last = self.total = 0

    def __call__(self, step: Step) -> None:
        self.last, self.total = step.i, step.total
        now = time.perf_counter()
        if now - self.shown >= PREVIEW_EVERY and step.i < step.total:
            self.shown = now
            self.version += 1
            parts = {"x": step.x, "noisy": step.noisy, "denoised": step.denoised}
            for name, volume in parts.items():
                if volume is not None:
                    write_array(self.folder / f"live-{name}.npy", preview(volume))
        say(
            run=self.run_id,
            status="running",
            i=step.i,
            total=step.total,
            seconds=now - self.started,
            residual=step.residual,
            sigma=step.sigma,
            version=self.version,
            message="",
        )
        self.wish = self.worker.wishes.get(self.run_id) or self.worker.wishes.get("*")
        if self.wish is not None:
            raise StopIteration


def warm_up() -> None:
    """Compile the projector's kernels, or load them from numba's cache, before somebody waits for them."""
    for beam, analytic in (("parallel", "fbp"), ("cone", "fdk")):
        prepared = prepare(ScanConfig("phantom:shepp-logan", (4, 16, 16), beam, num_views=4, same_grid=True))
        for method in (analytic, "sirt"):
            reconstruct(method, prepared.A, prepared.measurement, params=make_params(method))


def preview(x: torch.Tensor) -> np.ndarray:
    """A volume as int16 HU, reduced to at most PREVIEW_VOXELS."""
    shape = (x.shape[0], x.shape[1], x.shape[2])
    factor = 1
    while math.prod(-(-n // factor) for n in shape) > PREVIEW_VOXELS:
        factor += 1
    if factor > 1:
        z, y, w = (-(-n // factor) for n in shape)
        x = area_average(x, (z, y, w))
    return hu_from_mu(x).clamp(-32000, 32000).round().to(torch.int16).cpu().numpy()


def say(**event: Any) -> None:
    print(json.dumps(event), flush=True)


def _sentence(error: BaseException) -> str:
    if isinstance(error, MemoryError) or "alloc" in str(error).lower():
        return "There was not enough memory for this run; use a smaller grid or fewer views."
    return str(error) or type(error).__name__


def main() -> None:
    torch.set_num_threads(
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    if hasattr(os, "nice"):
        os.nice(15)  # the server answers first
    worker = Worker(RunStore(sys.argv[1]))
    threading.Thread(target=worker.listen, daemon=True).start()
    warm_up()
    say(status="ready")
    worker.serve()


if __name__ == "__main__":
    main()
