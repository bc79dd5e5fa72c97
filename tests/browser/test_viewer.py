"""Slice viewer by mouse and keyboard: projections, flicker, overlay of the deviation."""

import time
from pathlib import Path

import pytest

import pages.ui.viewer
from tests.browser.server import serve_script

pytestmark = pytest.mark.browser
# a bright block away from the middle slices, and a deviation in another corner
APP = """
import numpy as np, streamlit as st
from tomopatch.volume import VolumeGeometry
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, viewer
st.set_page_config(layout="wide")
reference = np.full((32, 32, 32), -1000, "<i2")
test, deviation = reference.copy(), np.zeros((32, 32, 32), "<i2")
test[4:8, 8:12, 20:24] = 1000
deviation[:, 20:28, 4:12] = 100
viewer([ViewerVolume("Test", test), ViewerVolume("Deviation", deviation, kind="heat"),
  ViewerVolume("Reference", reference)],
       VolumeGeometry((32, 32, 32)), key="v", options=ViewerOptions(
         layouts=("side", "planes", "difference", "flicker", "swipe"),
         window="full", reference=2, places=[(0.1875, 0.3125, 0.6875)]))
"""
PIXEL = """(c, [u, v]) => {
  const side = Math.min(c.width, c.height), x = c.width / 2 + (u - 0.5) * side,
    y = c.height / 2 + (v - 0.5) * side;
  return [...c.getContext('2d').getImageData(x, y, 1, 1).data].slice(0, 3);
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory, browser):
    with serve_script(tmp_path_factory.mktemp("viewer"), APP) as address:
        yield address


@pytest.fixture(scope="module")
def window(browser):
    """Return the page of all tests: loading it again costs less than another."""
    page = browser.new_page()
    page.set_default_timeout(120_000)  # patient: the machine may be busy
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    yield page
    page.close()


@pytest.fixture
def opened(window, address):
    def start(motion="no-preference"):
        window.goto("about:blank")  # which leaves the full screen
        window.set_viewport_size({"width": 1200, "height": 800})
        window.emulate_media(reduced_motion=motion)
        window.mouse.move(0, 0)
        window.goto(address)
        window.locator(".tv[data-frames]").wait_for()
        return window

    return start


def act(page, name):
    """Press a button of the viewer and wait until it has drawn."""
    viewer = page.locator(".tv")
    before = viewer.get_attribute("data-frames")
    page.get_by_role("button", name=name).click()
    page.wait_for_function(
        "([v, n]) => v.dataset.frames !== n", arg=[viewer.element_handle(), before], polling=100
    )


def bright(canvas, spot):
    """Wait until the picture is bright there: another element may be drawn before it."""
    deadline = time.monotonic() + 60
    while min(canvas.evaluate(PIXEL, spot)) <= 200:
        assert time.monotonic() < deadline, f"{spot} stays dark"
        time.sleep(0.05)


def test_a_projection_shows_voxels_outside_the_current_slices(opened):
    page = opened()
    canvas, block = page.locator(".tv canvas").nth(1), [22 / 32, 10 / 32]
    assert canvas.evaluate(PIXEL, block) == [0, 0, 0]
    act(page, "MIP")
    bright(canvas, block)
    assert "projection" in canvas.get_attribute("aria-label")
    act(page, "coronal")  # the block lies low: z from 4 to 8, the head up
    bright(canvas, [22 / 32, 1 - 6 / 32])
    act(page, "sagittal")
    bright(canvas, [10 / 32, 1 - 6 / 32])
    assert canvas.evaluate(PIXEL, [10 / 32, 6 / 32]) == [0, 0, 0]
    assert page.get_by_label("Window", exact=True).input_value() == "bone"
    act(page, "MIP")
    assert page.get_by_label("Window", exact=True).input_value() == "full"


def test_the_deviation_overlay_is_coloured(opened):
    page = opened()
    canvas, spot = page.locator(".tv canvas").nth(1), [8 / 32, 24 / 32]
    assert canvas.evaluate(PIXEL, spot) == [0, 0, 0]
    act(page, "Deviation as an overlay: show or hide")
    red, _, blue = canvas.evaluate(PIXEL, spot)
    assert red > blue + 40
    assert canvas.evaluate(PIXEL, [20 / 32, 24 / 32]) == [0, 0, 0]
    reference = page.locator(".tv .pane canvas").first
    assert reference.evaluate(PIXEL, spot) == [0, 0, 0]  # it is the test's


def test_the_reference_comes_first_wherever_the_page_lists_it(opened):
    page = opened()
    pictures = [c.get_attribute("aria-label") for c in page.locator(".tv .pane canvas").all()]
    assert [label.split(",")[0] for label in pictures] == ["Reference", "Test", "Deviation"]
    act(page, "Swipe")
    chosen = [page.get_by_label(side, exact=True).input_value() for side in ("Left", "Right")]
    assert chosen == ["2", "0"]  # the reference, the test


def shown(page):
    return page.locator(".tv canvas").first.get_attribute("aria-label").split(",")[0]


def test_flicker_alternates_until_the_space_bar(opened):
    page = opened()
    act(page, "Flicker")
    first = page.locator(".tv canvas").first
    for name in ("Reference", "Test", "Reference"):
        page.wait_for_function(
            "([c, name]) => c.getAttribute('aria-label').startsWith(name)",
            arg=[first.element_handle(), name],
            polling=100,
        )
    first.press(" ")
    held = shown(page)
    page.wait_for_timeout(1300)
    assert shown(page) == held


def test_flicker_respects_reduced_motion(opened):
    page = opened(motion="reduce")
    act(page, "Flicker")
    page.wait_for_timeout(1300)
    assert shown(page) == "Test"
    page.locator(".tv canvas").first.press(" ")
    page.wait_for_timeout(1300)
    assert shown(page) == "Reference"


@pytest.mark.parametrize(
    ("voxel", "bar", "position"),
    [
        (1e-5, "10 nm", "0.00010"),
        (0.0005, "0.5 µm", "0.0050"),
        (0.1, "0.1 mm", "1.0"),
        (1.0, "1 mm", "10"),
        (20.0, "2 cm", "200"),
        (500.0, "50 cm", "5000"),
        (2000.0, "2 m", "20000"),
    ],
)
def test_lengths_suit_the_voxel_size(browser, voxel, bar, position):
    page = browser.new_page()
    script = Path(pages.ui.viewer.__file__).parent / "viewer_parts.js"
    page.add_script_tag(content=script.read_text("utf-8"))
    found = page.evaluate(
        """(voxel) => [lengthLabel(roundLength(1.1 * voxel)),
            ...[10, -1e-9].map((n) => fixed(n * voxel, voxel))]""",
        voxel,
    )
    page.close()
    assert found[:2] == [bar, position]
    assert float(found[2]) == 0
    assert "-" not in found[2]


def test_a_button_moves_the_crosshair_to_the_lesion(opened):
    page = opened()
    assert page.locator(".tv").get_attribute("data-cursor") == "0.5,0.5,0.5"
    act(page, "Go to lesion")
    assert page.locator(".tv").get_attribute("data-cursor") == "0.1875,0.3125,0.6875"
    assert page.locator(".tv canvas").nth(1).evaluate(PIXEL, [0.6875 - 0.04, 0.3125 - 0.04])[0] > 200


def wheres(page):
    return page.locator(".tv .where").inner_text()


def test_the_readout_follows_the_wheel_under_a_resting_pointer(opened):
    page = opened()
    box = page.locator(".tv canvas").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
    page.wait_for_timeout(300)
    before = wheres(page)
    page.mouse.wheel(0, 200)
    page.wait_for_timeout(500)
    after = wheres(page)
    assert before.split("·")[:2] == after.split("·")[:2]  # x and y of the pointer
    assert before.split("·")[2] != after.split("·")[2]


@pytest.mark.parametrize("width", [700, 1200])
def test_each_picture_fills_its_pane(opened, width):
    page = opened()
    page.set_viewport_size({"width": width, "height": 800})
    page.wait_for_timeout(500)
    for canvas in page.locator(".tv .pane canvas").all():
        box = canvas.bounding_box()  # the slices are square
        assert min(box["width"], box["height"]) > 0.75 * max(box["width"], box["height"])


def test_full_screen_uses_the_height(opened):
    page = opened()
    page.set_viewport_size({"width": 800, "height": 900})
    act(page, "Full screen")
    page.wait_for_timeout(800)
    panes = [p.bounding_box() for p in page.locator(".tv .pane").all()]
    used = max(p["y"] + p["height"] for p in panes) - min(p["y"] for p in panes)
    # the buttons above and the line below take the rest
    assert used > 0.78 * page.evaluate("innerHeight")
    assert (
        page.locator(".tv .caption").first.evaluate("(e) => parseFloat(getComputedStyle(e).fontSize)") >= 18
    )


def test_pictures_lie_below_the_buttons_on_a_small_full_screen(opened):
    """The buttons need two rows there."""
    page = opened()
    page.set_viewport_size({"width": 720, "height": 420})
    act(page, "Full screen")
    page.wait_for_timeout(800)
    width, height = page.evaluate("[innerWidth, innerHeight]")
    for layout in ("Planes", "Side by side"):
        act(page, layout)
        bar, foot = (page.locator(f".tv .{name}").bounding_box() for name in ("bar", "foot"))
        assert bar["height"] > 60  # two rows
        buttons = [b.bounding_box() for b in page.locator(".tv .bar button").all()]
        for pane in (p.bounding_box() for p in page.locator(".tv .pane").all()):
            assert pane["y"] >= max(b["y"] + b["height"] for b in buttons)
            assert pane["y"] + pane["height"] <= foot["y"]
            assert pane["x"] >= 8
            assert pane["x"] + pane["width"] <= width - 8
        assert foot["y"] + foot["height"] <= height


def test_the_picture_of_a_view_has_the_size_of_a_screen(opened, tmp_path):
    from PIL import Image

    page = opened()
    act(page, "Difference")
    with page.expect_download() as download:
        page.get_by_role("button", name="This view as PNG").click()
    path = tmp_path / "view.png"
    download.value.save_as(path)
    assert download.value.suggested_filename == "tomopatch-difference-axial.png"
    with Image.open(path) as picture:
        assert picture.width >= 1920
        assert len(picture.convert("RGB").getcolors(2**24)) > 3
