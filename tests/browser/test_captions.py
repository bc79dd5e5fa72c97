"""Captions of pictures do not overlap in narrow windows and are complete on hover."""

import pytest

from tests.browser.screenshots import keep
from tests.browser.server import serve_script

pytestmark = pytest.mark.browser
NAMES = [f"Diffusion, {a}°, 10 000 photons per ray" for a in (180, 120, 90, 60)]
APP = f"""
import numpy as np, streamlit as st
from tomopatch.volume import VolumeGeometry
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, viewer
st.set_page_config(layout="wide")
volume = np.full((8, 32, 32), -1000, "<i2")
viewer([ViewerVolume("Reference", volume), *(ViewerVolume(name, volume + 1500,
  "initial, iteration 120") for name in {NAMES})],
       VolumeGeometry((8, 32, 32)), key="v",
       options=ViewerOptions(layouts=("side", "difference", "swipe"), window="full"))
"""
BOXES = """() => {
  const panes = [...document.querySelectorAll('*')].flatMap((n) =>
    [...(n.shadowRoot?.querySelectorAll('.pane') || [])]);
  return panes.map((pane) => [pane, ...pane.querySelectorAll('b, .caption span, canvas')].map((n) => {
    const { left, right, top, bottom } = n.getBoundingClientRect();
    return { left, right, top, bottom, text: n.textContent, title: n.title };
  }));
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory, browser):
    with serve_script(tmp_path_factory.mktemp("captions"), APP) as address:
        yield address


@pytest.fixture(scope="module", params=[900, 1280])
def opened(request, browser, address):
    """Open the viewer at this width; the tests differ in its layout alone."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    page.set_default_timeout(120_000)  # patient: the machine may be busy
    page.goto(address)
    page.locator(".tv[data-frames]").wait_for()
    yield page, request.param
    page.close()


@pytest.mark.parametrize("layout", ["Side by side", "Difference", "Swipe"])
def test_captions_do_not_overlap_and_are_complete_on_hover(opened, layout):
    page, width = opened
    page.get_by_role("button", name=layout).click()
    name = layout.split()[0].lower()
    page.locator(f".tv[data-layout={name}]").wait_for()
    found = page.evaluate(BOXES)
    keep(page, f"captions-{name}-{width}")
    assert len(found) == {"side": 5, "difference": 4, "swipe": 2}[name]
    for pane, title, note, canvas in found:
        assert pane["left"] <= title["left"] < title["right"] <= note["left"] + 0.5
        assert note["right"] <= pane["right"]
        assert max(title["bottom"], note["bottom"]) <= canvas["top"] + 0.5  # not on the picture
        assert title["right"] - title["left"] > 30  # something is left of it
        assert (title["title"], note["title"]) == (title["text"], note["text"])
    rows = {}
    for pane, *_, canvas in found:
        rows.setdefault(round(pane["top"]), set()).add(round(canvas["top"]))
    assert all(len(tops) == 1 for tops in rows.values())  # pictures of a row stand on one line
