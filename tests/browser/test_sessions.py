"""Two visitors share the queue and see their position in it."""

import json
import re
from urllib.parse import quote

import pytest

pytestmark = pytest.mark.browser


def visit(browser, address, seed):
    """Open Reconstruct in a new session with a small scan."""
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    page = context.new_page()
    page.set_default_timeout(120_000)  # patient: the machine may be busy
    scan = {
        "source": "phantom:thorax:0",
        "grid": [32, 64, 64],
        "photons": 1e5,
        "seed": seed,
        "same_grid": True,
    }
    page.goto(f"{address}/reconstruct?scan={quote(json.dumps(scan))}")
    page.get_by_role("heading", level=1, name="Reconstruct").wait_for()
    return page


def run_sirt(page):
    page.get_by_role("radio", name="SIRT").click()
    iterations = page.get_by_role("spinbutton", name="Iterations")
    iterations.fill("2000")
    iterations.press("Enter")
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    page.get_by_role("button", name="Run", exact=True).click()


def test_the_second_session_waits_for_the_first(browser, address):
    first, second = visit(browser, address, 1), visit(browser, address, 2)
    run_sirt(first)
    first.get_by_text(re.compile(r"Iteration \d+ of 2000")).wait_for()
    run_sirt(second)
    second.get_by_text("Next in the queue").wait_for()
    first.get_by_role("button", name="Cancel", exact=True).click()
    first.get_by_text("This run was cancelled").wait_for()
    second.get_by_text(re.compile(r"Iteration \d+ of 2000")).wait_for()
    second.get_by_role("button", name="Finish now").click()
    second.get_by_text("finished early on request").wait_for()
    for page in (first, second):
        page.context.close()
