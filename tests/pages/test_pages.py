"""All pages with and without a scan, a complete FBP workflow, and the address."""

import json
import re
from dataclasses import replace

import pytest

from pages.ui.session import engine, routes, state
from tomopatch.execution.queue import wait
from tomopatch.export.files import nifti_bytes
from tomopatch.geometry.scanners import SCANNERS
from tomopatch.phantoms.catalogue import phantom
from tomopatch.runs.config import RunConfig, ScanConfig


def texts(app) -> str:
    """Return all texts of the page and the sidebar."""
    places = (app.main, app.sidebar)
    kinds = [k for p in places for k in (p.markdown, p.caption, p.error, p.info, p.warning)]
    return "\n".join(e.value for kind in kinds for e in kind)


@pytest.mark.parametrize("page", list(routes.TITLES))
def test_all_pages_open_without_a_scan(app, page):
    app.switch_page(page).run()
    assert not app.exception
    assert app.title[0].value
    assert "Not for diagnosis" in texts(app)


@pytest.mark.parametrize("page", [routes.RECONSTRUCT, routes.COMPARE])
def test_pages_without_input_explain_what_is_missing(app, page):
    app.switch_page(page).run()
    assert "yet" in texts(app)


def test_a_scan_is_reconstructed_with_fbp_and_compared(app, small_scan):
    app.session_state["_scan"] = replace(small_scan, grid=(10, 32, 32))  # no other test runs on this grid
    app.switch_page(routes.RECONSTRUCT).run()
    assert not app.exception
    run_id = app.session_state["_run"]
    assert wait(engine.queue(), run_id, timeout=120).status == "done"
    app.run()
    shown = {m.label: m.value for m in app.metric}
    assert float(shown["PSNR"].split()[0]) > 15
    app.switch_page(routes.COMPARE).run()
    assert not app.exception
    table = app.dataframe[0].value
    assert list(table["Method"]) == ["FBP"]
    assert table["PSNR"][0] == pytest.approx(float(shown["PSNR"].split()[0]), abs=0.01)


def test_a_link_restores_a_run_in_a_new_session(visit, small_scan):
    run_id = engine.queue().submit(RunConfig(small_scan, "sirt", {"num_iterations": 3}))
    assert wait(engine.queue(), run_id, timeout=120).status == "done"
    again = visit(scan=json.dumps(small_scan.to_json()), run=run_id)
    again.switch_page(routes.RECONSTRUCT).run()
    assert not again.exception
    assert again.session_state["_run"] == run_id
    assert again.number_input(key=state.field("sirt.num_iterations")).value == 3
    assert "SIRT (3 iterations): done" in texts(again)


@pytest.mark.parametrize(("page", "name"), [(routes.RECONSTRUCT, "run"), (routes.COMPARE, "compare")])
def test_an_address_with_a_run_alone_restores_its_scan(visit, small_scan, page, name):
    run_id = engine.store().create(RunConfig(small_scan, "sirt", {"num_iterations": 3}))
    app = visit(**{name: run_id})
    app.switch_page(page).run()
    assert not app.exception
    assert app.session_state["_scan"] == small_scan
    assert "There is no scan yet" not in texts(app)


def test_a_missing_run_in_the_address_is_reported(visit):
    app = visit(run="no-such-run")
    assert "_scan" not in app.session_state
    assert "not on this server" in app.toast[0].value


def test_an_address_cannot_open_files_of_the_server(visit):
    app = visit(scan=json.dumps({"source": "/etc"}))
    assert not app.exception
    assert "_scan" not in app.session_state
    assert "upload it" in app.toast[0].value


@pytest.mark.parametrize(("text", "plane"), [("coronal", "coronal"), ("oblique", "axial")])
def test_the_plane_is_stored_in_the_address(visit, small_scan, text, plane):
    app = visit(plane=text, scan=json.dumps(small_scan.to_json()))
    assert not app.exception
    assert app.query_params.get("plane", ["axial"]) in (plane, [plane])


@pytest.mark.parametrize("text", ["{", "[]", '{"source": "phantom:thorax", "views": 3}', '{"source": 3}'])
def test_an_unreadable_address_is_ignored(visit, text):
    app = visit(scan=text)
    assert not app.exception
    assert "_scan" not in app.session_state


@pytest.mark.parametrize(
    ("scan", "reason"),
    [
        ({"num_views": 0}, "The number of views must be at least 1, got 0"),
        ({"num_views": True}, "The number of views must be a whole number, got True"),
        ({"photons": 1e-300}, "The number of photons per ray must be at least 0.001"),
        ({"tilt": 1e300}, "The tilt in degrees must be below 90"),
        ({"det_shape": [1.5, 2]}, "a value of the detector's rows and columns must be a whole number"),
        ({"pixel_size": [0, 1]}, "a value of the pixel size in mm must be above 0"),
        ({"[click](http://example.org) **" + "x" * 3000: 1}, "ScanConfig has no field"),
        ({"beam": "![a](http://example.org) :red[b] www.example.org"}, "Beam must be"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_scan_that_cannot_be_used_is_reported_with_the_reason(visit, scan, reason):
    app = visit(scan=json.dumps({"source": "phantom:spheres", **scan}))
    toast = app.toast[0].value
    assert "_scan" not in app.session_state
    assert reason.casefold() in toast.casefold()
    assert not re.search(r"(?<!\\)\[|(?<!\\):red|://|www\.", toast)
    assert len(toast) < 500


def test_a_link_that_was_cut_off_is_reported(visit):
    app = visit(scan='{"source": "phantom:sph')
    assert (
        "not JSON at character 11; it may be damaged or cut off. Choose one on Acquire" in app.toast[0].value
    )


def test_the_form_keeps_values_beyond_its_usual_ranges(visit):
    given = {"angle_range": 2.5, "start": 900, "tilt": -70, "photons": 0.5, "seed": 2**31 - 1}
    detector = {"pixel_size": [1e-4, 80.0], "det_shape": [1, 5000], "det_offset": [-2000, 0]}
    lesion = {"lesions": [[[0, 0, 0], 0.5, -1020]], "grid": [2, 8, 8]}
    app = visit(scan=json.dumps({"source": "phantom:spheres", **given, **detector, **lesion}))
    before = app.session_state["_scan"]
    app.session_state["acquire.detector"] = True
    app.switch_page(routes.ACQUIRE).run()
    assert not app.exception
    assert app.session_state["_scan"] == before


@pytest.mark.parametrize("page", [routes.ACQUIRE, routes.RECONSTRUCT])
def test_names_in_an_address_never_become_markup(visit, page):
    app = visit(scan=json.dumps({"source": "phantom:![a](http://example.org) :red[b] <b>"}))
    app.switch_page(page).run()
    assert not app.exception
    assert not re.search(r"(?<!\\)\[a|[^\\]\[b", texts(app))


def test_unknown_runs_and_deleted_volumes_are_reported(visit):
    app = visit(scan=json.dumps({"source": "volume:0123456789abcdef"}), run="no-such-run")
    app.switch_page(routes.RECONSTRUCT).run()
    assert "may have been deleted" in texts(app)
    for page in routes.TITLES:
        app.switch_page(page).run()
        assert not app.exception


def test_an_impossible_scan_is_explained(app):
    app.switch_page(routes.ACQUIRE).run()
    app.selectbox(key=state.field("scanner")).select("micro").run()
    assert not app.exception
    assert "does not work" in texts(app)
    assert "src_orig_dist" not in texts(app)


def test_the_selected_scanner_has_the_distances_of_the_scan(visit):
    scan = {"source": "phantom:spheres", "grid": [16, 32, 32], "beam": "cone", "angle_range": 360.0}
    arm = SCANNERS["c-arm"]
    for distances, name in (
        ((arm.src_orig_dist, arm.src_det_dist), "c-arm"),
        ((800.0, 1200.0), "cone"),
        ((300.0, 600.0), "cone"),
    ):
        asked = scan | dict(zip(("src_orig_dist", "src_det_dist"), distances, strict=True))
        app = visit(scan=json.dumps(asked)).switch_page(routes.ACQUIRE).run()
        assert not app.exception
        assert app.selectbox(key=state.field("scanner")).value == name
        told = "the distances to 300 and 600 mm" in texts(app)
        assert told == (distances == (300.0, 600.0))


def test_acquire_keeps_its_form_on_other_pages(app):
    app.switch_page(routes.ACQUIRE).run()
    app.selectbox(key=state.field("phantom")).select("spheres").run()
    app.select_slider(key=state.field("views")).set_value(12).run()
    app.switch_page(routes.HOME).run()
    app.switch_page(routes.ACQUIRE).run()
    assert app.select_slider(key=state.field("views")).value == 12
    assert app.session_state["_scan"] == ScanConfig(
        "phantom:spheres", grid=(64, 128, 128), num_views=12, photons=1e5
    )


def test_settings_of_a_closed_section_are_kept(app):
    app.session_state["_scan"] = ScanConfig("phantom:spheres", grid=(16, 32, 32), num_views=12, beam="cone")
    app.switch_page(routes.ACQUIRE).run()
    pitch = state.field("pitch")
    assert pitch not in {number.key for number in app.number_input}  # a closed section has no elements
    app.session_state["acquire.detector"] = True
    app.run()
    app.number_input(key=pitch).set_value(20.0).run()
    assert app.session_state["_scan"].pitch == 20.0
    app.session_state["acquire.detector"] = False
    app.run()
    app.select_slider(key=state.field("views")).set_value(33).run()
    for page in (routes.HOME, routes.ACQUIRE):
        app.switch_page(page).run()
    assert (app.session_state["_scan"].pitch, app.session_state["_scan"].num_views) == (20.0, 33)
    app.session_state["acquire.detector"] = True
    assert app.run().number_input(key=pitch).value == 20.0


def test_reconstruct_keeps_its_form_on_other_pages(app, small_scan):
    app.session_state["_scan"] = small_scan
    app.switch_page(routes.RECONSTRUCT).run()
    app.pills(key=state.field("method")).set_value("tv").run()
    app.number_input(key=state.field("tv.num_iterations")).set_value(77).run()
    for page in (routes.ACQUIRE, routes.HOME, routes.RECONSTRUCT):
        app.switch_page(page).run()
    assert app.pills(key=state.field("method")).value == "tv"
    assert app.number_input(key=state.field("tv.num_iterations")).value == 77


def test_a_new_scan_clears_the_current_run(app, small_scan):
    app.session_state["_scan"] = small_scan
    app.session_state["_run"] = "a-run"
    app.switch_page(routes.ACQUIRE).run()
    app.select_slider(key=state.field("views")).set_value(33).run()
    assert app.session_state["_run"] is None


def test_unavailable_methods_are_named_with_the_reason(app, small_scan):
    app.session_state["_scan"] = small_scan
    app.switch_page(routes.RECONSTRUCT).run()
    assert "FDK is unavailable: it needs a circular cone-beam scan" in texts(app)


def test_an_uploaded_volume_is_stored_and_scanned(app):
    volume = phantom("spheres", (12, 32, 32))
    app.switch_page(routes.ACQUIRE).run()
    app.segmented_control(key=state.field("kind")).set_value("upload").run()
    app.checkbox(key=state.field("crop")).uncheck().run()
    file = ("mine.nii.gz", nifti_bytes(volume), "application/gzip")
    app.file_uploader(key=state.field("files.False")).set_value([file]).run()
    assert not app.exception
    source = app.session_state["_scan"].source
    stored = engine.store().volume(source.removeprefix("volume:"))
    assert stored.shape == volume.shape
    assert float((stored.hu - volume.hu).abs().max()) < 1
    grids = app.segmented_control(key=state.field("grid"))
    assert len(grids.options) == 1  # all grids are the volume's own
    assert app.session_state["_scan"].grid == volume.shape


def test_an_upload_without_a_ct_volume_is_explained(app):
    app.switch_page(routes.ACQUIRE).run()
    app.segmented_control(key=state.field("kind")).set_value("upload").run()
    app.file_uploader(key=state.field("files.False")).set_value([("a.dcm", b"nothing", "")]).run()
    assert not app.exception
    assert "expected a CT series" in texts(app)
