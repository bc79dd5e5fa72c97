"""Main workflow by mouse: demo; own scan; a run that is watched, reloaded, finished early and compared."""

import contextlib
import re

import pytest

from tests.browser.screenshots import keep
from tests.browser.visits import follow, press

pytestmark = pytest.mark.browser


def drawn(page):
    """Return the viewer once it has drawn.

    It is in a shadow root, which locators reach and scripts do not.
    """
    view = page.locator(".tv[data-frames]").first
    view.wait_for()
    return view


def wait_for_pixels(page):
    """Wait until the first picture is neither black nor uniform."""
    page.locator(".tv canvas").first.evaluate(
        """async (c) => {
        for (const began = performance.now(); performance.now() - began < 170_000;) {  // patient, too
          const d = c.getContext('2d').getImageData(c.width / 4, c.height / 4, c.width / 2, c.height /
          2).data; let low = 255, high = 0; for (let i = 0; i < d.length; i += 4) { low = Math.min(low, d[i]);
          high = Math.max(high, d[i]); } if (high - low > 60) return; await new Promise((r) => setTimeout(r,
          20));
        }
        throw new Error('the picture stays empty'); }"""
    )


def open_page(page, name):
    link = page.get_by_test_id("stSidebarNav").get_by_text(name, exact=True)
    follow(link, page.get_by_role("heading", level=1, name=name))


@pytest.mark.parametrize("begin", ["Home", "Compare"])
def test_the_demo_button_opens_a_comparison_that_completes_itself(page, begin):
    """The demo takes at most two clicks, from Home or from a page without a scan."""
    page.goto("/")
    if begin != "Home":
        open_page(page, begin)
        page.get_by_text("There is no scan yet").wait_for()
    page.get_by_role("button", name="Run the demo").click()
    page.get_by_role("heading", level=1, name="Compare").wait_for()
    drawn(page)
    wait_for_pixels(page)
    page.get_by_text("Values along a line").wait_for()
    page.wait_for_function("() => location.search.includes('compare=')", polling=100)
    slice_viewer = page.locator(".tv .pane .caption b").all_inner_texts()
    assert slice_viewer == ["Reference", "FBP", "TV", "Diffusion"]
    keep(page, f"demo-{begin}")
    cancel_all(page)


def cancel_all(page):
    """Cancel slow runs, which would delay the next test; some may end before."""
    from playwright.sync_api import TimeoutError

    for name in ("Cancel TV", "Cancel Diffusion"):
        button = page.get_by_role("button", name=name)
        with contextlib.suppress(TimeoutError):
            if not button.is_visible():  # the list of runs closes when one is pressed
                page.get_by_role("button", name="Cancel", exact=True).click(timeout=5_000)
            button.click(timeout=5_000)


def test_a_scan_is_watched_reloaded_finished_early_and_compared(page):
    page.goto("/")
    open_page(page, "Acquire")
    page.locator(".sv canvas").first.wait_for()
    page.get_by_text("Detector and orbit").click()
    press(page.get_by_text("Simulate on the reconstruction grid"))  # quicker
    page.wait_for_function("() => decodeURIComponent(location.search).includes('same_grid')", polling=100)
    page.get_by_role("button", name="Reconstruct this scan").click()
    page.get_by_role("heading", level=1, name="Reconstruct").wait_for()
    page.get_by_role("radio", name="SIRT").click()
    iterations = page.get_by_role("spinbutton", name="Iterations")
    iterations.fill("1000")
    iterations.press("Enter")
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    page.get_by_role("button", name="Run", exact=True).click()

    running = page.get_by_text(re.compile(r"Iteration \d+ of 1000"))
    running.wait_for()
    wait_for_pixels(page)
    before = int(re.search(r"Iteration (\d+)", running.inner_text()).group(1))
    page.wait_for_function(
        "n => { const m = document.body.innerText.match(/Iteration (\\d+) of 1000/); return m && "
        "Number(m[1]) > n; }",
        arg=before,
        polling=100,
    )
    assert "run=" in page.url

    page.reload()
    running.wait_for()  # a new session, the same run
    page.get_by_role("button", name="Finish now").click()
    page.get_by_text("finished early on request").wait_for()
    page.get_by_text("PSNR").first.wait_for()

    page.get_by_role("button", name="Compare runs").click()
    page.get_by_text("Values along a line").wait_for()
    assert drawn(page).get_attribute("data-layout") == "side"
    page.get_by_role("button", name="Difference").click()
    page.locator(".tv[data-layout=difference]").wait_for()


def test_the_viewer_follows_wheel_keys_and_drag_at_once(page):
    page.goto("/acquire")
    page.get_by_text("Look at the volume").click()
    view = drawn(page)
    canvas = page.locator(".tv canvas").first
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def cursor():
        return [float(f) for f in view.get_attribute("data-cursor").split(",")]

    def width():
        return float(view.get_attribute("data-window").split(",")[1])

    def changed(name, act):
        before = view.get_attribute(f"data-{name}")
        act()
        page.locator(f".tv:not([data-{name}='{before}'])").first.wait_for()

    page.mouse.move(x, y)
    z = cursor()[0]
    changed("cursor", lambda: page.mouse.wheel(0, 120))
    assert cursor()[0] == pytest.approx(z - 1 / 64, abs=1 / 64)
    # by its place in the picture: the expander may still be opening
    place = {"x": box["width"] / 2 - 30, "y": box["height"] / 2 + 20}
    changed("cursor", lambda: canvas.click(position=place))
    assert cursor()[2] < 0.5 < cursor()[1]  # left of the middle is the patient's right, below is the back
    z = cursor()[0]
    changed("cursor", lambda: canvas.press("PageUp"))
    assert cursor()[0] > z

    def right_drag():
        page.mouse.move(x, y)
        page.mouse.down(button="right")
        page.mouse.move(x + 40, y + 10)
        page.mouse.up(button="right")

    before = width()
    changed("window", right_drag)
    assert width() > before
    took = float(view.get_attribute("data-ms"))
    print(f"redraw of three planes: {took:.1f} ms")
    assert took < 100  # loose: the machine may be busy; tests/bench/viewer.py measures


def test_a_deep_link_opens_its_page(browser, address):
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(180_000)  # patient: the machine may be busy
    page.goto(f"{address}/reconstruct")
    page.get_by_role("heading", level=1, name="Reconstruct").wait_for()
    page.get_by_text("There is no scan yet").wait_for()
    page.get_by_text("Not for diagnosis").wait_for()
    context.close()
