"""Table of runs by mouse, while other visitors start runs."""

import json
from urllib.parse import quote

import pytest

from tests.browser.screenshots import keep

pytestmark = pytest.mark.browser
SCAN = {"source": "phantom:spheres", "grid": [12, 32, 32], "num_views": 9, "same_grid": True}


def make_fbp(page, address, seed):
    page.goto(f"{address}/reconstruct?scan={quote(json.dumps(SCAN | {'photons': 1e5, 'seed': seed}))}")
    page.get_by_text("SSIM").first.wait_for()


def test_a_tick_stays_with_its_run_when_another_run_appears(page, address):
    for seed in (1, 2):
        make_fbp(page, address, seed)
    page.get_by_test_id("stSidebarNav").get_by_text("Runs", exact=True).click()
    table = page.get_by_test_id("stDataFrame")
    table.wait_for()
    page.wait_for_timeout(1000)
    table.click(position={"x": 16, "y": 34 + 32})  # the newest, of seed 2
    keeps = page.get_by_role("button", name="Keep", exact=True)
    keeps.wait_for()
    other = page.context.browser.new_context()
    make_fbp(other.new_page(), address, 3)
    other.close()
    keeps.click()
    unkeep = page.get_by_role("button", name="Do not keep")
    unkeep.wait_for()  # and it is ticked still, on the row below
    keep(page, "runs-ticked")
    page.get_by_role("button", name="Open").click()
    page.get_by_role("heading", level=1, name="Reconstruct").wait_for()
    page.wait_for_function("() => decodeURIComponent(location.search).includes('\"seed\":2')", polling=100)
