"""Temporary files of killed processes are removed, and those of live processes are not."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from tomopatch.execution.queue import RunQueue
from tomopatch.io.writing import fcntl
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.store.eviction import evict
from tomopatch.store.store import RunStore

pytestmark = pytest.mark.skipif(fcntl is None, reason="without file locks nothing is removed")

SCAN = ScanConfig("phantom:spheres", (4, 16, 16), num_views=4, same_grid=True)

WRITERS = {
    "array": "write_array(store.run_folder(run_id) / 'volume.npy', Slow())",
    "volume": "store.add_volume(load_volume('phantom:spheres', shape=(4, 8, 8)))",
    "run": "store.create(RunConfig(SCAN, 'fbp'))",
    "phantom": "store.phantom('phantom:spheres', (4, 8, 8))",
    "checkpoint": "write_checkpoint(store.run_folder(run_id), Checkpoint('', {'x': Slow()}, [], 0))",
}
"""Writers that hang while they write, and report it."""

SCRIPT = """
import json, os, signal, sys, time
import numpy as np
import tomopatch.store.store, tomopatch.store.uploads, tomopatch.store.checkpoint, tomopatch.io.writing
from tomopatch.store.checkpoint import Checkpoint, write_checkpoint
from tomopatch.store.store import RunStore
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.io.writing import write_array
from tomopatch.library import load_volume
SCAN = ScanConfig("phantom:spheres", (4, 16, 16), num_views=4, same_grid=True)
def hang(*args, **options):
    if hasattr(args[0], "write"):
        args[0].write(b"half")
        args[0].flush()
    print(os.getpid(), flush=True)
    time.sleep(1000)
class Slow:
    detach = cpu = lambda self: self
    numpy = lambda self: np.zeros(3)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # a killed writer is gone at once
for line in sys.stdin:  # a process per line, forked from this one, which has imported the engine
    if os.fork() == 0:
        root, run_id, writer = json.loads(line)
        store = RunStore(root)
        np.save = np.savez = hang
        tomopatch.store.uploads.write_array = tomopatch.store.store.write_array = hang
        if "create" in writer:
            import pathlib
            pathlib.Path.write_text = hang
        exec(writer)
"""


@pytest.fixture(scope="module")
def writers():
    """The program that forks the writers."""
    command = [sys.executable, "-c", SCRIPT]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        process.stdin.close()


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "store")


def parts(store):
    found = [*store.root.glob(".*"), *store.root.glob("*/.*"), *store.root.glob("*/*/.*")]
    return sorted(str(p.relative_to(store.root)) for p in found)


def aged(store):
    """Make all temporary files an hour old."""
    for name in parts(store):
        os.utime(store.root / name, (time.time() - 3600,) * 2)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_temporary_file_is_removed_once_its_writer_is_dead(store, writers, writer):
    run_id = store.create(RunConfig(SCAN, "sirt"))
    writers.stdin.write(json.dumps([str(store.root), run_id, WRITERS[writer]]) + "\n")
    writers.stdin.flush()
    pid = int(writers.stdout.readline())
    try:
        (part,) = parts(store)
        aged(store)
        store.remove_abandoned()
        assert parts(store) == [part]  # its writer lives
    finally:
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    evict(store, 1e9)
    assert parts(store) == []
    assert [run.id for run in store.runs()] == [run_id]


def test_a_server_removes_abandoned_files_when_it_starts(store):
    run_id = store.create(RunConfig(SCAN, "sirt"))
    store.update(run_id, status="cancelled")
    for folder in (".gone-0123abcd", ".new-volumes-0123abcd", ".new-runs-0123abcd"):
        (store.root / folder).mkdir()
        np.save(store.root / folder / "data.npy", np.zeros(1000))
    (store.run_folder(run_id) / "history").mkdir()
    for name in (".volume.npy.0123abcd", "history/.000-x.npy.0123abcd", "history/.index.json.0123abcd"):
        (store.run_folder(run_id) / name).write_bytes(b"half")
    kept = {
        store.root / ".own",
        store.run_folder(run_id) / ".hidden.txt",
        store.root / ".new-volumes-89abcdef",
    }
    for path in kept:  # a file of another program, and one that was just begun
        path.write_bytes(b"kept")
    for path in {*store.root.rglob(".*"), *store.root.glob(".*")} - {store.root / ".new-volumes-89abcdef"}:
        os.utime(path, (time.time() - 3600,) * 2)
    RunQueue(store).close()
    assert {*store.root.rglob(".*")} == kept
    assert [run.id for run in store.runs()] == [run_id]
