"""The page What if by mouse: enter values, run, select a point, and reload."""

import json
import urllib.parse

import pytest

from tests.browser.downloads import download
from tests.browser.test_by_mouse import wait_for_pixels

pytestmark = pytest.mark.browser

SCAN = {"source": "phantom:spheres", "grid": [12, 32, 32], "same_grid": True}


def test_a_sweep_runs_and_its_points_can_be_selected(page, address):
    page.goto(f"{address}/what_if?" + urllib.parse.urlencode({"scan": json.dumps(SCAN)}))
    views = page.get_by_role("textbox", name="Views")
    views.fill("4, 8, 16")
    views.press("Enter")
    page.get_by_text("6 runs, 6 to do").wait_for()
    page.get_by_role("button", name="Run", exact=True).first.click()  # an earlier copy may still be present
    page.get_by_text("6 of 6 done.").wait_for()
    page.get_by_role("button", name="Stop").wait_for(state="hidden")
    points = page.locator(".js-plotly-plot .points path")
    page.wait_for_function(
        "() => document.querySelectorAll('.js-plotly-plot .points path').length >= 6", polling=100
    )
    wait_for_pixels(page)
    for place, words in ((0, "FBP, 4 views"), (5, "TV, 16 views")):
        box = points.nth(place).bounding_box()
        page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.get_by_text(f"Below: {words}").wait_for()
    page.reload()
    page.get_by_text("6 of 6 done.").wait_for()
    page.wait_for_function(
        "() => document.querySelectorAll('.js-plotly-plot .points path').length >= 6", polling=100
    )
    page.get_by_text("Numbers").click()
    lines = download(page, "Table (CSV)").path().read_text().splitlines()
    assert len(lines) == 7
    assert lines[0].startswith("method,num_views")
