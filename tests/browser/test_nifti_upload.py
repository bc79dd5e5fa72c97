"""Upload of NIfTI files with different orders and directions of voxels, by mouse."""

import re
from urllib.parse import unquote

import nibabel as nib
import pytest

from tests.browser.test_by_mouse import drawn, wait_for_pixels
from tomopatch import phantom
from tomopatch.io.nifti import write_nifti

pytestmark = pytest.mark.browser
SHAPE = (20, 40, 48)


@pytest.fixture
def as_written(tmp_path):
    """Return a chest volume from the app's exporter: towards right, front and head."""
    (tmp_path / "ras").mkdir()
    return write_nifti(tmp_path / "ras" / "chest.nii.gz", phantom("thorax", SHAPE))


@pytest.fixture
def turned(tmp_path, as_written):
    """Return the same voxels stored towards foot, left and front, slices first."""
    image = nib.load(as_written)
    wanted = nib.orientations.axcodes2ornt(("I", "L", "A"))
    change = nib.orientations.ornt_transform(nib.io_orientation(image.affine), wanted)
    (tmp_path / "ila").mkdir()
    path = tmp_path / "ila" / "chest.nii.gz"
    nib.save(image.as_reoriented(change), path)
    assert nib.aff2axcodes(nib.load(path).affine) == ("I", "L", "A")
    assert nib.load(path).shape == (SHAPE[0], SHAPE[2], SHAPE[1])
    return path


def upload(page, path):
    """Upload a file and return the digest of the scan's volume."""
    page.get_by_text("Upload", exact=True).click()
    page.get_by_text("Drop a CT volume here").wait_for()
    page.get_by_text("Crop to the body").click()
    page.locator("input[type=file]").first.set_input_files(path)
    page.get_by_text("Loaded: 1 file.").wait_for()
    page.get_by_text(f"Native · {SHAPE[0]} × {SHAPE[1]} × {SHAPE[2]}").wait_for()
    page.wait_for_function("() => decodeURIComponent(location.search).includes('volume:')", polling=100)
    return re.search(r"volume:(\w+)", unquote(page.url)).group(1)


def test_a_nifti_file_is_scanned_reconstructed_and_compared(page, as_written):
    page.goto("/acquire")
    upload(page, as_written)
    page.locator(".sv canvas").first.wait_for()
    page.get_by_role("button", name="Reconstruct this scan").click()
    page.get_by_role("heading", level=1, name="Reconstruct").wait_for()
    page.get_by_role("radio", name="FBP").click()
    page.get_by_text("PSNR").first.wait_for()
    wait_for_pixels(page)
    page.get_by_role("button", name="Compare runs").click()
    page.get_by_text("Values along a line").wait_for()
    assert drawn(page).get_attribute("data-layout") == "side"


def test_a_turned_nifti_file_is_the_same_volume(page, as_written, turned):
    """The digest in the address depends on the voxels and their positions alone."""
    digests = []
    for path in (as_written, turned):
        page.goto("/acquire")
        digests.append(upload(page, path))
    assert digests[0] == digests[1]


def test_a_mask_is_refused_with_a_reason(page, tmp_path):
    path = tmp_path / "mask.nii"
    nib.save(nib.Nifti1Image((phantom("thorax", SHAPE).hu.numpy().T > 0).astype("uint8"), None), path)
    page.goto("/acquire")
    page.get_by_text("Upload", exact=True).click()
    page.locator("input[type=file]").first.set_input_files(path)
    page.get_by_test_id("stAlert").filter(has_text="expected Hounsfield units").wait_for()
