"""Eviction, pins and thumbnails of runs; reproduction of results; memory of the server."""

import io
import json
import platform
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
from PIL import Image

from tomopatch import quality, reconstruct
from tomopatch.cli.main import main
from tomopatch.reconstruct.memory import HEAPS, give_back
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.prepare import prepare
from tomopatch.store.eviction import LIMIT, evict, limit_bytes, stored_runs, thumbnail
from tomopatch.store.store import RunStore
from tomopatch.studies.reproduction import reproduce

SCAN = ScanConfig("phantom:shepp-logan", (8, 32, 32), num_views=8, photons=1e5)


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "store")


def done(store, **changes):
    """Store a finished run."""
    config = RunConfig(replace(SCAN, **changes), "sirt", {"num_iterations": 3})
    prepared = prepare(config.scan)
    result = reconstruct("sirt", prepared.A, prepared.measurement, num_iterations=3)
    run_id = store.create(config)
    store.save_result(run_id, result, quality(prepared.reference, result.volume), "cpu")
    return run_id


def test_the_least_recently_used_runs_are_evicted(store):
    oldest, used, pinned, newest = (done(store, seed=s) for s in range(4))
    waiting = store.create(RunConfig(replace(SCAN, seed=9), "fbp"))
    store.update(pinned, pinned=True, created=0)
    time.sleep(0.02)
    store.result(used)  # used
    size = {k.run.id: k.size for k in stored_runs(store)}
    assert size[oldest] > 8 * 32 * 32 * 4
    assert evict(store, sum(size.values())) == []  # it fits
    assert evict(store, sum(size.values()) - 1) == [oldest]
    assert evict(store, 1.5 * size[used] + size[pinned] + size[waiting]) == [newest]
    assert evict(store, 0) == [used]
    assert {k.run.id for k in stored_runs(store)} == {pinned, waiting}


@pytest.mark.parametrize("text", ["0", "-1", "many", "nan"])
def test_an_invalid_limit_is_refused(monkeypatch, text):
    monkeypatch.setenv(LIMIT, text)
    with pytest.raises(ValueError, match="TOMOPATCH_STORE_LIMIT_GB must be a number"):
        limit_bytes()


def test_names_and_pins_are_stored(store):
    run_id = done(store)
    store.update(run_id, name="the <b>good</b> one", pinned=True)
    run = RunStore(store.root).run(run_id)
    assert (run.name, run.pinned) == ("the <b>good</b> one", True)


def test_thumbnails_show_the_middle_slice(store):
    run_id = done(store)
    picture = Image.open(io.BytesIO(thumbnail(store, run_id)))
    assert picture.size == (32, 32)
    hu = store.result(run_id).volume.hu[4].numpy()
    shown = np.asarray(picture, float)
    assert np.corrcoef(shown.ravel(), hu.clip(-1000, 400).ravel())[0, 1] > 0.99
    assert thumbnail(store, store.create(RunConfig(SCAN, "fbp"))) is None


def test_a_result_is_reproduced(store):
    run_id = done(store)
    found = reproduce(store, run_id, prior=lambda: None)
    assert found.equal
    assert found.same
    assert found.largest_hu == 0
    assert not found.changed
    assert store.made_with(run_id)["torch"]


def test_changed_results_and_versions_are_reported(store):
    run_id = done(store)
    volume = store.run_folder(run_id) / "volume.npy"
    data = np.load(volume)
    data[4, 16, 16] += 0.0192  # 1000 HU
    np.save(volume, data)
    made = store.made_with(run_id) | {"torch": "1.0"}
    store.update(run_id, made_with=made)
    found = reproduce(store, run_id, prior=lambda: None)
    assert not found.same
    assert found.largest_hu == pytest.approx(1000, rel=1e-3)
    assert found.changed["torch"][0] == "1.0"
    assert "differs by up to 1e+03 HU" in found.sentence()
    assert "torch 1.0 then" in found.sentence()


def test_only_completed_reconstructions_are_reproduced(store):
    for status, word in (("queued", "is queued"), ("stopped", "stopped early")):
        run_id = done(store)
        store.update(run_id, status=status)
        with pytest.raises(ValueError, match=word):
            reproduce(store, run_id, prior=lambda: None)


def test_the_command_reproduces_a_sweeps_runs(tmp_path, capsys):
    main(
        [
            "sweep",
            "phantom:shepp-logan",
            "--grid",
            "8x32x32",
            "--views",
            "8",
            "--methods",
            "fbp",
            "--out",
            str(tmp_path),
        ]
    )
    run_id = json.loads((tmp_path / "sweep.json").read_text())["cells"][0]["run"]
    capsys.readouterr()
    assert main(["reproduce", run_id, "--store", str(tmp_path / "store")]) == 0
    assert "equal" in capsys.readouterr().out
    assert main(["reproduce", "nothing", "--store", str(tmp_path / "store")]) == 2
    assert main(["reproduce", run_id, "--store", str(tmp_path / "elsewhere")]) == 2


glibc_only = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="other C libraries do not report their heaps"
)


@glibc_only
def test_freed_memory_is_returned_to_the_system():
    process = psutil.Process()
    pieces = [np.ones(1000) for _ in range(20_000)]  # 160 MB, each too small for a separate mapping
    keep = pieces[::100]  # between what is freed
    full = process.memory_info().rss
    del pieces
    give_back()
    assert process.memory_info().rss < full - 100e6
    assert all(piece.sum() == 1000 for piece in keep)


THREADS_AND_ARRAYS = """
import ctypes, sys, threading
import numpy as np, psutil
if sys.argv[1] == "spared":
    from tomopatch.reconstruct.memory import spare_memory
    spare_memory()
together = threading.Barrier(40)
def take():
    together.wait()
    kept = [bytearray(100) for _ in range(1000)]
    together.wait()
threads = [threading.Thread(target=take) for _ in range(40)]
[t.start() for t in threads]
[t.join() for t in threads]
for _ in range(3):  # as long as glibc learns, arrays of this size move to its heaps
    np.ones(1_000_000)
arrays, small = [], []
for _ in range(40):
    arrays.append(np.ones(250_000))
    small.append(bytearray(100_000))  # stays, between the arrays
full = psutil.Process().memory_info().rss
del arrays
print("returned", full - psutil.Process().memory_info().rss)
sys.stdout.flush()
libc = ctypes.CDLL("libc.so.6")
libc.fdopen.restype = ctypes.c_void_p
libc.malloc_info(0, ctypes.c_void_p(libc.fdopen(1, b"w")))
libc.fflush(None)
"""


@glibc_only
def test_a_server_keeps_few_heaps_and_no_large_arrays():
    """Measured by glibc (`malloc_info`) and by the system. Without the settings of the engine this fails."""

    def figures(how):
        command = [sys.executable, "-c", THREADS_AND_ARRAYS, how]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        return done.stdout.count("<heap nr="), int(done.stdout.split()[1])

    (heaps, returned), (many, little) = figures("spared"), figures("as it is")
    assert heaps <= HEAPS < many
    assert returned > 70e6 > little  # of 80 MB
