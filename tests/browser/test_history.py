"""Back, Forward, reload and links: one history entry per user action, with the visible slice."""

import json
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.browser.visits import follow

pytestmark = pytest.mark.browser
SCAN = {"source": "phantom:spheres", "grid": [16, 32, 32], "num_views": 12, "photons": 1e5, "same_grid": True}


def menu(page, name):
    """Open a page by the menu and wait until its script has ended."""
    page.get_by_test_id("stSidebarNav").get_by_role("link", name=name).click()
    page.get_by_role("heading", level=1, name=name).wait_for()
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")


def views_are(page, number):
    """Wait until the form shows this number of views."""
    from playwright.sync_api import expect

    slider = page.get_by_role("slider", name="Views")
    expect(slider).to_have_attribute("aria-valuetext", str(number), timeout=60_000)


def entries(page):
    page.wait_for_timeout(1000)  # an entry that must not exist would be added now
    return page.evaluate("history.length")


def test_each_action_is_one_entry_and_back_undoes_it(page, address):
    page.goto(f"{address}/acquire?scan={quote(json.dumps(SCAN))}")
    views = page.get_by_role("slider", name="Views")
    views.wait_for()
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    before = entries(page)
    views.press("ArrowRight")
    page.wait_for_url("**num_views%22%3A13**")
    menu(page, "Reconstruct")
    page.locator(".tv[data-frames]").first.wait_for()
    page.wait_for_url("**run=**")  # of the fast method, without an action of the user
    page.locator(".tv canvas").first.press("ArrowUp")
    page.wait_for_url("**view=live_**")
    menu(page, "Runs")
    menu(page, "Learn")
    assert entries(page) == before + 4
    for name in ("Runs", "Reconstruct", "Acquire"):
        page.go_back()
        page.get_by_role("heading", level=1, name=name).wait_for()
    page.go_back()
    page.wait_for_function("!location.href.includes('num_views%22%3A13')")
    views_are(page, 12)
    page.go_forward()
    views_are(page, 13)


def test_a_step_of_a_lesson_is_one_entry_and_the_next_lesson_follows_the_last(page):
    page.goto("/")
    menu(page, "Learn")
    before = entries(page)
    page.get_by_role("button", name="Open the balls on Acquire").click()
    page.wait_for_url("**step=1**")
    assert entries(page) == before + 1
    page.go_back()
    page.get_by_role("heading", level=1, name="Learn").wait_for()
    page.get_by_role("button", name="Open a chest on Acquire").click()
    page.get_by_test_id("stSidebar").get_by_role("button", name="Next lesson").click()
    page.get_by_role("heading", name="Why filtered").wait_for()
    page.get_by_text("What a scanner measures ✓").wait_for()


def test_a_link_opens_the_same_slice_window_layout_and_zoom_elsewhere(page, browser):
    page.goto("/")
    viewer = page.locator(".tv[data-frames]").first
    follow(page.get_by_role("button", name="Run the demo").first, viewer)
    page.get_by_role("button", name="coronal").click()
    page.get_by_label("Window", exact=True).select_option("bone")
    canvas = page.locator(".tv canvas").first
    canvas.press("PageUp")
    box = canvas.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -200)
    page.keyboard.up("Control")
    page.get_by_role("button", name="Difference").click()
    page.wait_for_url("**_difference**")
    link = page.url
    seen = viewer.evaluate("(v) => [v.dataset.cursor, v.dataset.window, v.dataset.layout]")
    zoom = float(parse_qs(urlsplit(link).query)["view"][0].split("_")[6])
    assert zoom > 1
    context = browser.new_context(viewport={"width": 1440, "height": 1000})
    other = context.new_page()
    other.set_default_timeout(120_000)
    other.goto(link)
    again = other.locator(".tv[data-frames]").first
    again.wait_for()
    cursor, window, layout = again.evaluate("(v) => [v.dataset.cursor, v.dataset.window, v.dataset.layout]")
    assert (window, layout) == (seen[1], seen[2])
    assert [float(f) for f in cursor.split(",")] == pytest.approx(
        [float(f) for f in seen[0].split(",")], abs=1e-3
    )
    other.wait_for_timeout(1500)
    assert "_difference" in other.url  # the server keeps it
    context.close()


def test_copy_link_copies_the_address(browser, address):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(f"{address}/acquire?scan={quote(json.dumps(SCAN))}")
    page.get_by_role("button", name="Copy link").click()
    page.get_by_role("button", name="Link copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()") == page.url
    context.close()


def test_the_menu_of_a_phone_closes_after_a_choice_and_on_reload(browser, address):
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(address)
    page.get_by_role("heading", level=1).wait_for()
    page.wait_for_function("() => window.tomopatchAddress", polling=100)  # it closes a menu that was open
    for name in ("Learn", "Runs"):
        page.get_by_test_id("stExpandSidebarButton").click()
        page.get_by_test_id("stSidebar").get_by_role("link", name=name).click()
        page.get_by_role("heading", level=1, name=name).wait_for()
        page.get_by_test_id("stExpandSidebarButton").wait_for()
    page.reload()
    page.get_by_test_id("stExpandSidebarButton").wait_for()
    context.close()
