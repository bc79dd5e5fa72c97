"""A DICOM series from the app's exporter, by mouse: uploaded as slices, reconstructed and compared."""

import zipfile
from io import BytesIO

import pytest

from tests.browser.screenshots import keep
from tests.browser.test_by_mouse import drawn
from tomopatch import phantom
from tomopatch.export.files import dicom_zip_bytes

pytestmark = pytest.mark.browser


def test_an_uploaded_dicom_series_is_scanned_and_reconstructed(page, tmp_path):
    archive = zipfile.ZipFile(BytesIO(dicom_zip_bytes(phantom("abdomen", (24, 64, 64)))))
    archive.extractall(tmp_path)
    slices = sorted(tmp_path.iterdir(), key=lambda p: p.name[::-1])  # in no useful order

    page.goto("/acquire")
    page.get_by_text("Upload", exact=True).click()
    page.get_by_text("Drop a CT volume here").wait_for()
    page.locator("input[type=file]").first.set_input_files(slices)
    page.get_by_text(f"Loaded: {len(slices)} files.").wait_for()
    page.locator(".sv canvas").first.wait_for()
    page.wait_for_function("() => decodeURIComponent(location.search).includes('volume:')", polling=100)
    keep(page, "upload-acquire")

    page.get_by_role("button", name="Reconstruct this scan").click()
    page.get_by_role("heading", level=1, name="Reconstruct").wait_for()
    page.get_by_role("radio", name="FBP").click()
    page.get_by_text("PSNR").first.wait_for()
    drawn(page)
    page.get_by_role("button", name="Compare runs").click()
    page.get_by_text("Values along a line").wait_for()
    assert drawn(page).get_attribute("data-layout") == "side"
    keep(page, "upload-compared")


def test_a_file_without_a_ct_volume_is_refused_with_a_reason(page, tmp_path):
    (tmp_path / "notes.dcm").write_bytes(b"this is no DICOM file" * 50)
    page.goto("/acquire")
    page.get_by_text("Upload", exact=True).click()
    page.locator("input[type=file]").first.set_input_files(tmp_path / "notes.dcm")
    page.get_by_test_id("stAlert").wait_for()
    assert "Traceback" not in page.inner_text("body")
