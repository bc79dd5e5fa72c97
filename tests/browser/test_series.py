"""DICOM series by mouse: several in one upload, a whole folder, and damaged ones."""

import pydicom
import pytest

from tomopatch import phantom
from tomopatch.io.dicom_writer import write_dicom

pytestmark = pytest.mark.browser


@pytest.fixture
def series(tmp_path):
    """Return the paths of the slices of a small series."""
    return sorted(write_dicom(tmp_path / "scan", phantom("abdomen", (8, 32, 32))).iterdir())


def upload(page, files):
    page.goto("/acquire")
    page.get_by_text("Upload", exact=True).click()
    page.get_by_text("Drop a CT volume here").wait_for()
    page.locator("input[type=file]").first.set_input_files(files)


def edit(path, change):
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def test_one_of_several_series_can_be_chosen(page, tmp_path, series):
    other = sorted(
        write_dicom(tmp_path / "other", phantom("head", (6, 32, 32)), description="Head").iterdir()
    )
    upload(page, [*series, *other])
    chooser = page.get_by_role("combobox", name="Series (2 found)")
    chooser.wait_for()
    page.get_by_text(f"Loaded: {len(series) + len(other)} files.").wait_for()
    page.get_by_text("Native · 8 × ").wait_for()
    chooser.click()
    page.get_by_role("option").filter(has_text="6 slices").click()
    page.get_by_text("Native · 6 × ").wait_for()


def test_a_whole_folder_can_be_uploaded(page, series):
    page.goto("/acquire")
    page.get_by_text("Upload", exact=True).click()
    page.get_by_text("Choose a whole folder").click()
    page.locator("input[type=file][webkitdirectory]").set_input_files(series[0].parent)
    page.get_by_text(f"Loaded: {len(series)} files.").wait_for()


def oblique(series):
    for path in series:
        edit(path, lambda d: setattr(d, "ImageOrientationPatient", [0.8, 0.6, 0, -0.6, 0.8, 0]))


def tilted(series):
    for k, path in enumerate(series):
        position = [float(p) for p in pydicom.dcmread(path).ImagePositionPatient]
        edit(path, lambda d, k=k, p=position: setattr(d, "ImagePositionPatient", [p[0], p[1] + 9 * k, p[2]]))


def with_a_hole(series):
    series[3].unlink()
    series[4].unlink()


def with_a_duplicate(series):
    position = pydicom.dcmread(series[2]).ImagePositionPatient
    edit(series[3], lambda d: setattr(d, "ImagePositionPatient", position))


def of_mixed_sizes(series):
    def change(d):
        d.Rows = d.Columns = 16
        d.PixelData = d.PixelData[: 2 * 16 * 16]

    edit(series[3], change)


def of_another_modality(series):
    for path in series:
        edit(path, lambda d: setattr(d, "Modality", "MR"))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (oblique, "is turned by"),
        (tilted, "tilted gantry"),
        (with_a_hole, "has a hole of"),
        (with_a_duplicate, "two slices at the same place"),
        (of_mixed_sizes, "has a hole of"),
        (of_another_modality, "no CT series"),
    ],
)
def test_a_damaged_series_is_refused_with_its_reason(page, series, damage, words):
    damage(series)
    upload(page, [path for path in series if path.exists()])
    alert = page.get_by_test_id("stAlert").filter(has_text=words)
    alert.wait_for()
    assert "Traceback" not in page.inner_text("body")
