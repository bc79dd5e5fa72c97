"""Compare: regions, errors, calibration, gallery and address."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pages.ui.compare import comparison, table
from pages.ui.session import engine, routes, state, volume_cache
from tomopatch.analysis.errors import error
from tomopatch.analysis.metrics import quality
from tomopatch.analysis.regions import Region, region_quality
from tomopatch.execution.queue import wait
from tomopatch.geometry.field_of_view import inside_field_of_view
from tomopatch.reconstruct.diffusion.plan import Plan
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import RunConfig
from tomopatch.volume import MU_WATER

LOOK = state.field("compare.look")


@pytest.fixture
def small_scan(small_scan):
    return replace(small_scan, num_views=11)  # used by no other test


@pytest.fixture
def run_id(small_scan):
    run_id = engine.queue().submit(RunConfig(small_scan, "fbp"))
    assert wait(engine.queue(), run_id, timeout=120).status == "done"
    volume_cache.reference(small_scan).result(60)
    return run_id


@pytest.fixture
def compare(app, small_scan, run_id):
    app.session_state["_scan"] = small_scan
    app.switch_page(routes.COMPARE).run()
    assert not app.exception
    return app


def look(app, name):
    app.segmented_control(key=LOOK).set_value(name).run()
    assert not app.exception


def test_only_compared_methods_are_explained(compare):
    said = " ".join(caption.value for caption in compare.caption)
    assert METHODS["fbp"].summary in said
    assert METHODS["tv"].summary not in said


def test_region_table_matches_the_engine(compare, small_scan, run_id):
    look(compare, "Region")
    compare.number_input(key=state.field("region.size")).set_value(60.0).run()
    compare.segmented_control(key=state.field("region.kind")).set_value("box").run()
    assert not compare.exception
    table = compare.dataframe[1].value.set_index("Volume")
    reference = volume_cache.reference(small_scan).result()
    region = Region("box", (0.5, 0.5, 0.5), 60.0)
    found = region_quality(reference, volume_cache.result_volume(run_id), region)
    assert table["Mean"]["FBP"] == pytest.approx(found.mean)
    assert table["CNR"]["FBP"] == pytest.approx(found.contrast_to_noise)
    assert table["PSNR"]["FBP"] == pytest.approx(found.psnr)
    assert np.isnan(table["PSNR"]["Reference"])  # undefined for the reference itself


def test_a_truncated_scan_has_metrics_inside_its_field_of_view(compare, small_scan, run_id):
    assert not any("field of view" in m.value for m in compare.markdown)
    assert len(compare.dataframe) == 1
    narrow = replace(small_scan, det_shape=(12, 16))
    other = engine.queue().submit(RunConfig(narrow, "fbp"))
    assert wait(engine.queue(), other, timeout=120).status == "done"
    compare.session_state["_compared"] = (run_id, other)
    compare.run()
    assert not compare.exception
    assert any(m.value == "**Inside the field of view**" for m in compare.markdown)
    whole, inside = (table.value for table in compare.dataframe)
    assert inside["Part of the grid"][0] == 100
    assert 0 < inside["Part of the grid"][1] < 100
    assert inside["PSNR"][0] == pytest.approx(whole["PSNR"][0])
    vg = volume_cache.geometry(narrow)
    expected = quality(
        volume_cache.reference(narrow).result(),
        volume_cache.result_volume(other),
        inside=inside_field_of_view(vg, narrow.geometry(vg)),
    )
    assert inside["PSNR"][1] == pytest.approx(expected.psnr)
    assert inside["RMSE"][1] == pytest.approx(expected.rmse_hu)
    assert whole["PSNR"][1] == engine.store().run(other).metrics.psnr  # the stored metrics are unchanged


def test_reconstruct_repeats_the_warnings_of_acquire(app, small_scan, run_id):
    app.session_state["_scan"] = replace(small_scan, det_shape=(6, 16))
    app.switch_page(routes.RECONSTRUCT).run()
    assert not app.exception
    shown = " ".join(w.value for w in app.warning)
    assert "**Truncated.**" in shown
    assert "**Not measured.**" in shown
    app.session_state["_scan"] = small_scan
    app.switch_page(routes.RECONSTRUCT).run()
    assert not any("Truncated" in w.value or "Not measured" in w.value for w in app.warning)


def test_the_best_run_is_selected_for_download_until_another_is(compare, small_scan, run_id):
    better = engine.store().create(RunConfig(small_scan, "sirt", {"num_iterations": 3}))
    result, metrics = engine.store().result(run_id), engine.store().run(run_id).metrics
    engine.store().save_result(better, result, replace(metrics, psnr=metrics.psnr + 1), "cpu")
    assert compare.selectbox(key=state.DOWNLOAD).value == run_id
    compare.session_state["_compared"] = (run_id, better)
    compare.run()
    assert compare.selectbox(key=state.DOWNLOAD).value == better
    compare.selectbox(key=state.DOWNLOAD).set_value("reference").run()
    compare.run()
    assert not compare.exception
    assert compare.selectbox(key=state.DOWNLOAD).value == "reference"
    files = {b.proto.label: b.proto for b in compare.get("download_button")}
    assert {"NIfTI", "Picture (PNG)", "Experiment (JSON)", "Notebook"} <= set(files)


def test_a_region_smaller_than_a_voxel_is_explained(compare):
    look(compare, "Region")
    compare.number_input(key=state.field("region.size")).set_value(0.1).run()
    assert not compare.exception
    assert "choose another size" in compare.warning[0].value


@pytest.mark.parametrize("name", ["Errors", "Noise"])
def test_error_charts_are_drawn(compare, name):
    look(compare, name)
    assert len(compare.get("plotly_chart")) == 1


def test_calibration_requires_and_shows_a_deviation(compare, small_scan, run_id, monkeypatch):
    look(compare, "Calibration")
    assert not compare.get("plotly_chart")
    assert any("two samples" in m.value for m in compare.markdown)
    other = engine.store().create(RunConfig(small_scan, "sirt", {"num_iterations": 2}))
    result = engine.store().result(run_id)
    true = error(volume_cache.reference(small_scan).result(), result.volume).abs() + 1
    std = result.volume.with_data((true * MU_WATER / 1000).to(torch.float32))
    engine.store().save_result(other, replace(result, std=std), None, "cpu")
    shown = []
    monkeypatch.setattr(comparison, "viewer", lambda parts, *args, **options: shown.extend(parts))
    compare.run()
    assert not compare.exception
    assert [(p.name, p.of) for p in shown if p.kind == "heat"] == [("SIRT, deviation", "SIRT")]
    assert len(compare.get("plotly_chart")) == 1
    assert torch.allclose(volume_cache.result_std_hu(other).double(), true, rtol=1e-4)


def test_the_gallery_adds_and_removes_runs(compare, small_scan, run_id):
    other = engine.store().create(RunConfig(replace(small_scan, num_views=5), "fbp"))
    done = engine.store().result(run_id)
    engine.store().save_result(other, done, None, "cpu")
    compare.session_state["compare.gallery"] = True  # opened
    compare.session_state["_compared"] = (run_id,)
    compare.run()
    assert not compare.exception
    assert compare.button(key=f"gallery.{run_id}").label == "Leave out"
    assert compare.button(key=f"gallery.{run_id}").disabled  # the last one stays
    compare.button(key=f"gallery.{other}").click().run()
    assert compare.session_state["_compared"] == (run_id, other)
    compare.button(key=f"gallery.{other}").click().run()
    assert compare.session_state["_compared"] == (run_id,)


def test_many_runs_are_compared_and_stored_in_the_address(visit, small_scan, run_id, monkeypatch):
    done = engine.store().result(run_id)
    many = [engine.store().create(RunConfig(replace(small_scan, num_views=n), "fbp")) for n in range(20, 44)]
    for other in many:
        engine.store().save_result(other, done, None, "cpu")
    shown = []
    monkeypatch.setattr(comparison, "viewer", lambda parts, *args, **options: shown.extend(parts))
    app = visit(compare=",".join(many))
    app.switch_page(routes.COMPARE).run()
    assert not app.exception
    assert [p.name for p in shown] == ["Reference", *(f"FBP, {n} views" for n in range(20, 44))]
    assert len(app.dataframe[0].value) == len(many)
    assert app.query_params["compare"] in (",".join(many), [",".join(many)])


def test_the_cache_is_bounded_by_size():
    made = []

    @volume_cache.cache_by_size(10_000, len)
    def keep(name: str, size: int) -> bytes:
        made.append(name)
        return bytes(size)

    for name, size in [
        ("a", 3000),
        ("a", 3000),
        ("b", 3000),
        ("a", 3000),
        ("c", 3000),
        ("a", 3000),
        ("b", 3000),
    ]:
        assert len(keep(name, size)) == size
    assert made == ["a", "b", "c", "b"]  # c replaced b, because a was used more recently
    assert len(keep("large", 20_000)) == 20_000
    assert keep("a", 3000)
    assert made[-1] == "large"  # the large result replaced nothing


def test_remarks_of_a_plan_are_shown_once_with_the_names_of_their_runs(small_scan, monkeypatch):
    remarks = {"one": ("Voxels of 9 mm count as 5 mm.", "Lowered."), "two": ("Lowered.",), "three": None}
    stored = engine.store().run(engine.store().create(RunConfig(small_scan, "diffusion")))
    runs = []
    for said in remarks.values():
        plan = (
            None if said is None else Plan("restore", "scan", (1, 1, 1), (1, 1, 1), (), 0, None, None, said)
        )
        runs.append(replace(stored, plan=plan))
    shown = []
    monkeypatch.setattr(table.st, "caption", shown.append)
    table.table(runs, list(remarks), small_scan)
    assert shown[-2:] == ["**one.** Voxels of 9 mm count as 5 mm.", "**one; two.** Lowered."]
    engine.store().delete(stored.id)


def test_a_late_report_of_a_cleared_choice_changes_nothing(monkeypatch):
    """A lesson's step cleared the form while Compare was being refreshed."""
    taken = []
    monkeypatch.setattr(comparison.state, "set_compared", taken.append)
    for choice in (None, ["one"], []):
        monkeypatch.setattr(comparison.state, "value", lambda name, found=choice: found)
        comparison._take_chosen()
    assert taken == [["one"], []]


def test_the_initial_window_suits_the_volume():
    from pages.ui.viewer.slice_viewer import default_window

    assert default_window("volume:0123") == "soft tissue"
    assert default_window("phantom:geometric:0") == "full"
