"""The queue on a real dask scheduler with three worker processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tomopatch.execution.queue import RunQueue, wait
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.store.store import RunStore
from tomopatch.studies.sweep import SweepConfig, look_up

pytest.importorskip("distributed")
pytestmark = pytest.mark.slow

SCAN = ScanConfig("phantom:spheres", (8, 32, 32), num_views=8, same_grid=True)
SWEEP = SweepConfig(
    SCAN, ("sirt", "cgls"), num_views=(4, 5, 6, 8, 10), photons=(None, 1e3, 1e4, 1e5),
    params={"sirt": {"num_iterations": 60}},
)  # fmt: skip


@pytest.fixture
def scheduler(tmp_path, monkeypatch):
    """Address of a scheduler with three workers of one thread each."""
    monkeypatch.setenv("TOMOPATCH_CHECKPOINT_SECONDS", "0")
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    place = ["--scheduler-file", str(tmp_path / "scheduler.json"), "--no-dashboard"]
    commands = [
        ["distributed.cli.dask_scheduler", "--port", "0", "--host", "127.0.0.1", *place],
        ["distributed.cli.dask_worker", "--nworkers", "3", "--nthreads", "1", *place],
    ]
    with (tmp_path / "log.txt").open("w") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", *command], env=environment, stdout=log, stderr=log, cwd=tmp_path
            )
            for command in commands
        ]
        from distributed import Client

        with Client(
            scheduler_file=str(tmp_path / "scheduler.json"), timeout=120, set_as_default=False
        ) as client:
            client.wait_for_workers(3, timeout=300)
            monkeypatch.setenv("TOMOPATCH_SCHEDULER", client.scheduler.address)
            yield client
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(60)


def test_a_sweep_of_forty_cells_survives_the_death_of_a_worker(scheduler, tmp_path):
    store = RunStore(tmp_path / "store")
    queue = RunQueue(store)
    try:
        ids = [queue.submit(cell, background=True) for cell in SWEEP.cells()]
        assert len(set(ids)) == 40
        begun = set()
        while len(begun) < 6:
            begun = {i for i in ids if queue.progress(i).status != "queued"}
            time.sleep(0.05)
        pids = scheduler.run(os.getpid)
        assert len(set(pids.values())) == 3
        busy = next(address for address, tasks in scheduler.processing().items() if tasks)
        os.kill(pids[busy], signal.SIGKILL)
        assert {wait(queue, i, timeout=900).status for i in ids} == {"done"}
        runs = store.runs()
        assert len(runs) == 40  # nothing lost
        assert all(cell.done for cell in look_up(SWEEP, runs))
        assert sum(r.attempts for r in runs) == 40 + sum(r.lost for r in runs)  # nothing done twice
        assert sum(r.lost for r in runs) <= 1
        assert [queue.submit(cell) for cell in SWEEP.cells()] == ids
    finally:
        queue.close()


def test_runs_on_a_cluster_can_be_watched_finished_and_cancelled(scheduler, tmp_path):
    store = RunStore(tmp_path / "store")
    queue = RunQueue(store)
    try:
        ids = [queue.submit(RunConfig(SCAN, "tv", {"num_iterations": n})) for n in (2000, 1999, 1998, 1997)]
        while min(queue.progress(i).i for i in ids[:3]) < 3:  # three at once
            time.sleep(0.05)
        assert queue.progress(ids[3]).status == "queued"
        assert queue.progress(ids[3]).position == 1
        assert queue.preview(ids[0])["x"].shape == (8, 32, 32)
        queue.cancel(ids[3])
        assert queue.progress(ids[3]).status == "cancelled"
        queue.finish(ids[0])
        queue.cancel(ids[1])
        queue.cancel(ids[2])
        assert wait(queue, ids[0], timeout=300).status == "stopped"
        assert store.result(ids[0]).volume.shape == (8, 32, 32)
        assert {wait(queue, i, timeout=300).status for i in ids[1:3]} == {"cancelled"}
        assert store.run(ids[3]).attempts == 0
    finally:
        queue.close()


def test_a_missing_scheduler_is_reported(tmp_path, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_SCHEDULER", "nonsense://nowhere:1")
    with pytest.raises(ValueError, match="TOMOPATCH_SCHEDULER"):
        RunQueue(RunStore(tmp_path / "store"))
