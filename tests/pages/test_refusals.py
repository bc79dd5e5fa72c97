"""Refusals and errors are explained on the page."""

import gzip
import json
import math
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from pages.ui.runs import runs_table
from pages.ui.session import engine, routes, state, volume_cache
from tests.small_files import edit, image, ramp
from tomopatch.execution.queue import wait
from tomopatch.io.dicom_writer import write_dicom
from tomopatch.io.units import UNITS
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.store.folders import StoreError
from tomopatch.volume import MU_WATER, Volume, VolumeGeometry


def texts(elements):
    return " ".join(e.value for e in elements)


def test_a_server_without_uploads_is_explained(app, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_READ_ONLY", "1")
    app.switch_page(routes.ACQUIRE).run()
    app.segmented_control(key=state.field("kind")).set_value("upload").run()
    assert not app.exception
    assert not app.file_uploader
    assert "no uploads" in texts(app.info)
    app.switch_page(routes.HOME).run()
    assert not app.exception
    assert not app.file_uploader


def test_a_run_beyond_the_memory_limit_is_explained(visit, small_scan, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.01")
    run_id = engine.queue().submit(RunConfig(small_scan, "tv", {"num_iterations": 77}))
    app = visit(run=run_id)
    app.switch_page(routes.RECONSTRUCT).run()
    assert not app.exception
    assert "of memory" in texts(app.error)


@pytest.mark.parametrize("page", [routes.RECONSTRUCT, routes.COMPARE, routes.WHAT_IF, routes.RUNS])
def test_a_damaged_result_counts_as_a_failed_run(visit, small_scan, page):
    seed = [routes.RECONSTRUCT, routes.COMPARE, routes.WHAT_IF, routes.RUNS].index(page)
    scan = replace(small_scan, num_views=13, seed=seed)
    run_id = engine.queue().submit(RunConfig(scan, "sirt", {"num_iterations": 5}))
    assert wait(engine.queue(), run_id, timeout=180).status == "done"
    (engine.store().run_folder(run_id) / "volume.npy").write_bytes(b"gone bad")
    app = visit(run=run_id, compare=run_id, scan=json.dumps(scan.to_json()))
    app.switch_page(page).run()
    assert not app.exception
    if page in (routes.RECONSTRUCT, routes.COMPARE):
        assert "damaged or missing" in texts([*app.error, *app.warning, *app.caption, *app.markdown])


def test_a_full_disk_is_reported_without_a_traceback(app, monkeypatch):
    def refuse(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tomopatch.store.store.RunStore.all_runs", refuse)
    app.switch_page(routes.RUNS).run()
    assert not app.exception
    assert "disk is full" in texts(app.error)


def test_compare_names_failed_runs_and_reasons(visit, small_scan, monkeypatch):
    done = engine.queue().submit(RunConfig(small_scan, "fbp"))
    assert wait(engine.queue(), done, timeout=120).status == "done"
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.01")
    refused = [
        engine.queue().submit(RunConfig(small_scan, m, {"num_iterations": 78})) for m in ("tv", "sirt")
    ]
    app = visit(scan=json.dumps(small_scan.to_json()), compare=",".join([done, *refused]))
    app.switch_page(routes.COMPARE).run()
    assert not app.exception
    assert list(app.dataframe[0].value["Method"]) == ["FBP"]  # the finished run is shown
    (warning,) = app.warning  # one warning for the common reason
    assert "TV; SIRT: no volume" in warning.value
    assert "of memory" in warning.value


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("MEMORY_GB", "0.01", "of memory"),
        ("QUEUE_LENGTH", "0", "queue is full"),
        ("SESSION_RUNS", "0", "waiting"),
    ],
)
def test_a_refusal_is_shown_on_the_same_page_and_keeps_the_form(
    app, small_scan, monkeypatch, limit, value, words
):
    monkeypatch.setenv(f"TOMOPATCH_{limit}", value)
    scan = replace(small_scan, num_views=6)
    app.session_state["_scan"] = scan
    app.switch_page(routes.RECONSTRUCT).run()
    assert not app.exception
    app.pills(key=state.field("method")).set_value("tv").run()
    app.number_input(key=state.field("tv.num_iterations")).set_value(79).run()
    app.session_state["_inside"] = True  # AppTest starts with the page alone; a click lasts for one run only
    app.button(key="start").click().run()
    assert words in texts(app.error)
    assert app.number_input(key=state.field("tv.num_iterations")).value == 79
    assert app.session_state["_scan"] == scan
    app.switch_page(routes.PRIOR).run()
    app.session_state["_inside"] = True
    app.button(key="prior_start").click().run()
    assert words in texts(app.error)


@pytest.mark.parametrize(("limit", "value"), [("MEMORY_GB", "0.01"), ("QUEUE_LENGTH", "0")])
def test_what_if_shows_a_refusal_once_for_all_runs(app, small_scan, monkeypatch, limit, value):
    monkeypatch.setenv(f"TOMOPATCH_{limit}", value)
    app.session_state["_scan"] = replace(small_scan, seed=4712)
    app.switch_page(routes.WHAT_IF).run()
    app.session_state["_inside"] = True
    app.button(key="sweep_start").click().run()
    assert not app.exception
    assert len(app.warning) == 1
    assert "and 8 more: no volume" in app.warning[0].value
    assert "Press *Run* to try" in app.warning[0].value


def test_runs_explains_failed_runs(app, small_scan, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.01")
    refused = engine.queue().submit(RunConfig(small_scan, "cgls", {"num_iterations": 7}))
    monkeypatch.setattr(
        runs_table, "ticked_runs", lambda event, runs: [k.run for k in runs if k.run.id == refused]
    )
    app.switch_page(routes.RUNS).run()
    assert not app.exception
    assert "of memory" in texts(app.warning)


def test_without_uploads_stored_volumes_are_suggested_and_the_scan_is_kept(app, small_scan, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_READ_ONLY", "1")
    app.session_state["_scan"] = small_scan
    app.switch_page(routes.ACQUIRE).run()
    kept = app.session_state["_scan"]
    app.segmented_control(key=state.field("kind")).set_value("upload").run()
    assert "*Stored*" in texts(app.info)
    assert app.session_state["_scan"] == kept


def test_missing_runs_are_reported_with_the_existing_ones(visit, small_scan):
    done = engine.queue().submit(RunConfig(small_scan, "fbp"))
    assert wait(engine.queue(), done, timeout=120).status == "done"
    app = visit(scan=json.dumps(small_scan.to_json()), compare=f"{done},20250101-000000-tv-abcdef")
    app.switch_page(routes.COMPARE).run()
    assert not app.exception
    assert "not on this server" in texts(app.warning)
    assert list(app.dataframe[0].value["Method"]) == ["FBP"]
    app = visit(compare=done)
    app.switch_page(routes.COMPARE).run()
    assert not app.warning


@pytest.mark.parametrize("page", [routes.COMPARE, routes.RECONSTRUCT, routes.WHAT_IF])
def test_an_address_with_missing_runs_alone_links_to_runs(visit, page):
    app = visit(run="20250101-000000-tv-abcdef")
    app.switch_page(page).run()
    assert not app.exception
    assert "not on this server" in texts(app.markdown)


def test_a_missing_volume_is_reported(visit, small_scan):
    scan = json.dumps(replace(small_scan, source="volume:0123456789abcdef").to_json())
    app = visit(scan=scan)
    app.switch_page(routes.COMPARE).run()
    assert not app.exception
    assert "Choose another volume or scan geometry on Acquire" in texts(app.markdown)
    app = visit(scan=scan)
    app.switch_page(routes.ACQUIRE).run()
    assert not app.exception
    assert "not stored here" in texts(app.warning)


@pytest.mark.parametrize("page", [routes.HOME, routes.RUNS])  # that asks last for it, and at once
def test_an_unusable_store_is_reported(app, page, monkeypatch):
    def refuse():
        raise StoreError("the store /x cannot be written; set TOMOPATCH_STORE to a folder of yours.")

    monkeypatch.setattr(volume_cache, "_announced", None)
    monkeypatch.setattr(engine, "queue", refuse)
    app.switch_page(page).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "set TOMOPATCH_STORE" in app.error[0].value


# ---- uploads ----------------------------------------------------------------------------------------


SOFT = np.linspace(-90, 110, 12 * 32 * 32, dtype=np.float32).reshape(12, 32, 32)
"""Values of soft tissue alone; without air and bone their units are unclear."""
MU = np.linspace(0.1, 0.9, SOFT.size, dtype=np.float32).reshape(SOFT.shape)
"""Attenuation in 1/cm, up to that of bone."""


def nifti(values):
    """Return a NIfTI file with these values (z, y, x)."""
    made = image(Volume.from_hu(values, VolumeGeometry(values.shape, (2.0, 1.5, 1.5))))
    made = nib.Nifti1Image(np.ascontiguousarray(values.T), made.affine, made.header)
    return ("mine.nii", made.to_bytes(), "application/octet-stream")


def units_of(app):
    return app.selectbox(key=state.field("units"))


def loaded_hu(app):
    assert not app.exception
    assert not app.error
    return engine.store().volume(app.session_state["_scan"].source.removeprefix("volume:")).hu.numpy()


@pytest.mark.parametrize(
    ("values", "units", "expected"),
    [
        (SOFT, "HU", SOFT),
        (MU, "1/cm", 1000 * (MU / 10 / MU_WATER - 1)),
        (MU / 10, "1/mm", 1000 * (MU / 10 / MU_WATER - 1)),
    ],
)
def test_an_upload_with_unclear_units_is_loaded_in_the_chosen_units(upload, values, units, expected):
    app = upload(nifti(values))
    (error,) = app.error
    assert "mine.nii holds values from" in error.value
    assert "expected Hounsfield units" in error.value
    assert "--units" not in error.value  # an option of the command
    select = units_of(app)
    assert select.label == "Units of the file"
    assert select.value is None
    assert len(select.options) == len(UNITS)
    assert len(select.help.split()) < 25
    select.set_value(units).run()
    np.testing.assert_allclose(loaded_hu(app), expected, atol=1e-2)
    app.run()
    assert units_of(app).value == units
    np.testing.assert_allclose(loaded_hu(app), expected, atol=1e-2)
    app.switch_page(routes.HOME).run()
    app.switch_page(routes.ACQUIRE).run()
    np.testing.assert_allclose(loaded_hu(app), expected, atol=1e-2)


def test_a_dicom_series_with_unknown_values_is_loaded_in_the_chosen_units(upload, tmp_path):
    def from_another_scanner(dataset):
        dataset.RescaleType, dataset.Manufacturer = "MGML", "Another"

    paths = sorted(write_dicom(tmp_path / "scan", ramp()).iterdir())
    for path in paths:
        edit(path, from_another_scanner)
    app = upload(*((p.name, p.read_bytes(), "application/dicom") for p in paths))
    assert "type 'MGML'" in texts(app.error)
    units_of(app).set_value("HU").run()
    np.testing.assert_allclose(loaded_hu(app), ramp().hu.numpy(), atol=1e-2)


def test_a_file_is_read_once_for_each_choice_of_units(upload, monkeypatch):
    from pages.ui.forms import upload_form

    calls, read = [], upload_form.read_nifti
    monkeypatch.setattr(upload_form, "read_nifti", lambda *a, **k: calls.append(k["units"]) or read(*a, **k))
    app = upload(nifti(SOFT))
    app.run()
    assert calls == [None]
    units_of(app).set_value("HU").run()
    app.run()
    assert calls == [None, "HU"]


def test_impossible_units_are_refused(upload):
    app = upload(nifti(SOFT * 500 + 5000))
    assert not [s for s in app.selectbox if s.label == "Units of the file"]  # -40,000 to 60,000: HU
    app = upload(nifti(SOFT * 1e4))
    units_of(app).set_value("1/mm").run()
    assert "far beyond" in texts(app.error)
    units_of(app).set_value("HU").run()
    np.testing.assert_allclose(loaded_hu(app)[SOFT > 0], SOFT[SOFT > 0] * 1e4, rtol=1e-4)


def test_another_file_asks_for_its_units(upload):
    app = upload(nifti(SOFT))
    units_of(app).set_value("HU").run()
    assert not app.error
    app = upload(nifti(MU))
    assert "attenuation in 1/cm" in texts(app.error)
    assert units_of(app).value is None


def test_a_compressed_upload_beyond_the_memory_limit_is_refused(upload, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.02")
    name, data, kind = nifti(np.zeros((50, 200, 200), np.int16))
    packed = gzip.compress(data)
    assert len(packed) < 10_000
    app = upload((name + ".gz", packed, kind))
    (error,) = app.error
    assert "50 x 200 x 200 voxels" in error.value
    assert "crop or downsample it first." in error.value


def test_the_user_chooses_one_of_two_nifti_files(upload):
    _, soft, kind = nifti(np.linspace(-1000, 1000, SOFT.size, dtype=np.float32).reshape(SOFT.shape))
    _, turned, _ = nifti(np.linspace(1000, -1000, SOFT.size, dtype=np.float32).reshape(SOFT.shape))
    app = upload(
        ("first.nii", soft, kind), ("second.nii", turned, kind), ("notes.txt", b"hello", "text/plain")
    )
    (select,) = [s for s in app.selectbox if s.label == "NIfTI file (2 found)"]
    assert select.options == ["first.nii", "second.nii"]
    assert "Loaded: `first.nii`. 2 other files were not used." in texts(app.caption)
    assert loaded_hu(app)[0, 0, 0] < -990
    select.select_index(1).run()
    assert "Loaded: `second.nii`. 2 other files were not used." in texts(app.caption)
    assert loaded_hu(app)[0, 0, 0] > 990


def test_notes_of_the_reader_are_shown(upload):
    name, data, kind = nifti(np.linspace(-1000, 1000, SOFT.size, dtype=np.float32).reshape(SOFT.shape))
    raw = bytearray(data)
    raw[252:256] = bytes(4)  # neither qform nor sform
    app = upload((name, bytes(raw), kind))
    assert "mine.nii does not say how the patient lies" in texts(app.info)
    app.run()
    assert "mine.nii does not say how the patient lies" in texts(app.info)


def test_a_new_pitch_sets_enough_turns_to_cover_the_volume(app):
    app.session_state["_scan"] = ScanConfig("phantom:spheres", (12, 32, 32), beam="cone", num_views=60)
    app.session_state["acquire.detector"] = True
    app.switch_page(routes.ACQUIRE).run()
    pitch = [n for n in app.number_input if n.label == "Pitch [mm]"]
    pitch[0].set_value(40.0).run()
    assert not app.exception
    scan = app.session_state["_scan"]
    height = volume_cache.geometry(scan).size[0]
    assert scan.angle_range == 360 * math.ceil(2 * (height / 40 + 1)) / 2
    assert "in no view" not in texts(app.warning)
    turns = [n for n in app.number_input if n.label == "Turns"]
    turns[0].set_value(1.0).run()
    assert app.session_state["_scan"].angle_range == 360
    assert "in no view" in texts(app.warning)


@pytest.mark.parametrize("name", ["scan", "sweep", "challenge", "contrast"])
@pytest.mark.parametrize(
    "value",
    [
        "[" * 5000 + "]" * 5000,
        '{"a":' * 5000 + "1" + "}" * 5000,
        '{"source":"phantom:thorax:0","pitch":' + "9" * 400 + "}",
        '{"source":"phantom:thorax:0","lesions":5}',
        '{"source":"phantom:thorax:0","lesions":[[[0,0,0],"5",4]]}',
        "5",
        "[1]",
        '{"number":[1]}',
    ],
    ids=lambda value: value[:40],
)
def test_the_app_opens_with_unusual_json_in_the_address(visit, name, value):
    assert not visit(**{name: value}).exception
