"""Runs of measured scans: stored scan files, views, corrections, held-out errors, and the stand-in."""

import json
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pytest
import torch

from tests.small_scans import scan_file, small_projections
from tomopatch import Projector, read_projections, reconstruct
from tomopatch.execution.execute import execute
from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.reconstruct.methods import make_params
from tomopatch.reconstruct.scaled import LIKE_WATER, reconstruct_scaled, water_factor
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.measured import (
    estimated_axis,
    full_geometry,
    prepare_measured,
    read_scan,
    selection,
    stand_in,
    stand_in_method,
    used_geometry,
)
from tomopatch.runs.measured_scan import GivenGeometry, MeasuredScan
from tomopatch.runs.resource_estimate import display_refusal, estimate, refusal
from tomopatch.runs.selection import Selection
from tomopatch.store.store import RunStore
from tomopatch.studies.experiment import Experiment
from tomopatch.studies.notebook import notebook
from tomopatch.studies.reproduction import reproduce
from tomopatch.studies.sweep import SweepConfig, look_up, run_sweep, table
from tomopatch.studies.sweep.plot import lines, plot_png
from tomopatch.volume import MU_WATER


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "store")


@pytest.fixture
def scan(store):
    """A stored scan: counts of 60 views in a fan beam, with the axis 1.5 columns off the middle."""
    return MeasuredScan(f"scan:{store.add_scan(small_projections())}", grid=(1, 48, 48), axis=34.0)


def done(store, config):
    run_id = store.create(config)
    events = []
    execute(store, run_id, lambda **event: events.append(event), lambda: None)
    assert events[-1]["status"] == "done", events[-1]
    return store.run(run_id)


# ---- stored scan files


def test_a_scan_is_stored_without_loss_and_once(store):
    p = small_projections()
    digest = store.add_scan(p)
    assert store.add_scan(replace(p, name="another name")) == digest
    again = store.scan(digest)
    assert np.array_equal(again.data, p.data)
    assert again.data.dtype == np.float32
    assert np.array_equal(again.angles, p.angles)
    assert (again.quantity, again.white, again.beam, again.name) == ("counts", 1e4, "cone", "scan.npz")
    assert again.pixel_size == (1.5, 1.5)
    (info,) = store.scans()
    assert (info.digest, info.name, info.shape) == (digest, "scan.npz", (1, 60, 72))


def test_another_geometry_is_another_scan(store):
    p = small_projections()
    assert store.add_scan(p) != store.add_scan(replace(p, src_det_dist=160.0))


def test_whole_counts_take_two_bytes_each(store):
    p = small_projections()
    digest = store.add_scan(replace(p, data=np.round(p.data)))
    with np.load(store.root / "scans" / digest / "data.npz") as file:
        assert file["data"].dtype == np.uint16


def test_a_deleted_or_damaged_scan_is_reported(store, scan):
    (store.root / "scans" / scan.file_digest / "data.npz").write_bytes(b"gone bad")
    with pytest.raises(ValueError, match="damaged"):
        store.scan(scan.file_digest)
    store.delete_scan(scan.file_digest)
    assert store.scans() == []
    with pytest.raises(ValueError, match="no measured scan"):
        full_geometry(scan, store)


def test_uploads_are_limited_and_can_be_disabled(store, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_SHARED", "1")
    monkeypatch.setenv("TOMOPATCH_STORE_LIMIT_GB", "0.00001")
    with pytest.raises(ValueError, match="no room"):
        store.add_scan(small_projections())
    monkeypatch.setenv("TOMOPATCH_READ_ONLY", "1")
    with pytest.raises(ValueError, match="no uploads"):
        store.add_scan(small_projections())


# ---- configuration


def test_a_config_survives_json_and_keeps_digests_of_simulated_runs(scan):
    run = RunConfig(replace(scan, num_views=9, given=GivenGeometry(pixel_size=(2.0, 2.0))), "sirt")
    again = RunConfig.from_json(json.loads(json.dumps(run.to_json())))
    assert again == run
    assert again.digest() == run.digest()
    simulated = RunConfig(ScanConfig("phantom:spheres", (8, 32, 32)), "fbp")
    assert isinstance(RunConfig.from_json(simulated.to_json()).scan, ScanConfig)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_views": 0}, "scan.num_views must be at least 1"),
        ({"photons": 1e5}, "scan has no field 'photons'"),
        ({"bin": "2"}, "scan.bin must be a whole number"),
        ({"source": "scan:../x"}, "scan.source"),
    ],
)
def test_wrong_values_are_refused_in_a_sentence(values, message):
    stored = {"scan": {"source": "scan:abc", **values}, "method": "sirt", "params": {}}
    with pytest.raises(ValueError, match="(?i)" + message):
        RunConfig.from_json(stored)


def test_errors_of_simulated_scans_are_unchanged():
    with pytest.raises(ValueError, match=r"^scan.num_views must be at least 1, got 0\.$"):
        RunConfig.from_json({"scan": {"source": "phantom:head", "num_views": 0}, "method": "sirt"})


# ---- views and geometry


def test_held_out_views_do_not_depend_on_the_used_ones():
    few, many = (Selection.of(60, hold_out=10, number=n) for n in (6, 54))
    assert few.held_out == many.held_out == (5, 15, 25, 35, 45, 55)
    assert len(few.used) == 6
    assert set(few.used) < set(many.used)
    assert not set(many.used) & set(many.held_out)
    gaps = np.diff(few.used)
    assert gaps.max() - gaps.min() <= 2


def test_more_views_than_there_are_are_refused(scan, store):
    with pytest.raises(ValueError, match="1 to 54 views, got 55"):
        used_geometry(replace(scan, num_views=55), store)


def test_an_angle_range_limits_the_used_views(scan, store):
    pg, _ = full_geometry(scan, store)
    views = selection(replace(scan, angle_range=90.0), pg)
    assert max(np.degrees(pg.angles[i]) for i in views.used) == pytest.approx(90, abs=6)
    assert views.held_out == selection(scan, pg).held_out


def test_a_given_geometry_replaces_that_of_the_file(store):
    digest = store.add_scan(replace(small_projections(), angles=None, beam=None, pixel_size=None))
    scan = MeasuredScan(f"scan:{digest}")
    with pytest.raises(ValueError, match="states no angles"):
        full_geometry(scan, store)
    given = GivenGeometry("cone", 10.0, 6.0, True, False, (1.5, 1.5), 100.0, 160.0)
    pg, grid = full_geometry(replace(scan, given=given), store)
    assert isinstance(pg, ConeBeam)
    assert np.degrees(pg.angles[:2]) == pytest.approx([-10, -16])
    assert (pg.src_det_dist, pg.pixel_size) == (160.0, (1.5, 1.5))
    assert grid.shape == (1, 72, 72)


def test_a_horizontal_axis_is_turned_upright(store):
    p = small_projections()
    across = replace(p, data=p.data.transpose(2, 1, 0).copy(), pixel_size=(1.5, 3.0))
    scan = MeasuredScan(f"scan:{store.add_scan(across)}", given=GivenGeometry(transposed=True))
    again = read_scan(scan, store)
    assert np.array_equal(again.data, p.data)
    assert again.pixel_size == (3.0, 1.5)


def test_the_axis_counts_columns_before_binning(scan, store):
    pg, _ = full_geometry(scan, store)
    binned, _ = full_geometry(replace(scan, bin=2), store)
    assert pg.det_offset[1] == pytest.approx(binned.det_offset[1])
    assert pg.det_offset[1] == pytest.approx(1.5 * (35.5 - 34.0))


def test_the_axis_is_estimated_in_columns_of_the_file(scan, store, one_thread):
    column, record = estimated_axis(replace(scan, axis=None), store)
    assert column == pytest.approx(34.0, abs=0.1)
    assert record["method"] == "consistency"


def test_an_axis_outside_the_detector_is_refused(scan, store):
    with pytest.raises(ValueError, match="from 0 to 71, got 99"):
        read_scan(replace(scan, axis=99.0), store)


# ---- runs


def test_a_run_stores_held_out_error_and_difference_but_no_metrics(scan, store, one_thread):
    many = done(store, RunConfig(scan, "fdk"))
    few = done(store, RunConfig(replace(scan, num_views=9), "fdk"))
    for run in (many, few):
        assert run.metrics is None
        assert run.measured is not None
    assert many.measured.difference_hu == pytest.approx(0, abs=0.1)  # the stand-in is FDK of the same views
    assert 0 < many.measured.held_out_relative < few.measured.held_out_relative
    assert few.measured.difference_hu > 1


def test_the_held_out_error_is_that_of_an_independent_projection(scan, store, one_thread):
    run = done(store, RunConfig(scan, "sirt", {"num_iterations": 20}))
    prepared = prepare_measured(scan, store)
    volume = store.result(run.id).volume
    measured = prepared.held_out.projections
    predicted = Projector(volume.geometry, prepared.held_out.geometry)(volume.data)
    relative = float((predicted - measured).norm() / measured.norm())
    assert run.measured.held_out_relative == pytest.approx(relative, rel=1e-4)


def test_a_wrong_axis_increases_the_held_out_error(scan, store, one_thread):
    right = done(store, RunConfig(scan, "fdk"))
    wrong = done(store, RunConfig(replace(scan, axis=31.0), "fdk"))
    assert wrong.measured.held_out_relative > 1.5 * right.measured.held_out_relative


def test_without_held_out_views_the_difference_remains(scan, store, one_thread):
    run = done(store, RunConfig(replace(scan, hold_out=None, num_views=12), "fdk"))
    assert run.measured.held_out_relative is None
    assert run.measured.difference_hu > 0


def test_a_run_can_be_reproduced(scan, store, one_thread):
    run = done(store, RunConfig(scan, "tv", {"num_iterations": 10}))
    assert reproduce(store, run.id, prior=lambda name: None).same


def test_the_stand_in_is_computed_once(scan, store, one_thread, monkeypatch):
    first = stand_in(replace(scan, num_views=9), store)
    monkeypatch.setattr("tomopatch.runs.measured.reconstruct", None)
    assert torch.equal(stand_in(scan, store).data, first.data)


def test_the_stand_in_of_a_limited_angle_is_iterative():
    angles = tuple(np.radians(np.arange(0, 90, 2.0)))
    assert stand_in_method(ParallelBeam(angles, (1, 40), (1.0, 1.0))) == "cgls"
    angles = tuple(np.radians(np.arange(0, 180, 2.0)))
    assert stand_in_method(ParallelBeam(angles, (1, 40), (1.0, 1.0))) == "fbp"


def test_methods_with_settings_for_water_do_not_depend_on_the_unit_of_length(scan, store, one_thread):
    """A tenth of the pixel size is ten times the attenuation, and the same picture."""
    small = replace(
        scan,
        given=GivenGeometry(pixel_size=(0.15, 0.15), src_orig_dist=10.0, src_det_dist=15.0),
    )
    volumes = []
    for config in (scan, small):
        prepared = prepare_measured(config, store)
        seen = []
        result = reconstruct_scaled(
            "tv",
            prepared.A,
            prepared.measurement,
            typical=prepared.typical,
            params=make_params("tv", {"num_iterations": 15}),
            callback=lambda step, seen=seen: seen.append(step.x.clone()),
        )
        assert torch.allclose(seen[-1], result.volume.data, rtol=1e-5)
        volumes.append(result.volume.data)
    assert float((volumes[1] / 10 - volumes[0]).abs().max()) < 0.1 * float(volumes[0].max())
    prepared = prepare_measured(small, store)
    unscaled = reconstruct(
        "tv", prepared.A, prepared.measurement, num_iterations=15, callback=lambda step: None
    ).volume.data
    assert not torch.allclose(unscaled, volumes[1], rtol=0.01)


def test_only_objects_unlike_water_are_scaled():
    assert water_factor("tv", MU_WATER * 1.9) == 1
    assert water_factor("tv", MU_WATER * 2 * LIKE_WATER[1]) == pytest.approx(0.25)
    assert water_factor("sirt", MU_WATER * 10) == 1
    assert water_factor("diffusion", 0.0) == 1


# ---- memory


def test_memory_is_estimated_and_limited(scan, store, monkeypatch):
    config = RunConfig(scan, "tv")
    assert estimate(config, store).grid == (1, 48, 48)
    assert refusal(config, store) == ""
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.001")
    assert "of memory" in refusal(config, store)
    assert "of memory" in display_refusal(replace(scan, grid=(40, 128, 128)), store)


# ---- sweeps, experiments, notebooks


def test_a_sweep_varies_the_used_views(scan, store, one_thread):
    sweep = SweepConfig(scan, ("fdk", "sirt"), num_views=(6, 27), params={"sirt": {"num_iterations": 10}})
    assert SweepConfig.from_json(json.loads(json.dumps(sweep.to_json()))) == sweep
    for cells in run_sweep(sweep, store, prior=lambda name: None, progress=lambda label: nullcontext()):
        last = list(cells)
    assert all(cell.done for cell in last)
    found = lines(sweep, last, "num_views")
    assert set(found) == {"FDK", "SIRT"}
    few, many = (row["held_out_relative"] for row in found["FDK"])
    assert few > many > 0
    assert "held_out_relative" in table(last).splitlines()[0]
    assert plot_png(sweep, last)[:4] == b"\x89PNG"
    assert look_up(sweep, store.runs())[0].run is not None


def test_a_sweep_cannot_vary_the_dose_of_a_measured_scan(scan):
    with pytest.raises(ValueError, match="fixed dose"):
        SweepConfig(scan, ("sirt",), photons=(1e4, 1e5))
    with pytest.raises(ValueError, match="fixed dose"):
        SweepConfig(scan, ("sirt",), effects={"tube.kvp": (80.0,)})


def test_an_experiment_keeps_a_measured_scan(scan):
    experiment = Experiment(scan, (RunConfig(scan, "fdk"),))
    assert Experiment.from_bytes(experiment.to_bytes()) == experiment


def test_a_notebook_repeats_a_run(scan, store, one_thread, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_STORE", str(store.root))
    run = done(store, RunConfig(scan, "sirt", {"num_iterations": 5}))
    cells = json.loads(notebook(run.config, name="scan"))["cells"]
    code = [cell["source"] for cell in cells if cell["cell_type"] == "code"]
    values = {}
    exec("\n".join([*code[:-2], code[-1]]), values)
    assert torch.equal(values["result"].volume.data, store.result(run.id).volume.data)
    quality = eval(code[-2], values)
    assert quality.held_out_relative == pytest.approx(run.measured.held_out_relative)


def test_a_file_can_be_read_stored_and_reconstructed(tmp_path, store, one_thread):
    path, geometry = scan_file(tmp_path)
    digest = store.add_scan(read_projections(path, geometry=geometry))
    scan = MeasuredScan(f"scan:{digest}", axis=34.0)
    assert done(store, RunConfig(scan, "fdk")).measured.held_out_relative < 0.2
