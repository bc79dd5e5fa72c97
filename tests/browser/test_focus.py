"""A ring marks the link with the keyboard focus, light and dark."""

import pytest

pytestmark = pytest.mark.browser
LINKS = "[data-testid=stSidebarNavLink], [data-testid=stPageLink-NavLink]"
PRESSES = 150  # a redraw of the page may take the focus back to its start
# the app's style sheet may arrive after the links; while it is missing, nothing has a ring
FOCUSED = """async (links) => {
  const e = document.activeElement;
  if (!e.matches(links)) return null;
  for (let waited = 0; getComputedStyle(e).outlineStyle !== 'solid' && waited < 3000; waited += 50)
    await new Promise((r) => setTimeout(r, 50));
  const s = getComputedStyle(e);
  return [e.dataset.testid, e.innerText, s.outlineStyle, parseFloat(s.outlineWidth)];
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_links_show_the_focus(page, scheme):
    page.emulate_media(color_scheme=scheme)
    page.goto("/")
    page.get_by_text("Open an experiment").wait_for()
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    page.locator("[data-testid=stPageLink-NavLink]").last.wait_for()
    links = page.locator(LINKS).count()
    seen = {}
    for _ in range(PRESSES):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED, LINKS)
        if focused:
            kind, name, style, width = focused
            seen[kind, name] = seen.get((kind, name)) or (style == "solid" and width >= 2)
        if len(seen) == links:
            break
    assert len(seen) == links
    assert all(seen.values()), seen
