import json
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from tomopatch import METHODS, quality, reconstruct
from tomopatch.execution.execute import MAX_LOST_WORKERS
from tomopatch.execution.queue import RunQueue, wait
from tomopatch.export.files import dicom_zip_bytes, nifti_bytes, npz_bytes, png_bytes
from tomopatch.prior.files import SAMPLER
from tomopatch.reconstruct.diffusion.plan import Plan
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.measurements import read_measurement, write_measurement
from tomopatch.runs.prepare import prepare
from tomopatch.store.folders import default_root
from tomopatch.store.store import RunStore
from tomopatch.studies.compare import compare, write_comparison

SCAN = ScanConfig("phantom:shepp-logan", (8, 32, 32), num_views=8, photons=1e5)
LARGE = replace(SCAN, grid=(32, 96, 96), num_views=24)  # 2000 iterations take a minute or more


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "store")


@pytest.fixture
def queue(store):
    queue = RunQueue(store)
    yield queue
    queue.close()


def test_configs_survive_json_and_have_a_digest():
    run = RunConfig(SCAN, "sirt", {"num_iterations": 5})
    again = RunConfig.from_json(json.loads(json.dumps(run.to_json())))
    assert again == run
    assert again.digest() == run.digest()
    assert RunConfig(SCAN, "sirt", {"num_iterations": 6}).digest() != run.digest()
    assert RunConfig(SCAN, "sirt").digest() == RunConfig(SCAN, "sirt", {"nonnegative": True}).digest()


def test_the_digest_contains_the_prior_of_methods_that_need_one():
    usual, small = RunConfig(SCAN, "diffusion"), RunConfig(SCAN, "diffusion", prior="small")
    assert usual == RunConfig(SCAN, "diffusion", prior="base")
    assert small.digest() != usual.digest()
    assert RunConfig.from_json(json.loads(json.dumps(small.to_json()))) == small
    assert (
        RunConfig.from_json({"scan": SCAN.to_json(), "method": "diffusion", "params": {}}) == usual
    )  # before there was a choice
    assert RunConfig(SCAN, "sirt", prior="small") == RunConfig(SCAN, "sirt")


@pytest.mark.parametrize("prior", ["base", "small", ""])
def test_sampling_has_its_own_default_prior_and_any_choice_is_stored(prior):
    config = RunConfig(SCAN, "diffusion", {"mode": "posterior"}, prior=prior)
    assert config.prior == (prior or SAMPLER)
    assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    "prior", ["../small", "small.safetensors", "/etc/passwd", "a b", "x" * 70, 3, None, ["small"]]
)
def test_a_prior_is_a_name_and_not_a_file(prior):
    """Configs come from URLs and files and must not make the server open a path."""
    with pytest.raises(ValueError, match="prior"):
        RunConfig.from_json({"scan": SCAN.to_json(), "method": "diffusion", "prior": prior})


@pytest.mark.parametrize(
    "change",
    [
        {"beam": "fan"},
        {"num_views": 0},
        {"num_views": 2.5},
        {"angle_range": -1},
        {"angle_range": float("nan")},
        {"photons": 0},
        {"photons": float("inf")},
        {"seed": -1},
        {"grid": (0, 4, 4)},
        {"grid": (4096, 4096, 4096)},
        {"volume": "x"},
        {"source": 3},
        {"source": ""},
    ],
)
def test_invalid_scans_are_refused(change):
    with pytest.raises(ValueError, match=r"\w"):
        ScanConfig.from_json(SCAN.to_json() | change)


def test_a_phantom_is_scanned_at_twice_the_grid_by_default():
    finer, same = prepare(SCAN), prepare(ScanConfig(**{**SCAN.__dict__, "same_grid": True}))
    assert finer.reference.shape == same.reference.shape == (8, 32, 32)
    assert not torch.equal(finer.measurement.projections, same.measurement.projections)


def test_measurement_files_round_trip(tmp_path):
    prepared = prepare(SCAN)
    write_measurement(tmp_path / "m.npz", SCAN, prepared)
    A, m = read_measurement(tmp_path / "m.npz")
    assert torch.equal(m.projections, prepared.measurement.projections)
    assert torch.equal(m.weights, prepared.measurement.weights)
    assert A.vg == prepared.A.vg
    (tmp_path / "bad.npz").write_bytes((tmp_path / "m.npz").read_bytes()[:200])
    with pytest.raises(ValueError, match=r"bad\.npz"):
        read_measurement(tmp_path / "bad.npz")


def test_equal_volumes_are_stored_once(store):
    volume = prepare(SCAN).reference
    digest = store.add_volume(volume)
    assert store.add_volume(volume) == digest
    again = store.volume(digest)
    assert torch.equal(again.data, volume.data)
    assert again.geometry == volume.geometry
    assert [v.digest for v in store.volumes()] == [digest]
    scan = ScanConfig(f"volume:{digest}", num_views=4)
    assert prepare(scan, store).reference.shape == (8, 32, 32)


@pytest.mark.parametrize("name", ["../../etc", "..", "", "a/b", "x" * 200, "nothing"])
def test_names_never_leave_the_store(store, name):
    with pytest.raises(ValueError, match="in the store"):
        store.run(name)
    with pytest.raises(ValueError, match="in the store"):
        store.volume(name)


def test_results_can_be_read_after_a_restart(store):
    prepared = prepare(SCAN)
    result = reconstruct("sirt", prepared.A, prepared.measurement, num_iterations=4)
    config = RunConfig(SCAN, "sirt", {"num_iterations": 4})
    run_id = store.create(config)
    assert store.find(config) is None
    store.save_result(run_id, result, quality(prepared.reference, result.volume), "cpu")
    other = RunStore(store.root)
    assert other.find(config) == run_id
    loaded = other.result(run_id)
    assert torch.equal(loaded.volume.data, result.volume.data)
    assert loaded.residuals == result.residuals
    assert other.run(run_id).metrics == quality(prepared.reference, result.volume)
    other.delete(run_id)
    assert other.runs() == []
    assert {p.name.partition("-")[0] for p in store.root.iterdir()} == {
        "runs", "volumes", "index.sqlite", "state.lock",
    }  # fmt: skip


def test_a_stored_result_keeps_its_plan(store):
    """Remarks on clamped voxel sizes, for example, reach the user after a restart as well."""
    prepared = prepare(SCAN)
    result = reconstruct("fbp", prepared.A, prepared.measurement)
    coarse = Plan("restore", "scan", (8, 16, 16), (4.0, 4.0, 4.0), (0.2, 0.0), 0.0, 0.1, 0.2)
    plan = replace(coarse, grid=(16, 32, 32), remarks=("It treats 8 mm as 4.5 mm.",), coarse=coarse)
    run_id = store.create(RunConfig(SCAN, "fbp"))
    store.save_result(run_id, replace(result, plan=plan), None, "cpu")
    assert RunStore(store.root).result(run_id).plan == plan
    assert RunStore(store.root).run(run_id).plan == plan


def test_a_queued_run_equals_a_direct_one(real_workers, queue, store):
    config = RunConfig(SCAN, "sirt", {"num_iterations": 5})
    run_id = queue.submit(config)
    progress = wait(queue, run_id, timeout=120)
    assert progress.status == "done"
    assert progress.i == progress.total == 5
    assert len(progress.points) == 5
    prepared = prepare(SCAN)
    direct = reconstruct("sirt", prepared.A, prepared.measurement, num_iterations=5)
    torch.testing.assert_close(store.result(run_id).volume.data, direct.volume.data)
    assert queue.submit(config) == run_id  # the stored one, at once


def test_finish_keeps_the_iterate_and_cancel_drops_it(queue, store):
    long = {"num_iterations": 2000}
    first = queue.submit(RunConfig(LARGE, "sirt", long))
    second = queue.submit(RunConfig(LARGE, "tv", long))
    assert queue.progress(second).position == 1
    while queue.progress(first).i < 3:
        pass
    preview = queue.preview(first)
    assert preview["x"].dtype == np.int16
    assert preview["x"].shape == LARGE.grid
    queue.cancel(second)
    assert queue.progress(second).status == "cancelled"  # at once: its turn had not come
    queue.finish(first)
    done = wait(queue, first, timeout=60)
    assert done.status == "stopped"
    assert 3 <= done.i < 2000
    assert store.result(first).status == "stopped"
    with pytest.raises(ValueError, match="cancelled"):
        store.result(second)


def test_a_run_submitted_during_its_cancellation_is_a_new_run(queue):
    config = RunConfig(SCAN, "sirt", {"num_iterations": 1500})
    first = queue.submit(config)
    while queue.progress(first).i < 3:
        pass
    assert queue.submit(config) == first  # at work: shared
    worker = queue.worker_pids()["heavy"]
    os.kill(worker, signal.SIGSTOP)  # its answer to the cancel has to wait
    queue.cancel(first)
    second = queue.submit(config)
    os.kill(worker, signal.SIGCONT)
    assert second != first
    assert queue.submit(config) == second
    assert wait(queue, first, timeout=60).status == "cancelled"
    assert wait(queue, second, timeout=60).status == "done"


def test_a_run_that_kills_every_worker_fails_and_the_queue_continues(queue, store):
    first = queue.submit(RunConfig(LARGE, "sirt", {"num_iterations": 1999}))
    second = queue.submit(RunConfig(SCAN, "sirt", {"num_iterations": 3}))
    for lost in range(MAX_LOST_WORKERS):
        while queue.progress(first).status == "queued" or store.run(first).lost < lost:
            time.sleep(0.01)
        while "heavy" not in queue.worker_pids():  # the next worker has not been started yet
            time.sleep(0.01)
        os.kill(queue.worker_pids()["heavy"], signal.SIGKILL)
    failed = wait(queue, first, timeout=60)
    assert failed.status == "failed"
    assert "killed" in failed.message
    assert f"{MAX_LOST_WORKERS} times" in failed.message
    assert wait(queue, second, timeout=120).status == "done"


def test_impossible_runs_fail_with_a_message(queue):
    run_id = queue.submit(RunConfig(ScanConfig("phantom:nobody", (8, 32, 32)), "sirt"))
    progress = wait(queue, run_id, timeout=120)
    assert progress.status == "failed"
    assert "nobody" in progress.message


def test_a_comparison_is_written_completely(tmp_path):
    from contextlib import nullcontext

    prepared = prepare(SCAN)
    params = {name: method.params() for name, method in METHODS.items()}
    results = compare(
        prepared, ["fbp", "sirt"], params, prior=lambda: None, progress=lambda label: nullcontext()
    )
    report = write_comparison(tmp_path / "out", SCAN, prepared, results)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [
        "compare.json", "compare.png", "fbp.nii.gz", "sirt.nii.gz",
    ]  # fmt: skip
    stored = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert stored == report
    for m in stored["methods"].values():
        assert {"psnr", "ssim", "rmse_hu", "seconds", "peak_memory_mb", "status"} <= set(m)
    from tomopatch.io.nifti import read_nifti

    written = read_nifti(tmp_path / "out" / "sirt.nii.gz")
    # float32 HU and back: 1e-4 of water
    torch.testing.assert_close(written.data, results["sirt"].volume.data, atol=2e-6, rtol=1e-5)


def test_exported_files_can_be_read(tmp_path):
    volume = prepare(SCAN).reference
    (tmp_path / "v.nii.gz").write_bytes(nifti_bytes(volume))
    (tmp_path / "v.zip").write_bytes(dicom_zip_bytes(volume))
    from tomopatch import load_volume

    for name, tolerance in (("v.nii.gz", 0.01), ("v.zip", 0.51)):
        again = load_volume(tmp_path / name)
        torch.testing.assert_close(again.hu, volume.hu, atol=tolerance, rtol=0)
        assert again.geometry.voxel_size == pytest.approx(volume.geometry.voxel_size)
    (tmp_path / "v.npz").write_bytes(npz_bytes(volume))
    with np.load(tmp_path / "v.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["data"], volume.data.numpy())
        assert np.array_equal(arrays["hu"], volume.hu.numpy())
        assert arrays["voxel_size"] == pytest.approx(volume.geometry.voxel_size)
    assert png_bytes([("reference", volume)]).startswith(b"\x89PNG")


def test_deleting_a_cancelled_run_does_not_affect_others(queue, store):
    first = queue.submit(RunConfig(LARGE, "sirt", {"num_iterations": 1998}))
    second = queue.submit(RunConfig(LARGE, "sirt", {"num_iterations": 1997}))
    queue.cancel(second)
    store.delete(second)
    queue.cancel(first)
    assert wait(queue, first, timeout=60).status == "cancelled"
    third = queue.submit(RunConfig(SCAN, "sirt", {"num_iterations": 2}))
    assert wait(queue, third, timeout=60).status == "done"


def test_background_runs_give_way_and_all_finish(queue, store):
    """Background runs wait for all other runs, and a lost worker does not lose them."""
    first = queue.submit(RunConfig(LARGE, "sirt", {"num_iterations": 1996}), background=True)
    cells = [queue.submit(RunConfig(SCAN, "sirt", {"num_iterations": n}), background=True) for n in (3, 4, 5)]
    assert queue.submit(RunConfig(SCAN, "sirt", {"num_iterations": 4}), background=True) == cells[1]
    asked = queue.submit(RunConfig(SCAN, "sirt", {"num_iterations": 6}))
    assert (
        queue.progress(asked).position < queue.progress(cells[0]).position < queue.progress(cells[2]).position
    )
    queue.cancel(cells[1])
    while queue.progress(first).status == "queued":
        time.sleep(0.01)
    os.kill(queue.worker_pids()["heavy"], signal.SIGKILL)
    while store.run(first).lost == 0:
        time.sleep(0.01)
    queue.cancel(first)
    assert wait(queue, first, timeout=120).status == "cancelled"
    for run_id in (asked, cells[0], cells[2]):
        assert wait(queue, run_id, timeout=120).status == "done"
    assert queue.progress(cells[1]).status == "cancelled"
    started = [
        json.loads((store.run_folder(r) / "state.json").read_text())["started"] for r in (asked, cells[0])
    ]
    assert started[0] < started[1]


def test_an_invalid_limit_of_the_store_does_not_fail_a_run(store, monkeypatch):
    """Eviction follows the run and cannot fail it."""
    monkeypatch.setenv("TOMOPATCH_STORE_LIMIT_GB", "plenty")
    queue = RunQueue(store)
    try:
        run_id = queue.submit(RunConfig(SCAN, "sirt", {"num_iterations": 2}))
        assert wait(queue, run_id, timeout=120).status == "done"
        after = queue.submit(RunConfig(SCAN, "sirt", {"num_iterations": 3}))
        assert wait(queue, after, timeout=120).status == "done"
        assert queue.progress(run_id).status == store.run(run_id).status == "done"
    finally:
        queue.close()


def test_progress_of_old_runs_is_read_from_the_store(queue, store, monkeypatch):
    """A server executes thousands of runs, whose figures must not stay in memory."""
    monkeypatch.setattr("tomopatch.execution.queue.MAX_REMEMBERED", 1)
    ids = [queue.submit(RunConfig(SCAN, "sirt", {"num_iterations": n})) for n in (2, 3, 4)]
    before = [wait(queue, run_id, timeout=120) for run_id in ids]
    for run_id in ids:
        store.update(run_id, message="changed in the store")
    assert [queue.progress(run_id).message for run_id in ids] == ["changed in the store"] * 2 + [""]
    for run_id, n, was in zip(ids, (2, 3, 4), before, strict=True):
        now = queue.progress(run_id)
        assert (now.status, now.i) == (was.status, was.i) == ("done", n)


def test_runs_in_stores_of_earlier_versions_are_read(store):
    run_id = store.create(RunConfig(SCAN, "sirt"))
    path = store.run_folder(run_id) / "state.json"
    state = json.loads(path.read_text()) | {"patient": True, "begun": 2, "lost": 1, "kept_steps": 7}
    path.write_text(json.dumps(state))
    run = RunStore(store.root).run(run_id)
    assert (run.background, run.attempts, run.lost, run.kept_steps) == (True, 2, 1, 7)
    store.update(run_id, background=False, attempts=3)
    run = RunStore(store.root).run(run_id)
    assert (run.background, run.attempts) == (False, 3)


def test_the_default_store_is_in_the_data_folder_and_an_existing_one_is_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "earlier"))
    monkeypatch.setattr("platformdirs.user_data_path", lambda name, appauthor: tmp_path / "system" / name)
    assert default_root() == tmp_path / "system" / "tomopatch"
    (tmp_path / "earlier" / "tomopatch").mkdir(parents=True)
    assert default_root() == tmp_path / "earlier" / "tomopatch"
