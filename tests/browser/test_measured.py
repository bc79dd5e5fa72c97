"""A measured scan by mouse: uploaded with its geometry file, reconstructed and compared."""

import pytest

from tests.browser.screenshots import keep
from tests.browser.test_by_mouse import drawn
from tests.small_scans import scan_file

pytestmark = pytest.mark.browser


def test_a_measured_scan_is_uploaded_reconstructed_and_compared(page, tmp_path):
    path, _ = scan_file(tmp_path)
    page.goto("/acquire")
    page.get_by_text("Measured", exact=True).click()
    page.get_by_text("Projections, and optionally a geometry file").wait_for()
    page.locator("input[type=file]").first.set_input_files([path, tmp_path / "geometry.json"])
    page.get_by_text("60 views of 1 × 72 pixels").wait_for()
    page.get_by_text("54 of 60").wait_for()
    page.wait_for_function("() => decodeURIComponent(location.search).includes('scan:')", polling=100)
    keep(page, "measured-acquire")

    page.get_by_role("button", name="Reconstruct this scan").click()
    page.get_by_role("heading", level=1, name="Reconstruct").wait_for()
    page.get_by_role("radio", name="FDK").click()
    page.get_by_text("Held-out error").first.wait_for()
    assert page.get_by_text("PSNR").count() == 0
    drawn(page)
    page.get_by_role("button", name="Compare runs").click()
    page.get_by_text("Values along a line").wait_for()
    viewer = drawn(page)
    assert viewer.get_attribute("data-layout") == "side"
    assert page.get_by_text("A measured scan has no reference.").count() == 1
    keep(page, "measured-compared")

    page.reload()
    page.get_by_text("A measured scan has no reference.").wait_for()
    assert page.get_by_test_id("stException").count() == 0
