"""Time to list and search a full store: `python -m tests.bench.store [RUNS]`.

Measured with the index, in a new process and again in the same one, and without it, from the runs' folders.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable

from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.store.store import RunStore


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    scan = ScanConfig("phantom:spheres", (16, 32, 32))
    configs = [RunConfig(scan, "sirt", {"num_iterations": 1 + i}) for i in range(count)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        first = RunStore(folder)
        ids = [first.create(config) for config in configs]
        for run_id in ids:
            first.update(run_id, status="done")
        store = RunStore(folder)
        report(f"list {count} runs, store opened anew", store.all_runs)
        report("list them again", store.all_runs)
        report("find one", lambda: store.find(configs[count // 2]))
        folders = RunStore(folder)
        report("list them from their folders", lambda: [folders.run(name) for name in ids])


def report(what: str, work: Callable[[], object]) -> None:
    began = time.perf_counter()
    work()
    print(f"{what:40} {1000 * (time.perf_counter() - began):8.1f} ms")


if __name__ == "__main__":
    main()
