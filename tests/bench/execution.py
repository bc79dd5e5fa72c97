"""Server workers compared with an embedded dask cluster: `python -m tests.bench.execution` prints a table.

Both execute the same runs in the same store, with one worker process for each. The results are the time from
start to the first finished FBP, the latency of further FBP runs, the memory of all processes, and the time
until a run continues after its worker was killed.
"""

from __future__ import annotations

import contextlib
import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tomopatch.execution import worker_queue
from tomopatch.execution.cluster import ClusterQueue
from tomopatch.execution.worker_queue import WorkerQueue
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.store.store import RunStore

GRID = (16, 64, 64)
REPEATS = 10
ROUNDS = 3
PATIENCE = 300.0  # seconds


@dataclass
class Events:
    """Events that the workers reported, with their arrival times."""

    received: list[tuple[float, dict[str, Any]]] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def add(self, queue: Any, event: dict[str, Any]) -> None:
        if event.get("status") == "done":
            queue.remove(event["run"])
        with self.changed:
            self.received.append((time.perf_counter(), event))
            self.changed.notify_all()

    def wait(self, run_id: str, status: str, *, after: float = 0.0) -> float:
        """Return the time of the first event with this run and status later than `after`."""
        deadline = time.perf_counter() + PATIENCE
        with self.changed:
            while True:
                for when, event in self.received:
                    if when > after and event.get("run") == run_id and event.get("status") == status:
                        return when
                if not self.changed.wait(max(0.0, deadline - time.perf_counter())):
                    raise TimeoutError(f"{run_id} is not {status} after {PATIENCE:.0f} s")


@contextmanager
def own(store: RunStore, events: Events) -> Iterator[Any]:
    queue = WorkerQueue("fast", store.root, events.add, lambda queue, code: None)

    def restart(queue: WorkerQueue, code: int) -> None:
        for run_id in list(queue.runs):
            queue.send({"run": run_id})

    queue.on_exit = restart
    try:
        yield queue
    finally:
        queue.close()


@contextmanager
def dask(store: RunStore, events: Events) -> Iterator[Any]:
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0
    ) as cluster:
        queue = ClusterQueue(cluster.scheduler_address, store, events.add)
        try:
            yield queue
        finally:
            queue.close()


def memory_mb() -> float:
    """Resident memory of this process and its children, with shared pages counted once for each."""
    processes = [psutil.Process(), *psutil.Process().children(recursive=True)]
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_full_info().pss
    return total / 1e6


def measure(engine: Any) -> dict[str, float]:
    os.environ["TOMOPATCH_CHECKPOINT_SECONDS"] = "0"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        store, events = RunStore(Path(folder)), Events()
        before, began = memory_mb(), time.perf_counter()

        def submit(seed: int, method: str, **params: Any) -> tuple[str, float]:
            scan = ScanConfig("phantom:thorax", GRID, photons=1e5, seed=seed, same_grid=True)
            run_id = store.create(RunConfig(scan, method, params))
            now = time.perf_counter()
            queue.add(run_id)
            return run_id, now

        with engine(store, events) as queue:
            run_id, _ = submit(0, "fbp")
            first = events.wait(run_id, "done") - began
            latencies = []
            for seed in range(1, 1 + REPEATS):
                run_id, now = submit(seed, "fbp")
                latencies.append(events.wait(run_id, "done") - now)
            used = memory_mb() - before
            run_id, _ = submit(0, "sirt", num_iterations=2000)
            events.wait(run_id, "running")
            time.sleep(2)
            worker = max(psutil.Process().children(recursive=True), key=lambda p: p.memory_info().rss)
            os.kill(worker.pid, signal.SIGKILL)
            killed = time.perf_counter()
            again = events.wait(run_id, "running", after=killed) - killed
        return {
            "first FBP, s": first,
            "FBP, ms": 1000 * statistics.median(latencies),
            "memory, MB": used,
            "continues after kill -9, s": again,
        }


def main() -> None:
    for name in worker_queue.NICENESS:  # dask's workers run at normal priority too
        worker_queue.NICENESS[name] = 0
    measure(own)  # reads the files and compiles the kernels
    rounds = [(measure(own), measure(dask)) for _ in range(ROUNDS)]
    names = list(rounds[0][0])
    rows = {
        engine: {name: statistics.median(r[k][name] for r in rounds) for name in names}
        for k, engine in enumerate(("own", "dask"))
    }
    print(f"{'':<30}{'own':>10}{'dask':>10}{'ratio':>8}")
    for name in rows["own"]:
        a, b = rows["own"][name], rows["dask"][name]
        print(f"{name:<30}{a:>10.2f}{b:>10.2f}{b / a:>8.2f}")


if __name__ == "__main__":
    main()
