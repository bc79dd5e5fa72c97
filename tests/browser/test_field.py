"""The slice viewer shows the object of the reference, and the full field on request."""

import time

import pytest

from tests.browser.server import serve_script
from tests.browser.test_viewer import act

pytestmark = pytest.mark.browser
# a round body away from the middle; the other volume has streaks outside of it. With ?light in the address, a
# body of -700 HU with a small dense part, such as a measured tooth
APP = """
import numpy as np, streamlit as st
from tomopatch.volume import VolumeGeometry
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, viewer
st.set_page_config(layout="wide")
z, y, x = np.mgrid[:24, :96, :96]
body = ((y - 40) / 20) ** 2 + ((x - 56) / 30) ** 2 < 1
light = "light" in st.query_params
dense = np.abs(y - 40) + np.abs(x - 56) < 16
inside = np.where(dense, -300, -700) if light else 40
reference = np.where(body, inside, -1000).astype("<i2")
test = np.where(body, 40, np.where(x < 4, 300, -1000)).astype("<i2")
viewer([ViewerVolume("Reference", reference), ViewerVolume("Test", test)], VolumeGeometry((24, 96, 96), (8.0,
  2.0, 2.0)), key="v", options=ViewerOptions(
  layouts=("side", "planes"), window="full", fit=True, places=[(0.5, 40 / 96, 56 / 96)],
  **({"air": -850} if light else {})))
"""
EMPTY = """(c) => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; let n = 0;
  for (let i = 0; i < d.length; i += 4) n += d[i] + d[i + 1] + d[i + 2] < 12; return 4 * n / d.length; }"""


@pytest.fixture(scope="module")
def address(tmp_path_factory, browser):
    with serve_script(tmp_path_factory.mktemp("field"), APP) as address:
        yield address


@pytest.fixture
def page(browser, address):
    page = browser.new_page(viewport={"width": 1200, "height": 800})
    page.set_default_timeout(120_000)  # patient: the machine may be busy
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    page.goto(address)
    page.locator(".tv[data-frames]").wait_for()
    yield page
    page.close()


def wait_until(page, holds):
    """Wait for a picture that is drawn a second time once its pane has its new size."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        page.wait_for_timeout(50)


def test_pictures_fit_the_object_until_the_full_field_is_chosen(page):
    canvases = page.locator(".tv .pane canvas")
    assert [canvases.nth(i).evaluate(EMPTY) < 0.25 for i in (0, 1)] == [True, True]
    sizes = [canvas.bounding_box() for canvas in canvases.all()]
    assert sizes[0]["width"] == sizes[1]["width"]
    assert sizes[0]["height"] == sizes[1]["height"]
    assert sizes[0]["width"] / sizes[0]["height"] == pytest.approx(60 / 40, rel=0.05)
    act(page, "coronal")
    wait_until(page, lambda: canvases.first.evaluate(EMPTY) < 0.25)
    act(page, "axial")
    act(page, "Full field")
    wait_until(page, lambda: canvases.first.evaluate(EMPTY) > 0.6)
    box = canvases.first.bounding_box()
    assert box["width"] == pytest.approx(box["height"], rel=0.02)


def test_the_three_planes_have_the_same_scale(page):
    """Shared edges are equally long: the three planes read as one body."""
    act(page, "Planes")
    axial, coronal, sagittal = (c.bounding_box() for c in page.locator(".tv .pane canvas").all())
    assert axial["width"] == pytest.approx(coronal["width"], abs=1)
    assert coronal["height"] == pytest.approx(sagittal["height"], abs=1)
    assert sagittal["width"] == pytest.approx(axial["height"], abs=1)
    assert coronal["width"] / coronal["height"] == pytest.approx(60 * 2 / (24 * 8), rel=0.05)


def test_a_click_selects_the_voxel_under_it(page):
    """The crosshair is a fraction of the volume, not of the picture."""
    canvas = page.locator(".tv .pane canvas").first
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    page.wait_for_timeout(300)
    _, y, x = map(float, page.locator(".tv").get_attribute("data-cursor").split(","))
    assert (y, x) == pytest.approx((40.5 / 96, 56.5 / 96), abs=1 / 96)


def test_the_lesion_is_in_the_middle_of_a_zoomed_picture(page):
    canvas = page.locator(".tv .pane canvas").first
    canvas.hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -600)
    page.keyboard.up("Control")
    act(page, "Go to lesion")
    box = canvas.bounding_box()
    canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
    page.wait_for_timeout(300)
    _, y, x = map(float, page.locator(".tv").get_attribute("data-cursor").split(","))
    assert (y, x) == pytest.approx((40 / 96, 56 / 96), abs=1 / 96)


def test_the_object_of_a_light_material_is_not_cut(page, address):
    page.goto(f"{address}/?light=1")
    page.locator(".tv[data-frames]").wait_for()
    box = page.locator(".tv .pane canvas").first.bounding_box()
    assert box["width"] / box["height"] == pytest.approx(60 / 40, rel=0.05)
