"""Limits of a server: each one produces a message, and memory estimates are close to the measured memory."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tomopatch.execution.execute import execute
from tomopatch.execution.queue import RunQueue, wait
from tomopatch.library import load_volume
from tomopatch.phantoms.catalogue import PHANTOMS
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.physics.effects import Effects, Tube
from tomopatch.reconstruct.memory import estimated_mb
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.limits import ADMINISTRATOR, DEFAULTS, limit
from tomopatch.runs.prior import GenerateConfig
from tomopatch.runs.resource_estimate import estimate, refusal
from tomopatch.store.store import RunStore

SCAN = ScanConfig("phantom:spheres", (16, 32, 32), num_views=8, same_grid=True)
LARGE = replace(SCAN, grid=(32, 96, 96), num_views=24)
LONG = {"num_iterations": 2000}  # a minute or more on the large grid


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "store")


class Tab:
    """The current visitor."""

    name = "a"

    def __call__(self):
        return self.name


@pytest.fixture
def queue(store):
    queue = RunQueue(store, visitor=Tab())
    yield queue
    queue.close()


@pytest.mark.parametrize("name", PHANTOMS)
def test_resources_of_every_phantom_can_be_estimated(store, name):
    scan = ScanConfig(f"phantom:{name}", (32, 64, 64), num_views=8)
    found = estimate(RunConfig(scan, "sirt"), store)
    assert found.grid == (32, 64, 64)
    assert refusal(RunConfig(scan, "sirt"), store) == ""


def test_queue_and_sessions_are_limited(queue, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_SESSION_RUNS", "2")
    monkeypatch.setenv("TOMOPATCH_QUEUE_LENGTH", "4")
    ids = [queue.submit(RunConfig(LARGE, "sirt", LONG)), queue.submit(RunConfig(LARGE, "tv", LONG))]
    third = queue.submit(RunConfig(SCAN, "cgls"))
    assert queue.progress(third).status == "failed"
    assert "You have 2 runs waiting" in queue.progress(third).message
    assert queue.store.run(third).message == queue.progress(third).message  # it can be read afterwards too
    assert queue.submit(RunConfig(LARGE, "sirt", LONG)) == ids[0]  # an existing run does not count
    queue.visitor.name = "b"
    ids.append(queue.submit(RunConfig(SCAN, "cgls", {"num_iterations": 99})))
    ids.append(queue.submit(RunConfig(SCAN, "cgls", {"num_iterations": 98})))
    assert {queue.progress(run_id).status for run_id in ids} <= {"queued", "running"}
    queue.visitor.name = "c"
    assert "queue is full: 4" in queue.progress(queue.submit(RunConfig(SCAN, "cgls"))).message
    queue.cancel(ids[1])
    assert queue.progress(queue.submit(RunConfig(SCAN, "cgls"))).status == "queued"
    for run_id in ids:
        queue.cancel(run_id)


def test_a_timed_out_run_keeps_its_current_estimate(store, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_RUN_MINUTES", "0.002")
    queue = RunQueue(store)
    try:
        run_id = queue.submit(RunConfig(LARGE, "sirt", LONG))
        progress = wait(queue, run_id, timeout=300)
        assert progress.status == "stopped"
        assert "0.002 minutes" in progress.message
        assert "0.002 minutes" in store.run(run_id).message
        assert 0 < progress.i < 2000
        assert store.result(run_id).volume.shape == LARGE.grid
    finally:
        queue.close()


def test_a_run_that_times_out_without_an_estimate_fails(store, monkeypatch):
    """An interrupted first pass from noise has no estimate."""
    monkeypatch.setenv("TOMOPATCH_RUN_MINUTES", "0.00001")
    run_id = store.create(GenerateConfig((16, 32, 32), (6.0, 8.0, 8.0), num_steps=4))
    execute(store, run_id, lambda **event: None, lambda: None)
    run = store.run(run_id)
    assert run.status == "failed"
    assert "minutes that a run may take here, before there was a volume" in run.message


def test_a_run_that_does_not_fit_is_refused_with_a_fitting_grid(store, queue, monkeypatch):
    large = RunConfig(ScanConfig("phantom:thorax", (256, 512, 512), num_views=60), "tv")
    mb = estimate(large, store).mb
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", f"{mb / 1000 + 1}")
    assert refusal(large, store) == ""
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", f"{mb / 4000}")
    run_id = queue.submit(large)
    message = queue.progress(run_id).message
    assert f"about {mb / 1000:.1f} GB" in message
    z, y, x = (int(n) for n in message.split("a grid of ")[1].split(" would")[0].split(" x "))
    fitting = RunConfig(ScanConfig("phantom:thorax", (z, y, x), num_views=60), "tv")
    assert estimate(fitting, store).mb <= mb / 4
    assert refusal(fitting, store) == ""
    assert max(z / 256, y / 512, x / 512) > 0.5  # not smaller than necessary
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.1")
    assert "smaller grid" in refusal(GenerateConfig((64, 128, 128)), store)


def test_resources_of_a_stored_volume_are_estimated_from_its_grid(store):
    digest = store.add_volume(load_volume("phantom:spheres", shape=(8, 32, 32)))
    own = RunConfig(ScanConfig(f"volume:{digest}", num_views=8), "sirt")
    assert estimate(own, store).grid == (8, 32, 32)
    assert estimate(RunConfig(ScanConfig("/somewhere.nii"), "sirt"), store) is None


@pytest.mark.parametrize("text", ["many", "-1", "nan"])
def test_invalid_limits_are_reported(queue, monkeypatch, text):
    monkeypatch.setenv("TOMOPATCH_QUEUE_LENGTH", text)
    with pytest.raises(ValueError, match="TOMOPATCH_QUEUE_LENGTH must be a number"):
        limit("QUEUE_LENGTH")
    assert "QUEUE_LENGTH" in queue.progress(queue.submit(RunConfig(SCAN, "sirt"))).message


def test_a_read_only_server_takes_no_volume(store, monkeypatch):
    volume = load_volume("phantom:spheres", shape=(4, 8, 8))
    monkeypatch.setenv("TOMOPATCH_READ_ONLY", "1")
    with pytest.raises(ValueError, match="no uploads"):
        store.add_volume(volume)
    assert store.volumes() == []


MEASURE = """
import json, os, sys
import torch
from tomopatch import load_prior, reconstruct
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import prepare
for method, params, grid, views in json.loads(sys.argv[1]):
    if os.fork():  # each in a process that has reserved nothing yet
        os.wait()
        continue
    torch.set_num_threads(2)
    beam, degrees = ("cone", 360.0) if method == "fdk" else ("parallel", 180.0)
    scan = ScanConfig("phantom:spheres", grid, beam, views, degrees, photons=1e5, same_grid=True)
    p = prepare(scan)
    prior = load_prior() if method == "diffusion" else None
    result = reconstruct(method, p.A, p.measurement, prior=prior, callback=lambda step: None, **params)
    print(json.dumps([method, p.reference.data.numel(), p.measurement.projections.numel(),
      result.peak_memory_mb]))
    sys.stdout.flush()
    os._exit(0)
"""
GRIDS = [((32, 96, 96), 20), ((64, 160, 160), 12), ((32, 96, 96), 90)]
FEW = {"num_iterations": 2}
PASS = {"num_steps": 1, "warm_start": "fbp", "mirror": False}


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="measures in forked processes")
def test_memory_estimates_are_accurate_within_a_factor():
    """The tolerance of 3 MB covers the libraries, which dominate in small runs."""
    cases = [(m, FEW, g, v) for m in ("sirt", "cgls", "tv") for g, v in GRIDS]
    cases += [(m, {}, g, v) for m in ("fbp", "fdk") for g, v in GRIDS]
    cases += [("diffusion", PASS, g, v) for g, v in GRIDS[:1]]
    started = time.monotonic()
    out = subprocess.run(
        [sys.executable, "-c", MEASURE, json.dumps(cases)], capture_output=True, text=True, check=True
    )
    rows = [json.loads(line) for line in out.stdout.splitlines()]
    assert len(rows) == len(cases), time.monotonic() - started
    for method, voxels, rays, peak in rows:
        estimated = estimated_mb(method, voxels, rays)
        assert estimated / 1.5 - 3 <= peak <= 1.5 * estimated + 3, (method, voxels, rays, peak, estimated)


def test_the_docs_list_every_limit():
    page = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text("utf-8")
    for name in (*(f"TOMOPATCH_{name}" for name in DEFAULTS), ADMINISTRATOR):
        assert f"| `{name}` |" in page, name


def test_effects_and_corrections_need_more_memory(tmp_path):
    store = RunStore(tmp_path)
    plain = ScanConfig("phantom:thorax", (64, 192, 192), num_views=400)
    hard = replace(plain, effects=Effects(tube=Tube()))
    corrected = replace(hard, corrections=Corrections(hardening=True))
    plain_mb, hard_mb, corrected_mb = (
        estimate(RunConfig(scan, "fbp"), store).mb for scan in (plain, hard, corrected)
    )
    source_mb = 4 * 8 * 64 * 192 * 192 / 2**20
    assert hard_mb > plain_mb + 2 * source_mb
    assert corrected_mb > hard_mb
