"""Names of all controls and pictures for screen readers, and keyboard focus."""

import json
from urllib.parse import quote

import pytest

from pages.ui.session.routes import TITLES
from tests.browser.test_by_mouse import wait_for_pixels

pytestmark = pytest.mark.browser
SCAN = {"source": "phantom:thorax:0", "grid": [16, 48, 48], "photons": 1e5, "same_grid": True}
PATHS = ["" if title == "Home" else title.lower().replace(" ", "_") for title in TITLES.values()]
NAMELESS = """() => {
  const wanted = 'button, a[href], input, select, textarea, canvas, img, ' +
    '[role=button], [role=slider], [role=radio], ' +
    '[role=tab], [role=combobox], [role=switch], [role=img]';
  const said = (root, ids) => ids.split(/\\s+/).map((id) => root.getElementById(id)?.textContent ||
    '').join(' ');
  const name = (node) => {
    const root = node.getRootNode(), own = (a) => node.getAttribute(a) || '';
    const labels = [...(node.labels || [])].map((l) => l.textContent).join(' ');
    const text = node.matches('button, a, [role=button], [role=tab], [role=radio]') ? node.textContent : '';
    const inside = [...node.querySelectorAll('[aria-label], [alt], title')].map((n) =>
      n.getAttribute('aria-label') || n.textContent);
    return [own('aria-label'), said(root, own('aria-labelledby')), labels, own('alt'), text, own('title'),
      ...inside].join('').trim();
  };
  const shown = (node) => node.checkVisibility({ visibilityProperty: true }) &&
    !node.closest('[aria-hidden=true]');
  const skipped = '[data-testid=stDataFrame], [data-testid=stToolbar], [data-testid=stHeader], .modebar';
  const found = [];
  const walk = (root) => root.querySelectorAll('*').forEach((node) => {
    if (node.shadowRoot) walk(node.shadowRoot);
    const plain = node.matches('input[type=hidden], input[type=file]') || node.tabIndex < 0 &&
      node.matches('input');
    if (node.matches(wanted) && !plain && shown(node) && !node.closest(skipped) && !name(node)) {
      found.push(node.outerHTML.slice(0, 240));
    }
  });
  walk(document);
  return found;
}"""


@pytest.fixture(scope="module")
def address_of_a_run(browser, address):
    """Return the address after a run of FBP on a small scan."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(180_000)
    page.goto(f"{address}/reconstruct?scan={quote(json.dumps(SCAN))}")
    page.get_by_text("SSIM").first.wait_for()
    query = page.url.split("?")[1]
    context.close()
    return query


def settled(page):
    page.get_by_role("heading", level=1).wait_for()
    page.get_by_text("Not for diagnosis").first.wait_for()
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")


@pytest.mark.parametrize("path", PATHS)
def test_all_controls_have_names(page, address, address_of_a_run, path):
    page.goto(f"{address}/{path}?{address_of_a_run}")
    settled(page)
    if path in ("reconstruct", "compare"):
        wait_for_pixels(page)
    for closed in page.locator("summary").all():
        closed.click()
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    assert page.evaluate(NAMELESS) == []


def test_a_nameless_element_is_detected(page):
    """Check that the search finds anything at all."""
    page.goto("/")
    settled(page)
    page.evaluate(
        "() => document.querySelector('[data-testid=stMain]').append(document.createElement('canvas'))"
    )
    assert len(page.evaluate(NAMELESS)) == 1


def test_the_keyboard_focus_follows_the_order_on_the_screen(page, address, address_of_a_run):
    page.goto(f"{address}/compare?{address_of_a_run}")
    settled(page)
    wait_for_pixels(page)
    page.get_by_role("button", name="Side by side").focus()
    places = []
    for _ in range(40):
        place = page.evaluate("""() => {
          let node = document.activeElement;
          while (node?.shadowRoot?.activeElement) node = node.shadowRoot.activeElement;
          if (!node?.closest('.tv')) return null;
          const box = node.getBoundingClientRect(), top = node.closest('.tv').getBoundingClientRect().top;
          const row = Math.round(((box.top + box.bottom) / 2 - top) / 30); // focus may scroll the page
          return [node.closest('.bar') ? 0 : 1, row, Math.round(box.left),
            node.getAttribute('aria-label') || node.textContent];
        }""")
        if place is None:
            break
        places.append(place)
        page.keyboard.press("Tab")
    names = [place[3] for place in places]
    assert places[0][3] == "Side by side"
    assert [place[0] for place in places] == sorted(
        place[0] for place in places
    )  # the tools, then the pictures
    pictures = [place for place in places if place[3].endswith("slice")]
    assert [p[3].split(",")[0] for p in pictures] == ["Reference", "FBP"]
    assert names.count("Slice of Reference") == 1
    tools = [tuple(place[1:3]) for place in places if place[0] == 0]
    assert tools == sorted(tools)


def test_the_tools_of_the_viewer_have_tooltips(page, address, address_of_a_run):
    page.goto(f"{address}/compare?{address_of_a_run}")
    settled(page)
    wait_for_pixels(page)
    hints = page.locator(".tv .bar [aria-label=Layout] button, .tv .bar .icon, .tv .bar select").evaluate_all(
        "(nodes) => nodes.map((node) => node.title)"
    )
    assert len(hints) >= 10
    assert all(len(hint.split()) >= 2 for hint in hints), hints
