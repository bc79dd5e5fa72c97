"""Downloads of Compare, opened again: NIfTI, DICOM, a picture and a report."""

import json
from urllib.parse import quote

import pytest
import torch
from PIL import Image

from tests.browser.downloads import download
from tomopatch.library import load_volume

pytestmark = pytest.mark.browser
SCAN = {"source": "phantom:thorax:0", "grid": [16, 48, 48], "photons": 1e5, "same_grid": True}


def test_downloads_open_and_agree(browser, address, tmp_path):
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(120_000)  # patient: the machine may be busy
    page.goto(f"{address}/reconstruct?scan={quote(json.dumps(SCAN))}")
    page.get_by_text("SSIM").first.wait_for()  # FBP answers at once
    page.get_by_role("button", name="Compare runs").click()
    page.get_by_text("Values along a line").wait_for()
    page.get_by_text("Download", exact=True).click()
    found = {}
    for button in ("NIfTI", "DICOM (zip)", "Picture (PNG)", "Animation (GIF)", "Report (HTML)"):
        file = download(page, button)
        found[button] = tmp_path / file.suggested_filename
        file.save_as(found[button])
    nifti, dicom = load_volume(found["NIfTI"]), load_volume(found["DICOM (zip)"])
    assert nifti.shape == dicom.shape == (16, 48, 48)
    assert torch.allclose(nifti.hu, dicom.hu, atol=0.51)  # DICOM holds whole Hounsfield units
    assert min(Image.open(found["Picture (PNG)"]).size) > 100
    assert Image.open(found["Animation (GIF)"]).n_frames == 16  # every slice
    context.close()
    _is_self_contained(browser, found["Report (HTML)"])


def _is_self_contained(browser, path):
    """Check that the report opens from the disk without requests and fits a sheet of paper."""
    context = browser.new_context(viewport={"width": 900, "height": 1000})
    page = context.new_page()
    asked, said = [], []
    page.on("request", lambda r: asked.append(r.url))
    page.on("console", lambda message: said.append(message.text))
    page.goto(path.as_uri())
    page.get_by_role("heading", level=1, name="Thorax phantom").wait_for()
    loaded = page.locator("img").evaluate_all("all => all.map((i) => i.complete && i.naturalWidth)")
    assert loaded[:3] == [48, 48, 48]
    assert len(loaded) == 3 + 6  # of the reference, and of FBP with its differences
    assert page.get_by_text("Not for diagnosis").count() == 2
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 690, "height": 1000})  # A4 between its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 690
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    assert said == []
    context.close()
