"""Runs of the prior alone, and the stored files of every run, through the queue and its worker."""

import json
import math
import time
from dataclasses import replace

import pytest
import torch

from tests.conftest import TINY
from tomopatch import load_prior, quality, reconstruct
from tomopatch.execution.monitor import RunMonitor
from tomopatch.execution.progress import Progress
from tomopatch.execution.queue import RunQueue, wait
from tomopatch.execution.runner import run_config
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import BODY, GENERATOR
from tomopatch.prior.generation import generate
from tomopatch.prior.noise import add_noise, denoise
from tomopatch.prior.precond import Precond
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.prepare import prepare, reference_volume
from tomopatch.runs.prior import INPUTS, DenoiseConfig, GenerateConfig, read_config
from tomopatch.store.history import Point, read_history, read_trace
from tomopatch.store.store import RunStore
from tomopatch.volume import VolumeGeometry

GENERATED = GenerateConfig((16, 40, 40), (6.0, 8.0, 8.0), num_steps=6)
NOISY = DenoiseConfig("phantom:spheres", (16, 32, 32), sigma=0.3, seed=1)
SCAN = ScanConfig("phantom:spheres", (16, 32, 32), num_views=8, photons=1e5, same_grid=True)


@pytest.fixture(scope="module")
def queue(tmp_path_factory):
    queue = RunQueue(RunStore(tmp_path_factory.mktemp("store")))
    yield queue
    queue.close()


@pytest.mark.parametrize("config", [GENERATED, NOISY, RunConfig(SCAN, "sirt")], ids=lambda c: c.method)
def test_every_kind_of_run_survives_json(config):
    again = read_config(json.loads(json.dumps(config.to_json())))
    assert again == config
    assert again.digest() == config.digest()


def test_every_setting_changes_the_digest():
    others = [
        GenerateConfig(GENERATED.grid, GENERATED.voxel_size, 3, seed=1),
        GenerateConfig(GENERATED.grid, (6.0, 8.0, 7.0), 3),
        DenoiseConfig(NOISY.source, NOISY.grid, 0.3, 1, ("context",)),
        DenoiseConfig(NOISY.source, NOISY.grid, 0.2, 1),
        GENERATED,
        NOISY,
    ]
    assert len({c.digest() for c in others}) == len(others)


@pytest.mark.parametrize(
    "stored",
    [
        {"kind": "paint"},
        {"kind": "generate", "steps": 3},
        {"kind": "generate", "grid": [4096, 4096, 4096]},
        {"kind": "generate", "grid": [8, 8]},
        {"kind": "generate", "num_steps": 0},
        {"kind": "generate", "voxel_size": [0, 1, 1]},
        {"kind": "generate", "seed": -1},
        {"kind": "denoise", "source": 3},
        {"kind": "denoise", "source": "phantom:thorax", "sigma": 0},
        {"kind": "denoise", "source": "phantom:thorax", "sigma": math.nan},
        {"kind": "denoise", "source": "phantom:thorax", "without": ["everything"]},
    ],
)
def test_invalid_runs_are_refused(stored):
    with pytest.raises(ValueError, match=r"\w"):
        read_config(stored)


def test_runs_of_earlier_versions_are_read():
    stored = GENERATED.to_json() | {"kind": "draw"}
    assert read_config(stored) == GENERATED
    without = read_config({"kind": "denoise", "source": "phantom:thorax", "without": ["surround"]})
    assert without.without == ("neighbourhoods",)
    denoise = {"kind": "denoise", "source": "phantom:solids:3"}
    reconstruct = {"scan": {"source": "phantom:solids"}, "method": "fbp"}
    assert read_config(denoise).source == "phantom:geometric:3"
    assert read_config(reconstruct).scan.source == "phantom:geometric"


def test_a_queued_generation_equals_a_direct_one(queue):
    run_id = queue.submit(GENERATED)
    progress = wait(queue, run_id, timeout=180)
    assert progress.status == "done"
    assert progress.i == progress.total == 6
    assert all(p.sigma for p in progress.points)
    geometry = VolumeGeometry(GENERATED.grid, GENERATED.voxel_size)
    direct = generate(load_prior(GENERATOR), geometry, body=load_prior(BODY), num_steps=6, seed=0)
    stored = queue.store.result(run_id)
    torch.testing.assert_close(stored.volume.data, direct.data)
    assert stored.volume.geometry == direct.geometry
    assert queue.store.run(run_id).metrics is None  # there is no truth to compare with
    assert queue.submit(GENERATED) == run_id
    assert run_id not in [run.id for run in queue.store.runs()]  # no reconstruction


def test_a_generation_can_be_replayed(queue):
    run_id = queue.submit(GENERATED)
    wait(queue, run_id, timeout=180)
    frames = read_history(queue.store.run_folder(run_id))
    assert [f.point.i for f in frames] == [1, 2, 3, 4, 5, 6]
    for frame in frames:
        assert set(frame.volumes) == {"noisy", "x"}
        assert frame.volumes["x"].shape == GENERATED.grid
    noise = [float(f.volumes["noisy"].std()) for f in frames]
    assert noise[0] > noise[1] > noise[2] > noise[3], "the noise falls"
    assert noise[3] < noise[4] < noise[0], "on the finer grid there is some again"
    assert [f.tiles is None for f in frames] == [True] * 5 + [False]  # those of other grids are not shown
    assert abs(frames[-1].volumes["x"] - queue.store.result(run_id).volume.hu.numpy()).max() <= 0.5


def test_a_queued_pass_denoises_and_is_measured(queue):
    run_id = queue.submit(NOISY)
    assert wait(queue, run_id, timeout=180).status == "done"
    clean = reference_volume(NOISY.scan)
    noisy = add_noise(clean, NOISY.sigma, seed=NOISY.seed)
    direct = denoise(load_prior(GENERATOR), noisy, NOISY.sigma, seed=NOISY.seed)
    torch.testing.assert_close(queue.store.result(run_id).volume.data, direct.data)
    metrics = queue.store.run(run_id).metrics
    assert metrics == quality(clean, direct)
    assert metrics.rmse_hu < 0.7 * quality(clean, noisy).rmse_hu


def test_a_run_uses_its_named_prior(queue):
    config = RunConfig(SCAN, "diffusion", {"num_steps": 1, "initial": "fbp"}, "small")
    run_id = queue.submit(config)
    assert wait(queue, run_id, timeout=180).status == "done"
    prepared = prepare(SCAN)
    direct = [
        reconstruct(
            "diffusion",
            prepared.A,
            prepared.measurement,
            num_steps=1,
            initial="fbp",
            prior=load_prior(name),
        )
        for name in ("small", "base")
    ]
    kept = queue.store.result(run_id).volume.data
    torch.testing.assert_close(kept, direct[0].volume.data)
    assert not torch.allclose(kept, direct[1].volume.data)
    assert queue.store.made_with(run_id)["weights"] == load_prior("small").info["digest"]


def test_a_prior_that_is_not_there_any_more_is_told_with_those_that_are(queue):
    run_id = queue.submit(RunConfig(SCAN, "diffusion", {"initial": "fbp"}, "gone"))
    progress = wait(queue, run_id, timeout=180)
    assert progress.status == "failed"
    assert "there is no prior 'gone'; known are" in progress.message
    assert queue.store.run(run_id).config.prior == "gone"  # and the run can still be listed


def test_switching_an_input_off_changes_the_answer(queue):
    """Only inputs that the weights were trained with can be switched off."""
    volumes = []
    trained = load_prior().config
    for without in ((), *((name,) for name in INPUTS if getattr(trained, f"use_{name}"))):
        config = DenoiseConfig(NOISY.source, NOISY.grid, NOISY.sigma, NOISY.seed, without)
        run_id = queue.submit(config)
        assert wait(queue, run_id, timeout=180).status == "done"
        volumes.append(queue.store.result(run_id).volume.data)
    for other in volumes[1:]:
        assert not torch.equal(volumes[0], other)


def test_finishing_a_generation_keeps_the_estimate_and_cancelling_drops_it(queue):
    finished, cancelled = (
        queue.submit(GenerateConfig(GENERATED.grid, GENERATED.voxel_size, 500, seed=s)) for s in (1, 2)
    )
    while queue.progress(finished).i < 2:
        time.sleep(0.02)
    queue.finish(finished)
    done = wait(queue, finished, timeout=60)
    assert done.status == "stopped"
    frames = read_history(queue.store.run_folder(finished))
    assert frames[-1].point.i == done.i
    assert abs(frames[-1].volumes["x"] - queue.store.result(finished).volume.hu.numpy()).max() <= 0.5
    while queue.progress(cancelled).i < 2:
        time.sleep(0.02)
    assert set(queue.preview(cancelled)) == {"noisy", "x"}
    queue.cancel(cancelled)
    assert wait(queue, cancelled, timeout=60).status == "cancelled"
    assert read_history(queue.store.run_folder(cancelled)) == []
    assert queue.preview(cancelled) is None


def test_an_expected_scan_neither_holds_up_nor_harms_what_is_asked_for(queue):
    queue.prepare(SCAN)
    queue.prepare(ScanConfig("phantom:nobody"))
    run_id = queue.submit(RunConfig(SCAN, "sirt", {"num_iterations": 2}))
    assert wait(queue, run_id, timeout=60).status == "done"
    queue.prepare(ScanConfig("phantom:nobody"))  # while the worker is idle
    run_id = queue.submit(RunConfig(SCAN, "sirt", {"num_iterations": 3}))
    assert wait(queue, run_id, timeout=60).status == "done"


def test_progress_within_a_pass_counts():
    """A pass over a large volume takes long, so the progress bar must move within it."""
    first = Progress("running", tiles_done=(3, 4))
    assert first.share == 0.75
    start = replace(first, points=(Point(100, 100, "initial"),))
    assert start.share == 0.75  # the start is done; this is the first pass
    second = replace(start, points=(*start.points, Point(1, 4)))
    assert second.share == pytest.approx(1.75 / 4)
    assert replace(second, tiles_done=None).share == 0.25
    assert Progress("queued").share == 0


@pytest.mark.parametrize(
    ("passes", "scan"),
    [(0, SCAN), (1, SCAN), (2, SCAN), (0, replace(SCAN, angle_range=90.0))],
    ids=["first", "second", "third", "coarse"],
)
@pytest.mark.parametrize("reason", ["cancel", "finish", "timeout"])
def test_a_run_stopped_within_a_pass_keeps_the_previous_estimate(tmp_path, reason, passes, scan):
    """An interrupted pass returns the estimate of the previous pass, or the initial reconstruction.

    With missing angles, the first passes are on a coarser grid.
    """
    store = RunStore(tmp_path)
    config = RunConfig(scan, "diffusion", {"num_steps": 3, "warm_start": "sirt"})
    run_id = store.create(config)

    class StoppedMonitor(RunMonitor):
        """Monitor with a stop request within the pass after `passes` passes."""

        def on_tiles(self, done, total):
            if sum(not p.stage for p in self.points) == passes:
                requests.append(reason)
                self.max_seconds = -1.0 if reason == "timeout" else self.max_seconds
            super().on_tiles(done, total)

    requests = []
    monitor = StoppedMonitor(
        store.run_folder(run_id),
        lambda **event: None,
        lambda: requests[-1] if requests and reason != "timeout" else None,
    )
    torch.manual_seed(0)
    prior = PatchPrior(Precond(replace(TINY, patch_size=16, smoothings=())))
    output = run_config(config, store, monitor, lambda message: None, None, lambda name: prior)
    assert len(requests) == 1  # it ended with the batch of the request
    assert monitor.stop_request == ("cancel" if reason == "cancel" else "finish")
    assert monitor.timed_out == (reason == "timeout")
    assert output.result.status == "stopped"
    assert sum(not p.stage for p in monitor.points) == passes
    if reason == "cancel":
        return  # a cancelled run has no result
    last = read_history(store.run_folder(run_id))[-1]
    assert last.point == monitor.points[-1]
    assert abs(last.volumes["x"] - output.result.volume.hu.numpy()).max() <= 0.5


def test_diffusion_reports_its_initial_reconstruction_and_its_passes_with_their_quality(queue):
    run_id = queue.submit(RunConfig(SCAN, "diffusion", {"num_steps": 2, "warm_start": "sirt"}))
    progress = wait(queue, run_id, timeout=180)
    assert progress.status == "done"
    start = [p for p in progress.points if p.stage == "initial"]
    passes = [p for p in progress.points if not p.stage]
    assert [p.i for p in passes] == [1, 2]
    assert start[-1].i == start[-1].total
    assert progress.points == (*start, *passes)
    assert progress.tiles is not None
    run = queue.store.run(run_id)
    assert passes[-1].psnr == pytest.approx(run.metrics.psnr, abs=1e-3)
    assert len(run.residuals) == 2  # of the method proper
    assert read_trace(queue.store.run_folder(run_id)) == progress.points
    frames = read_history(queue.store.run_folder(run_id))
    assert {tuple(f.volumes) for f in frames if f.point.stage} == {("x",)}
    assert {tuple(f.volumes) for f in frames if not f.point.stage} == {("noisy", "denoised", "x")}


def test_progress_within_a_pass_counts_for_passes_of_different_cost():
    done = tuple(Point(i, 4, work=work) for i, work in ((1, 0.1), (2, 0.3)))
    shares = [Progress("running", points=done, tiles_done=tiles).share for tiles in (None, (1, 4), (4, 4))]
    assert shares == pytest.approx([0.3, 0.35, 0.5])
