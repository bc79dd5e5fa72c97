"""Volume rendering: pictures, camera by mouse, touch and keys, presets, links; without WebGL2."""

import pytest

from tests.browser.server import serve_script

pytestmark = pytest.mark.browser
# a box of bone of 40 mm along each axis, left of the middle, in soft tissue; voxels of 4 x 2 x 2 mm
APP = """
import numpy as np, streamlit as st
from tomopatch.volume import VolumeGeometry
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, viewer
st.set_page_config(layout="wide")
hu = np.full((24, 48, 48), -1000, "<i2")
hu[1:23, 4:44, 4:44] = 40
hu[7:17, 14:34, 22:42] = 1200
other = hu.copy()
other[7:12] = 40
deviation = np.zeros_like(hu)
viewer([ViewerVolume("Reference", hu), ViewerVolume("Half", other),
  ViewerVolume("Deviation", deviation, kind="heat")],
  VolumeGeometry(hu.shape, (4.0, 2.0, 2.0)), key="v",
  options=ViewerOptions(layouts=("side", "render"), window="full"))
"""
# bounding box of the opaque pixels above the letters of the axes, as fractions of the width, and their number
OPAQUE = """(c) => {
  const { width, height } = c, { data } = c.getContext('2d').getImageData(0, 0, width, height);
  let [x0, x1, y0, y1, count, sum] = [width, 0, height, 0, 0, 0];
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) {
    const q = 4 * (y * width + x);
    if (data[q + 3] < 200 || (x < 0.2 * width && y > 0.75 * height)) continue;
    x0 = Math.min(x0, x); x1 = Math.max(x1, x + 1); y0 = Math.min(y0, y); y1 = Math.max(y1, y + 1);
    count++; sum += data[q] - data[q + 2];
  }
  return { x0: x0 / width, x1: x1 / width, y0: y0 / width, y1: y1 / width, share: count / width / height,
    warmth: sum / Math.max(1, count) };
}"""
# the viewer has drawn nothing for 0.4 s: after a movement, the fine picture follows 0.2 s later
AT_REST = """async (viewer) => {
  const began = performance.now();
  for (let last = null, still = 0; still < 16;) {  // looks, not time: drawing may keep the page busy
    if (performance.now() - began > 120_000) throw new Error('the picture keeps changing');
    await new Promise((r) => setTimeout(r, 25));
    still = viewer.dataset.frames === last ? still + 1 : 0;
    last = viewer.dataset.frames;
  } }"""
NO_WEBGL = """const known = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
  return kind.startsWith('webgl') ? null : known.call(this, kind, ...more); };"""
ADDRESS = "window.tomopatchAddress = { setView(view) { window.lastView = view; } };"  # of the app's pages
FRONT = "v_0.5_0.5_0.5_0_2000_1_0.5_0.5_0.5_render.bone.0.0.100.0.1"


@pytest.fixture(scope="module")
def address(tmp_path_factory, browser):
    with serve_script(tmp_path_factory.mktemp("rendering"), APP) as address:
        yield address


def new_page(context):
    page = context.new_page()
    page.set_default_timeout(120_000)  # patient: the machine may be busy
    page.on("pageerror", lambda error: pytest.fail(str(error)))
    return page


@pytest.fixture(scope="module")
def usual(browser):
    """Return the page of all tests without options: loading it again costs less than another."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    yield new_page(context)
    context.close()


@pytest.fixture
def opened(browser, address, usual):
    contexts = []

    def start(view=FRONT, script="", **options):
        if script or options:
            contexts.append(browser.new_context(viewport={"width": 1200, "height": 900}, **options))
            page = new_page(contexts[-1])
            page.add_init_script(script)
        else:
            page = usual
            page.mouse.move(0, 0)
        page.goto(f"{address}/?view={view}")
        page.locator(".tv[data-frames]").wait_for()
        return page

    yield start
    for context in contexts:
        context.close()


def canvases(page):
    return page.locator(".tv .pane canvas")


def seen(page, i=0):
    """Return the opaque pixels of a picture, once it has stopped changing."""
    page.locator(".tv").evaluate(AT_REST)
    return canvases(page).nth(i).evaluate(OPAQUE)


def drag(page, across, down, i=0):
    box = canvases(page).nth(i).bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + across, y + down, steps=5)
    page.mouse.up()


def camera(page):
    seen(page)  # the picture after the last action
    return page.locator(".tv").get_attribute("data-camera")


def test_bone_is_seen_through_soft_tissue_in_its_true_proportions(opened):
    page = opened()
    whole, half = seen(page, 0), seen(page, 1)
    width, height = whole["x1"] - whole["x0"], whole["y1"] - whole["y0"]
    assert whole["share"] > 0.03
    assert width / height == pytest.approx(1, abs=0.12)  # a cube of anisotropic voxels
    assert (whole["x0"] + whole["x1"]) / 2 > 0.55  # the patient's left is on the right
    # the half that remains is the upper one
    assert half["y1"] - half["y0"] == pytest.approx(height / 2, rel=0.25)
    assert half["y1"] < whole["y1"] - 0.3 * height
    assert [canvases(page).nth(i).get_attribute("aria-label").split(",")[0] for i in (0, 1)] == [
        "Reference",
        "Half",
    ]


def test_dragging_turns_both_pictures(opened):
    page = opened()
    before = [seen(page, i) for i in (0, 1)]
    assert camera(page).startswith("from the front · turned 0°")
    drag(page, 120, 0, i=1)
    after = [seen(page, i) for i in (0, 1)]
    for old, new in zip(before, after, strict=True):
        assert new["x0"] != old["x0"]
        assert new["x1"] != old["x1"]
    # the same camera: both boxes have the same sides
    assert after[0]["x0"] == pytest.approx(after[1]["x0"], abs=0.03)
    assert after[0]["x1"] == pytest.approx(after[1]["x1"], abs=0.03)
    assert "turned −" in camera(page)


def test_the_surface_follows_the_pointer(opened):
    page = opened(FRONT.replace("bone.0.0", "bone.-90.0"))  # seen from the right, the box is in the back
    before = seen(page)
    drag(page, 60, 0)
    after = seen(page)
    assert (after["x0"] + after["x1"]) < (before["x0"] + before["x1"])  # the back moves against the pointer


def test_keys_and_wheel_turn_and_zoom(opened):
    page = opened()
    small = seen(page)
    canvases(page).first.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowUp")
    assert camera(page).startswith("from the front · turned 10° · raised −10°")
    page.keyboard.press("+")
    assert camera(page).endswith("zoom 1.1")
    large = seen(page)
    assert large["share"] > 1.1 * small["share"]
    page.keyboard.press("-")
    canvases(page).first.hover()
    page.mouse.wheel(0, -300)
    seen(page)
    assert float(camera(page).split()[-1]) > 1.2
    page.keyboard.press("3")
    assert page.get_by_role("button", name="Soft tissue").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Reset").click()
    seen(page)
    assert camera(page) == "from the front · turned 20° · raised 12° · zoom 1.0"


def test_two_fingers_zoom_and_one_turns(opened):
    page = opened(has_touch=True)
    seen(page)
    touch = page.context.new_cdp_session(page)
    box = canvases(page).first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def send(kind, *places):
        points = [{"x": x + dx, "y": y, "id": i} for i, dx in enumerate(places)]
        touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    send("touchStart", -30, 30)
    for k in range(1, 6):
        send("touchMove", -30 - 10 * k, 30 + 10 * k)
    send("touchEnd")
    seen(page)
    assert float(camera(page).split()[-1]) == pytest.approx(160 / 60, abs=0.3)
    assert "turned 0°" in camera(page)
    send("touchStart", 0)
    send("touchMove", 40)
    send("touchMove", 80)
    send("touchEnd")
    seen(page)
    assert "turned −" in camera(page)


def test_the_presets_differ_and_the_link_carries_preset_and_camera(opened):
    page = opened(script=ADDRESS)
    bone = seen(page)
    page.get_by_role("button", name="Soft tissue").click()
    soft = seen(page)
    assert soft["share"] > 2 * bone["share"]  # the tissue around the bone
    assert soft["warmth"] > bone["warmth"] + 20  # reddish
    drag(page, 50, 30)
    seen(page)
    page.get_by_label("Left").select_option("Half")
    page.wait_for_function("window.lastView?.endsWith('.1.0')")  # they change places
    linked = opened(page.evaluate("lastView"))
    seen(linked)
    assert camera(linked) == camera(page)
    assert linked.locator(".tv .caption").all_inner_texts() == ["Half", "Reference"]
    assert linked.get_by_role("button", name="Soft tissue").get_attribute("aria-pressed") == "true"


@pytest.mark.parametrize(
    "end", ["render.constructor.0.0.100.0.1", "render.bone.x.0.100.0.1", "render.bone", "render"]
)
def test_a_damaged_link_opens_the_usual_view(opened, end):
    page = opened(FRONT.rpartition("_")[0] + "_" + end)
    assert seen(page)["share"] > 0.02
    assert camera(page) == "from the front · turned 20° · raised 12° · zoom 1.0"


def test_one_volume_alone_and_no_deviation(opened):
    page = opened()
    options = page.get_by_label("Right").locator("option").all_inner_texts()
    assert options == ["Reference", "Half", "none"]
    page.get_by_label("Right").select_option("none")
    assert canvases(page).count() == 1


def test_without_webgl_a_still_picture_shows_the_same(opened):
    page = opened()
    expected = seen(page)
    without = opened(script=NO_WEBGL)
    found = seen(without)
    for name in ("x0", "x1", "y0", "y1"):
        assert found[name] == pytest.approx(expected[name], abs=0.03)
    assert "no graphics card" in without.locator(".tv .note").inner_text()
    drag(without, 120, 0)
    assert seen(without)["x0"] != found["x0"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_background_follows_the_theme_without_a_reload(opened, scheme):
    page = opened(color_scheme={"light": "dark", "dark": "light"}[scheme])
    seen(page)
    page.emulate_media(color_scheme=scheme)
    page.wait_for_function(
        """([pane, light]) => {
          const c = getComputedStyle(pane).backgroundColor.match(/[0-9.]+/g).slice(0, 3).map(Number);
          return (c[0] + c[1] + c[2]) / 3 > 200 === light;
        }""",
        arg=[page.locator(".tv .pane").first.element_handle(), scheme == "light"],
        polling=100,
    )
    assert (
        canvases(page).first.evaluate("(c) => c.getContext('2d').getImageData(c.width - 3, 3, 1, 1).data[3]")
        == 0
    )
