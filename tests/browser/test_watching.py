"""A diffusion run by mouse: three linked pictures, replay and GIF."""

import json
import re
from urllib.parse import urlencode

import pytest
from PIL import Image

from tests.browser.downloads import download
from tests.browser.test_by_mouse import drawn

pytestmark = pytest.mark.browser

SCAN = {"source": "phantom:thorax:0", "grid": [32, 64, 64], "num_views": 20, "same_grid": True}


def test_a_diffusion_run_is_watched_replayed_and_downloaded(page, address, tmp_path):
    page.goto(f"{address}/reconstruct?{urlencode({'scan': json.dumps(SCAN)})}")
    page.get_by_role("radio", name="Diffusion").click()
    steps = page.get_by_role("spinbutton", name="Steps")
    steps.fill("12")
    steps.press("Enter")
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    page.get_by_role("button", name="Run", exact=True).click()

    # never a blank page; a quick stage may pass between two refreshes
    stages = r"(Initial reconstruction, iteration|First pass, patch|Step) \d+ of"
    page.get_by_text(re.compile(stages)).first.wait_for()
    for name in ("Before", "After the prior", "After the scan"):
        page.get_by_label(f"{name}, axial slice").wait_for()
    view = drawn(page)
    tiles = page.get_by_role("button", name=re.compile("Tiles"))
    assert tiles.get_attribute("aria-pressed") == "true"
    tiles.click()
    assert tiles.get_attribute("aria-pressed") == "false"
    before = view.get_attribute("data-cursor")
    page.get_by_label("After the prior, axial slice").press("PageUp")  # another slice during the run
    page.locator(f".tv:not([data-cursor='{before}'])").first.wait_for()
    chosen = view.get_attribute("data-cursor")

    page.get_by_text("Replay", exact=True).click()
    slider = page.get_by_label("Replay", exact=True)
    slider.wait_for()
    view = drawn(page)
    assert view.get_attribute("data-cursor") == chosen  # the slice is kept after the run
    last = int(view.get_attribute("data-frame"))
    page.get_by_text(re.compile(r"Step 12 of 12")).wait_for()
    slider.press("ArrowLeft")
    page.locator(f".tv[data-frame='{last - 1}']").wait_for()
    page.get_by_text(re.compile(r"Step 11 of 12")).wait_for()
    slider.press("Home")
    page.get_by_text(re.compile(r"Initial reconstruction 1 of")).wait_for()

    download(page, "Download GIF").save_as(tmp_path / "run.gif")
    assert Image.open(tmp_path / "run.gif").n_frames > 12


def test_on_a_phone_the_pictures_precede_the_parameters(page, address):
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{address}/reconstruct?{urlencode({'scan': json.dumps(SCAN)})}")
    drawn(page)
    page.get_by_role("radio", name="Diffusion").click()
    steps = page.get_by_role("spinbutton", name="Steps")
    steps.wait_for()
    places = [
        where.bounding_box()["y"]
        for where in (page.get_by_role("button", name="Run", exact=True), page.locator(".tv").first, steps)
    ]
    assert places == sorted(places)
    for where in (page.locator(".tv").first, steps):  # and over the width that is there
        box = where.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 420


def test_a_prior_can_be_chosen(page, address):
    page.goto(f"{address}/reconstruct?{urlencode({'scan': json.dumps(SCAN)})}")
    page.get_by_role("radio", name="Diffusion").click()
    page.get_by_role("spinbutton", name="Samples").wait_for()  # the form that was asked for
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    page.get_by_role("combobox", name="Prior").click()
    page.get_by_role("option", name="small (faster)").click()
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text(re.compile(r"prior small\): done on")).wait_for()
