"""Full and read-only disks, missing folders and wrong clocks: clear messages, and no stored result is
lost.
"""

import errno
import os
import shutil
import subprocess
import sys
import time

import pytest
import torch

from tomopatch.execution.execute import execute
from tomopatch.execution.queue import RunQueue, wait
from tomopatch.io.writing import disk_sentence, write_array
from tomopatch.library import load_volume
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.store.eviction import thumbnail
from tomopatch.store.folders import StoreError
from tomopatch.store.store import DamagedRun, RunStore

pytestmark = pytest.mark.system

SCAN = ScanConfig("phantom:spheres", (4, 16, 16), num_views=4, same_grid=True)
MODULES = (
    "execution.monitor",
    "store.history",
    "store.checkpoint",
    "store.store",
    "store.uploads",
    "store.phantom_cache",
    "store.eviction",
)


def config(n=3):
    return RunConfig(SCAN, "sirt", {"num_iterations": n})


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "store")


@pytest.fixture
def one(store):
    """A run that finished before the fault."""
    run_id = store.create(config(2))
    assert done(store, run_id)[-1]["status"] == "done"
    return run_id


def done(store, run_id):
    """Execute a run and return its events."""
    events = []
    execute(store, run_id, lambda **event: events.append(event), lambda: None)
    return events


def refuse(code):
    def write(*args, **options):
        raise OSError(code, os.strerror(code))

    return write


def no_more_writing(monkeypatch, code, modules=MODULES):
    """Make all file writes of these modules fail."""
    for module in modules:
        for name in ("write_bytes", "write_array", "write_arrays"):
            monkeypatch.setattr(f"tomopatch.{module}.{name}", refuse(code), raising=False)


def test_a_full_disk_for_previews_does_not_stop_a_run(store, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_CHECKPOINT_SECONDS", "0")
    run_id = store.create(config())
    no_more_writing(monkeypatch, errno.ENOSPC, ("execution.monitor", "store.history", "store.checkpoint"))
    assert done(store, run_id)[-1]["status"] == "done"
    assert store.result(run_id).volume.shape == (4, 16, 16)


def test_a_full_disk_for_the_result_is_reported(store, one, monkeypatch):
    before = store.result(one).volume.data
    run_id = store.create(config())
    monkeypatch.setattr("tomopatch.store.store.write_array", refuse(errno.ENOSPC))
    last = done(store, run_id)[-1]
    assert last["status"] == store.run(run_id).status == "failed"
    assert "disk is full" in last["message"]
    assert "disk is full" in store.run(run_id).message
    assert torch.equal(store.result(one).volume.data, before)


def test_a_full_disk_loses_no_stored_result(store, one, monkeypatch):
    run_id = store.create(config())
    with monkeypatch.context() as full:
        no_more_writing(full, errno.ENOSPC)
        last = done(store, run_id)[-1]
        assert last["status"] == "failed"
        assert "disk is full" in last["message"]
        assert store.result(one).status == "done"
    assert RunStore(store.root).run(run_id).status == "queued"  # unchanged; the next server executes it
    assert done(store, run_id)[-1]["status"] == "done"


@pytest.mark.parametrize("what", ["run", "volume"])
def test_a_full_disk_leaves_no_partial_files(store, monkeypatch, what):
    volume = load_volume("phantom:spheres", shape=(4, 8, 8))
    before = sorted(p.name for p in store.root.iterdir())
    with monkeypatch.context() as full:
        full.setattr("pathlib.Path.write_text", refuse(errno.ENOSPC))
        with pytest.raises(OSError, match="space") as caught:
            store.create(config()) if what == "run" else store.add_volume(volume)
    assert "disk is full" in disk_sentence(caught.value)
    assert {p.name.partition("-")[0] for p in store.root.iterdir()} <= {*before, "index.sqlite"}
    assert store.all_runs() == []
    assert store.volumes() == []


def test_a_read_only_store_can_be_viewed(store, one, monkeypatch):
    no_more_writing(monkeypatch, errno.EROFS)
    monkeypatch.setattr("pathlib.Path.touch", refuse(errno.EROFS))
    reader = RunStore(store.root)
    assert [run.id for run in reader.all_runs()] == [one]
    assert reader.find(config(2)) == one
    assert reader.result(one).volume.shape == (4, 16, 16)
    assert thumbnail(reader, one).startswith(b"\x89PNG")
    with pytest.raises(OSError, match="Read-only") as caught:
        reader.update(one, name="new")
    assert "cannot be written" in disk_sentence(caught.value)
    assert reader.run(one).name == ""


def test_missing_folders_are_created_again(store, one):
    for name in ("runs", "volumes", "phantoms"):
        shutil.rmtree(store.root / name, ignore_errors=True)
    assert store.all_runs() == []
    assert store.find(config(2)) is None
    assert store.volumes() == []
    run_id = store.create(config())
    assert done(store, run_id)[-1]["status"] == "done"
    assert store.find(config()) == run_id
    digest = store.add_volume(load_volume("phantom:spheres", shape=(4, 8, 8)))
    assert [v.digest for v in store.volumes()] == [digest]


@pytest.mark.parametrize("name", ["volume.npy", "geometry.json"])
@pytest.mark.parametrize("left", [None, b"", b"{}", b"\x93NUMPY cut short", b"[" * 5000])
def test_a_damaged_result_is_reported_and_can_be_run_again(store, one, name, left):
    whole = store.result(one).volume
    path = store.run_folder(one) / name
    path.unlink()
    if left is not None:
        path.write_bytes(left)
    with pytest.raises(DamagedRun, match="run it again"):
        store.result(one)
    assert store.run(one).status == "failed"
    assert "damaged" in store.run(one).message
    assert store.find(config(2)) is None  # so that it is executed again
    again = store.create(config(2))
    assert done(store, again)[-1]["status"] == "done"
    assert torch.equal(store.result(again).volume.data, whole.data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"metrics": {"psnr": 30.0}},
        {"metrics": [1]},
        {"metrics": {"psnr": [], "ssim": 1, "rmse_hu": 1}},
        {"status": "?"},
        {"status": []},
        {"created": "now"},
        {"created": None},
        {"residuals": 7},
        {"seconds": {}},
        {"begun": [1]},
        {"attempts": [1]},
    ],
    ids=str,
)
def test_a_run_with_an_invalid_state_hides_no_other(store, one, wrong):
    bad = store.create(config())
    store.update(bad, **wrong)
    for other in (store, RunStore(store.root)):
        assert [run.id for run in other.all_runs()] == [one]
        with pytest.raises(ValueError, match="damaged"):
            other.run(bad)
    store.delete(bad)


def test_a_temporary_read_error_does_not_fail_a_run(store, one, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("tomopatch.store.store.np.load", refuse(errno.EIO))
        with pytest.raises(OSError, match="Input/output"):
            store.result(one)
    assert store.run(one).status == "done"
    store.result(one)


def test_a_clock_that_is_set_back_is_tolerated(store, one, monkeypatch):
    now = time.time()
    monkeypatch.setattr("tomopatch.store.store.time.time", lambda: now - 86_400)
    run_id = store.create(config())
    received = done(store, run_id)
    assert received[-1]["status"] == "done"
    seconds = [event["point"]["seconds"] for event in received if "point" in event]
    assert seconds == sorted(seconds)
    assert seconds[0] >= 0
    assert {run.id for run in store.all_runs()} == {one, run_id}
    assert (store.find(config()), store.find(config(2))) == (run_id, one)


def test_a_store_that_is_a_file_is_refused_with_advice(tmp_path):
    (tmp_path / "store").write_text("a file")
    with pytest.raises(StoreError, match=r"cannot be written.*TOMOPATCH_STORE") as caught:
        RunStore(tmp_path / "store")
    assert disk_sentence(caught.value) == str(caught.value)


def test_a_phantom_is_drawn_without_a_writable_cache(store, monkeypatch):
    fresh = load_volume("phantom:spheres", shape=(4, 8, 8))
    monkeypatch.setattr("tomopatch.store.phantom_cache.alone", refuse(errno.EROFS))
    assert torch.equal(store.phantom("phantom:spheres", (4, 8, 8)).data, fresh.data)
    assert not list((store.root / "phantoms").glob("*"))


def test_kernels_compile_without_a_writable_cache():
    """In a read-only installation without a home folder, numba refuses to cache its kernels."""
    program = """
from numba.core import caching
caching.CacheImpl._locator_classes = []
from tomopatch import Projector
from tomopatch.kernels import JIT
print(JIT["cache"])
"""
    command = [sys.executable, "-c", program]
    received = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert received.stdout == "False\n", received.stderr


def test_two_servers_on_one_store_execute_a_run_once(real_workers, store):
    first = RunQueue(store)
    second = None
    try:
        run_id = first.submit(RunConfig(SCAN, "sirt", {"num_iterations": 2000}))
        while first.progress(run_id).i < 5:
            assert first.progress(run_id).status in ("queued", "running")
        second = RunQueue(RunStore(store.root))  # takes it for a run of a dead server
        other = second.submit(config(4))
        for queue in (first, second):
            assert wait(queue, run_id, timeout=300).status == "done"
        assert wait(second, other, timeout=300).status == "done"
        run = store.run(run_id)
        assert (run.status, run.attempts, run.lost) == ("done", 1, 0)
        assert len(run.residuals) == 2000
        assert first.submit(config(4)) == other  # each sees the runs of the other
    finally:
        for queue in filter(None, (first, second)):
            queue.close()


def test_a_truncated_array_is_reported_as_a_full_disk(tmp_path, monkeypatch):
    def cut(file, data, **options):
        raise OSError("65536 requested and 9184 written")  # the message of numpy

    monkeypatch.setattr("numpy.save", cut)
    with pytest.raises(OSError, match="space") as caught:
        write_array(tmp_path / "a.npy", torch.zeros(3).numpy())
    assert "disk is full" in disk_sentence(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_on_a_full_disk_the_result_replaces_the_history(store, monkeypatch):
    run_id = store.create(config())
    history = store.run_folder(run_id) / "history"

    def write(path, data):
        if any(history.glob("*")):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_array(path, data)

    monkeypatch.setattr("tomopatch.store.store.write_array", write)
    assert done(store, run_id)[-1]["status"] == "done"
    assert store.result(run_id).volume.shape == (4, 16, 16)
    assert not any(history.glob("*"))


def test_an_arithmetic_error_is_reported_and_the_worker_survives(store, monkeypatch):
    run_id = store.create(config())

    def divide(*arguments):
        return 1 / 0

    monkeypatch.setattr("tomopatch.execution.execute.run_config", divide)
    last = done(store, run_id)[-1]
    assert last["status"] == store.run(run_id).status == "failed"
    assert "too large or too small to compute with (division by zero)" in last["message"]
