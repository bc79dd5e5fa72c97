"""Uploads are recognised by content, whatever their names, and examined once."""

import copy
import gzip
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pages.ui.forms import upload_form
from pages.ui.session import routes, state
from tests.io.test_dicom import enhanced
from tests.pages.test_refusals import loaded_hu
from tests.small_files import image, ramp
from tomopatch.io.dicom_writer import write_dicom


@pytest.fixture(scope="module")
def contents(tmp_path_factory):
    """One volume as a NIfTI file, as an enhanced DICOM file and as a zip of DICOM slices."""
    folder = tmp_path_factory.mktemp("contents")
    paths = sorted(write_dicom(folder / "scan", ramp()).iterdir())
    archive = shutil.make_archive(str(folder / "scan"), "zip", folder / "scan")
    packed = Path(archive).read_bytes()
    frames = enhanced(paths, folder / "enhanced.dcm").read_bytes()
    return {"nifti": gzip.compress(image().to_bytes()), "frames": frames, "zip": packed}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        *(("nifti", name) for name in ("brain", "1.2.840.113619.2", "a.dcm", "a.zip", "a.gz")),
        *(("frames", name) for name in ("IM0001", "scan.IMA", "1.2.840.113619.2", "a.nii", "a.zip")),
        *(("zip", name) for name in ("IM0002", "a.nii.gz")),
    ],
)
def test_an_upload_is_recognised_by_its_content(upload, contents, content, name):
    app = upload((name, contents[content]))
    np.testing.assert_allclose(loaded_hu(app), ramp().hu.numpy(), atol=1e-2)


def test_nifti_and_dicom_together_are_named(upload, contents):
    app = upload(("a.dcm", contents["frames"]), ("b", contents["nifti"]), ("c.nii", contents["nifti"]))
    (select,) = [s for s in app.selectbox if s.label.startswith("NIfTI file")]
    assert select.options == ["b", "c.nii"]
    assert any("Loaded: `b`. 2 other files were not used." in c.value for c in app.caption)


def test_the_series_of_an_upload_are_listed_once(upload, contents, monkeypatch):
    calls, listed = [], upload_form.list_series
    monkeypatch.setattr(upload_form, "list_series", lambda files: calls.append(1) or listed(files))
    app = upload(("a.zip", contents["zip"]))
    app.run()
    app.run()
    assert len(calls) == 1
    upload(("b.zip", contents["zip"])).run()
    assert len(calls) == 2


def test_a_refused_upload_is_examined_once(upload, monkeypatch):
    calls, read = [], upload_form.read_nifti
    monkeypatch.setattr(upload_form, "read_nifti", lambda *a, **k: calls.append(1) or read(*a, **k))
    cut = image().to_bytes()[:-100]
    app = upload(("cut.nii", cut))
    for _ in range(2):
        app.run()
        assert "is truncated" in app.error[0].value
    assert len(calls) == 1


def test_a_refused_scan_is_examined_once(app, monkeypatch):
    from pages.ui.forms import measured_upload_form

    calls, read = [], measured_upload_form.read_projections
    monkeypatch.setattr(
        measured_upload_form, "read_projections", lambda *a, **k: calls.append(1) or read(*a, **k)
    )
    app.switch_page(routes.ACQUIRE).run()
    app.segmented_control(key=state.field("kind")).set_value("measured").run()
    uploader = app.file_uploader(key=state.field("files.measured"))
    uploader.set_value([("a.npz", b"nothing", "application/octet-stream")]).run()
    for _ in range(2):
        app.run()
        assert "Nothing was loaded" in app.error[0].value
    assert len(calls) == 1


def overlapping_zip():
    """A zip whose 50 members are all in the same place."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a", bytes(1000))
        first = archive.filelist[0]
        for k in range(50):
            twin = copy.copy(first)
            twin.filename = f"b{k}"
            archive.filelist.append(twin)
    return out.getvalue()


def test_a_refused_zip_is_examined_once(upload, monkeypatch):
    calls, listed = [], upload_form.list_series
    monkeypatch.setattr(upload_form, "list_series", lambda files: calls.append(1) or listed(files))
    app = upload(("odd*.zip", overlapping_zip()))
    first = app.error[0].value
    app.run()
    assert app.error[0].value == first
    assert "overlapping files" in first
    assert len(calls) == 1
