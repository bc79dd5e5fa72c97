"""How long each step of the lessons computes on this machine: `python -m tests.bench.lessons [LESSON ...]`.

Each step's runs (and the whole curve, where it opens one) are queued as the app does it, in an empty store with workers that are up, so
that nothing is there already. What a browser adds is a second or less: `tests.bench.controls`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from typing import Any

from core.runs.config import RunConfig, ScanConfig
from core.runs.jobs import JobQueue, wait
from core.runs.store import RunStore
from core.runs.sweep import VARIED, SweepConfig, read_values
from pages.ui.lessons import LESSONS, Step


def runs_of(step: Step) -> list[RunConfig]:
    """All that the step computes."""
    if not step.sweep:
        return list(step.runs)
    lists: dict[str, Any] = {name: read_values(name, step.sweep[name]) for name in VARIED}
    return SweepConfig(step.scan, tuple(step.sweep["methods"].split(",")), **lists).cells()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        queue = JobQueue(RunStore(folder))
        small = ScanConfig("phantom:shepp-logan", (16, 32, 32), num_views=8)
        warm = [RunConfig(small, method) for method in ("fbp", "sirt")]
        for run_id in [queue.submit(config) for config in warm]:
            wait(queue, run_id)
        for name in sys.argv[1:] or LESSONS:
            for number, step in enumerate(LESSONS[name].steps, 1):
                began = time.perf_counter()
                runs = runs_of(step)
                for run_id in [queue.submit(config, patient=bool(step.sweep)) for config in runs]:
                    wait(queue, run_id)
                methods = ", ".join(sorted({config.method for config in runs})) or "nothing"
                seconds = time.perf_counter() - began
                print(f"{name:14} step {number}: {seconds:5.1f} s, {len(runs)} runs ({methods})", flush=True)
        queue.close()


if __name__ == "__main__":
    main()
