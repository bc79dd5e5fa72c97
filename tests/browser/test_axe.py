"""Automated accessibility check of all pages with axe-core: light and dark, wide and narrow.

A finding of serious or critical impact fails. There are no exceptions: Streamlit's own widgets pass, too.
"""

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from pages.ui.session.routes import TITLES
from tests.browser.test_by_mouse import wait_for_pixels
from tests.browser.visits import use_theme

pytestmark = pytest.mark.browser
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text("utf-8")
SCAN = {"source": "phantom:thorax:0", "grid": [16, 48, 48], "photons": 1e5, "same_grid": True}
PATHS = ["" if title == "Home" else title.lower().replace(" ", "_") for title in TITLES.values()]
GRAVE = """async () => (await axe.run(document, { resultTypes: ['violations'] })).violations
  .filter((v) => ['serious', 'critical'].includes(v.impact))
  .flatMap((v) => v.nodes.map((n) => `${v.id}: ${n.target.flat().join(' ')} ${n.html.slice(0, 160)}`))"""


@pytest.fixture(scope="module", params=[1280, 390], ids=str)
def opened(request, browser, address):
    """Open a page with a finished run at this width."""
    context = browser.new_context(viewport={"width": request.param, "height": 1000}, color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(120_000)  # patient: the machine may be busy
    page.goto(f"{address}/reconstruct?scan={quote(json.dumps(SCAN))}")
    page.get_by_text("SSIM").first.wait_for()
    page.wait_for_function("() => location.search.includes('run=')", polling=100)
    yield page, address, page.url.split("?")[1]
    context.close()


def findings(page):
    """Return the grave findings of the open page in both themes, once it has settled and is all open."""
    page.get_by_role("heading", level=1).wait_for()
    page.get_by_text("Not for diagnosis").first.wait_for(state="attached")
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    for section in page.locator("summary").all():
        section.click()
    page.mouse.move(0, 0)
    found = []
    for theme in ("light", "dark"):
        use_theme(page, theme)
        page.evaluate(AXE)
        found += page.evaluate(GRAVE)
    page.emulate_media(color_scheme="light")
    return found


@pytest.mark.parametrize("path", PATHS)
def test_a_page_has_no_grave_findings(opened, path):
    page, address, query = opened
    page.goto(f"{address}/{path}?{query}")
    if path in ("reconstruct", "compare"):
        wait_for_pixels(page)
    assert findings(page) == []


@pytest.mark.parametrize("lesson", ["challenge", "contrast", "dose"])
def test_lessons_and_challenges_have_none(opened, lesson):
    page, address, query = opened
    page.goto(f"{address}/learn?{query}&lesson={lesson}")
    assert findings(page) == []


def test_the_volume_rendering_has_none(opened):
    page, address, query = opened
    page.goto(f"{address}/compare?{query}")
    wait_for_pixels(page)
    page.get_by_role("button", name="3D").click()
    page.get_by_role("button", name="Soft tissue").wait_for()
    assert findings(page) == []


def test_a_missing_name_and_faint_text_are_detected(opened):
    """Check that findings are reported, also within the viewer's shadow root."""
    page, address, query = opened
    page.goto(f"{address}/compare?{query}")
    wait_for_pixels(page)
    page.locator(".tv .bar .icon").first.evaluate(
        "(b) => ['aria-label', 'title'].forEach((n) => b.removeAttribute(n))"
    )
    page.locator("h1").evaluate("(n) => { n.style.color = '#888'; n.style.background = '#999'; }")
    page.evaluate(AXE)
    found = page.evaluate(GRAVE)
    assert any(text.startswith("button-name") for text in found)
    assert any(text.startswith("color-contrast") for text in found)
