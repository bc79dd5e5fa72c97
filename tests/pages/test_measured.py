"""Measured scans in the app: upload, geometry, views, runs, comparison, sweep, and links."""

import json
import zipfile
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest

from pages.ui.forms import measured_form, measured_upload_form
from pages.ui.session import engine, experiment_files, routes, state, volume_cache
from pages.ui.texts import labels
from pages.ui.texts.run_names import short_names
from tests.small_scans import GEOMETRY, small_projections
from tomopatch.execution.queue import wait
from tomopatch.runs.config import RunConfig
from tomopatch.runs.measured_scan import GivenGeometry, MeasuredScan


def texts(elements):
    return " ".join(e.value for e in elements)


def widget(found, name):
    return found(key=state.field(f"measured.{name}"))


@pytest.fixture
def digest():
    return engine.store().add_scan(small_projections())


@pytest.fixture
def scan(digest):
    return MeasuredScan(f"scan:{digest}", grid=(1, 36, 36), axis=34.0)


@pytest.fixture
def acquire(visit, scan):
    app = visit(scan=json.dumps(scan.to_json()))
    app.switch_page(routes.ACQUIRE).run()
    assert not app.exception
    return app


def npz_bytes(**arrays):
    out = BytesIO()
    np.savez(out, projections=small_projections().data.transpose(1, 0, 2), **arrays)
    return out.getvalue()


def upload(app, *files):
    app.switch_page(routes.ACQUIRE).run()
    app.segmented_control(key=state.field("kind")).set_value("measured").run()
    app.file_uploader(key=state.field("files.measured")).set_value(
        [(name, data, "application/octet-stream") for name, data in files]
    ).run()
    assert not app.exception
    return app


# ---- Acquire


def test_a_stored_scan_is_shown_with_its_geometry_and_no_simulated_settings(acquire, scan):
    assert state.SCAN in acquire.session_state
    assert acquire.session_state[state.SCAN] == scan
    said = texts(acquire.caption)
    assert "60 views of 1 × 72 pixels" in said
    assert "fan beam" in said
    assert "was measured" in said
    assert {m.label: m.value for m in acquire.metric} == {
        "Views used": "54 of 60",
        "Held out": "6",
        "Detector": "1 × 72",
        "Voxel": "2 mm",
    }
    keys = {w.key for w in (*acquire.toggle, *acquire.select_slider, *acquire.selectbox)}
    assert not keys & {state.field(name) for name in ("noise", "photons", "scanner", "grid")}


def test_an_upload_with_a_geometry_file_becomes_the_scan(app):
    data = npz_bytes(quantity="counts", white_level=1.001e4)  # equal scans are stored once
    upload(app, ("mine.npz", data), ("geometry.json", json.dumps(GEOMETRY).encode()))
    assert not app.error
    chosen = app.session_state[state.SCAN]
    assert isinstance(chosen, MeasuredScan)
    assert chosen.axis == pytest.approx(34.0, abs=0.1)  # estimated
    stored = engine.store().scan(chosen.file_digest)
    assert stored.src_det_dist == 150
    assert stored.name == "mine.npz"


def test_a_missing_quantity_and_missing_angles_are_asked_for(app):
    upload(app, ("bare.npz", npz_bytes()))
    assert "does not state what its values are" in texts(app.error)
    widget(app.selectbox, "quantity").set_value("counts").run()
    assert "Counts without object" in texts(app.error)
    widget(app.number_input, "white").set_value(1e4).run()
    assert "Angle step" in texts(app.error)
    widget(app.number_input, "step").set_value(6.0).run()
    widget(app.segmented_control, "beam").set_value("cone").run()
    assert "both distances" in texts(app.error)
    widget(app.number_input, "src_orig").set_value(100.0).run()
    widget(app.number_input, "src_det").set_value(150.0).run()
    widget(app.number_input, "pixel").set_value(1.5).run()
    assert not app.error
    assert not app.exception
    chosen = app.session_state[state.SCAN]
    assert chosen.given == GivenGeometry("cone", 0.0, 6.0, False, False, (1.5, 1.5), 100.0, 150.0)
    assert chosen.axis == pytest.approx(34.0, abs=0.1)


def test_a_zip_of_images_is_read(app):
    tifffile = pytest.importorskip("tifffile")
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for k in range(4):
            image = BytesIO()
            tifffile.imwrite(image, np.full((3, 20), 100 + k, np.uint16))
            archive.writestr(f"view{k}.tif", image.getvalue())
    geometry = {"quantity": "line_integrals", "angle_step_deg": 45}
    upload(app, ("stack.zip", out.getvalue()), ("side.json", json.dumps(geometry).encode()))
    assert "4 views of 3 × 20 pixels" in texts(app.caption)


def test_a_file_without_projections_is_refused_with_a_reason(app):
    upload(app, ("notes.npz", b"this is no scan" * 100))
    assert "Nothing was loaded" in texts(app.error)


def test_a_server_without_uploads_offers_stored_scans_only(app, digest, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_READ_ONLY", "1")
    app.switch_page(routes.ACQUIRE).run()
    app.segmented_control(key=state.field("kind")).set_value("measured").run()
    assert not app.exception
    assert not app.file_uploader
    assert "no uploads" in texts(app.info)
    assert app.selectbox(key=state.field(measured_upload_form.CHOSEN)).value in {
        s.digest for s in engine.store().scans()
    }


def test_views_axis_and_corrections_change_the_scan(acquire, scan):
    widget(acquire.select_slider, "views").set_value(27).run()
    widget(acquire.number_input, "column").set_value(33.5).run()
    widget(acquire.number_input, "hold_out").set_value(5).run()
    widget(acquire.selectbox, "stripes").set_value("on").run()
    chosen = acquire.session_state[state.SCAN]
    assert (chosen.num_views, chosen.axis, chosen.hold_out, chosen.stripes) == (27, 33.5, 5, True)
    assert acquire.metric[0].value == "27 of 60"
    assert acquire.metric[1].value == "12"
    widget(acquire.select_slider, "bin").set_value(2).run()
    assert "column 33.50" in texts(acquire.markdown)  # of the file, before pixels are averaged


def test_a_wrong_value_keeps_the_scan(acquire, scan):
    widget(acquire.number_input, "range").set_value(1.0).run()
    widget(acquire.number_input, "hold_out").set_value(60).run()
    assert not acquire.exception


def test_a_link_to_a_scan_that_is_not_stored_is_explained(visit):
    app = visit(scan=json.dumps({"source": "scan:0123456789abcdef"}))
    for page in (routes.RECONSTRUCT, routes.COMPARE, routes.WHAT_IF):
        app.switch_page(page).run()
        assert not app.exception
        assert "cannot be used" in texts(app.markdown)
    app.switch_page(routes.ACQUIRE).run()
    assert not app.exception
    assert "not stored here" in texts([*app.warning, *app.info])


def test_a_deleted_scan_leaves_the_list(app):
    digest = engine.store().add_scan(small_projections().subset(range(50)))
    app.switch_page(routes.ACQUIRE).run()
    app.segmented_control(key=state.field("kind")).set_value("measured").run()
    app.selectbox(key=state.field(measured_upload_form.CHOSEN)).set_value(digest).run()
    app.button(key="measured_delete").click().run()
    assert not app.exception
    assert digest not in {s.digest for s in engine.store().scans()}


# ---- runs


@pytest.fixture
def run_id(scan):
    run_id = engine.queue().submit(RunConfig(scan, "fdk"))
    assert wait(engine.queue(), run_id, timeout=180).status == "done"
    volume_cache.reference(scan).result(120)
    return run_id


def test_reconstruct_shows_the_held_out_error(visit, scan, run_id):
    app = visit(scan=json.dumps(scan.to_json()), run=run_id)
    app.switch_page(routes.RECONSTRUCT).run()
    assert not app.exception
    shown = {m.label: m.value for m in app.metric}
    assert shown["Held-out error"].endswith("%")
    assert "PSNR" not in shown


def test_compare_shows_a_marked_stand_in_and_no_reference(visit, scan, run_id):
    app = visit(scan=json.dumps(scan.to_json()), compare=run_id)
    app.switch_page(routes.COMPARE).run()
    assert not app.exception
    table = app.dataframe[0].value
    assert "Held-out error" in table
    assert "PSNR" not in table
    run = engine.store().run(run_id)
    assert table["Held-out error"][0] == pytest.approx(100 * run.measured.held_out_relative)
    assert "no reference" in texts(app.caption)
    download = app.selectbox(key=state.DOWNLOAD)
    assert labels.STAND_IN in download.options
    assert "Reference" not in download.options
    for analysis in ("Region", "Errors", "Noise"):
        app.segmented_control(key=state.field("compare.look")).set_value(analysis).run()
        assert not app.exception


def test_the_report_and_the_pages_of_runs_and_experiments_know_measured_scans(visit, scan, run_id):
    from pages.ui.compare import report

    run = engine.store().run(run_id)
    rows = report.scan_rows(scan, "mine")
    assert rows["Used views"] == "54 of 60"
    assert report.entry(run, "FDK").measured == run.measured
    app = visit(run=run_id)
    assert app.session_state[state.SCAN] == scan
    app.switch_page(routes.RUNS).run()
    assert not app.exception
    assert "Held-out" in app.dataframe[0].value
    experiment_files.check_volumes(experiment_files.Experiment(scan, (run.config,)))


def test_what_if_varies_the_views_of_the_scan(visit, scan):
    app = visit(scan=json.dumps(scan.to_json()), sweep=json.dumps({"num_views": "6, 18", "methods": "fdk"}))
    app.switch_page(routes.WHAT_IF).run()
    assert not app.exception
    keys = {w.key for w in app.text_input}
    assert state.field("sweep.num_views") in keys
    assert state.field("sweep.photons") not in keys
    app.session_state["_inside"] = True  # AppTest starts with the page alone; a click lasts for one run only
    app.button(key="sweep_start").click().run()
    for run in engine.store().runs():  # other tests leave unfinished runs behind
        if getattr(run.config, "scan", None) is not None and run.config.scan.source == scan.source:
            wait(engine.queue(), run.id, timeout=180)
    app.run()
    assert not app.exception
    table = next(d.value for d in app.dataframe if "Held-out error" in d.value)
    few, many = table.sort_values("Views")["Held-out error"]
    assert few > many > 0
    refused = visit(scan=json.dumps(scan.to_json()), sweep=json.dumps({"num_views": "600", "methods": "fdk"}))
    refused.switch_page(routes.WHAT_IF).run()
    assert "1 to 54 views" in texts(refused.error)


def test_what_if_shows_a_single_point_with_all_views(visit, scan, run_id):
    app = visit(scan=json.dumps(scan.to_json()), sweep=json.dumps({"methods": "fdk"}))
    app.switch_page(routes.WHAT_IF).run()
    assert not app.exception
    assert "1 of 1 done" in texts(app.caption)


def test_names_and_summaries(scan):
    few = replace(scan, num_views=9)
    names = short_names([RunConfig(scan, "fdk"), RunConfig(few, "fdk")])
    assert names == ["FDK, all views", "FDK, 9 views"]
    assert labels.scan_summary(replace(few, num_views=None, axis=None)) == (
        "measured, every 10th view held out, all others used"
    )
    assert labels.scan_summary(few) == "measured, 9 views, every 10th held out, axis at column 34"


def test_a_detector_of_few_rows_keeps_a_slice_per_row(monkeypatch):
    """Two rows in one slice would lose a quarter of their signal between the slice's centre and its edges."""
    offered = []

    def choose(_, options, **settings):
        offered.extend(options)
        return options[0]

    monkeypatch.setattr(measured_form.st, "selectbox", choose)
    measured_form.with_grid(MeasuredScan("scan:0123456789abcdef"), (2, 640, 640))
    assert {z for z, _, _ in offered} == {2}
    offered.clear()
    measured_form.with_grid(MeasuredScan("scan:0123456789abcdef"), (64, 640, 640))
    assert {z for z, _, _ in offered} > {64, 32}
