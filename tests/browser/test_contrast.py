"""Contrast of all text on all pages, light and dark: 4.5 to 1, and 3 to 1 for large text (WCAG 2, AA)."""

import json
from urllib.parse import quote

import pytest

from pages.ui.session.routes import TITLES
from tests.browser.test_by_mouse import wait_for_pixels
from tests.browser.visits import use_theme

pytestmark = pytest.mark.browser
SCAN = {"source": "phantom:thorax:0", "grid": [16, 48, 48], "photons": 1e5, "same_grid": True}
PATHS = ["" if title == "Home" else title.lower().replace(" ", "_") for title in TITLES.values()]
# The colour of each text over the backgrounds of its ancestors, with their opacities. Excluded: disabled
# controls (as in WCAG), text on canvases, and the value over a slider's thumb, which is not on the thumb.
FAINT = """() => {
  const parse = (c) => { const m = c.match(/[\\d.]+/g)?.map(Number) || [0, 0, 0, 0];
    return c.startsWith('color(') ? [...m.slice(-4, -1)] : m.length < 4 ? [...m, 1] : m; };
  const over = (top, under) => [0, 1, 2].map((k) => top[k] * top[3] + under[k] * (1 - top[3]));
  const light = (c) => { const [r, g, b] = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.04045 ?
    v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const parent = (n) => n.parentElement || n.getRootNode().host;
  const found = [];
  const look = (node) => {
    if (node.matches('[aria-hidden=true], [disabled], :disabled, [aria-disabled=true]')) return;
    if (node.matches('style, script, option')) return;
    if (getComputedStyle(node).display === 'none') return;
    const shown = node.checkVisibility({ visibilityProperty: true, opacityProperty: true });
    const own = [...node.childNodes].some((t) => t.nodeType === 3 && t.textContent.trim());
    if (own && shown && !node.closest('[data-testid=stSliderThumbValue]') &&
      !node.closest('[disabled], [aria-disabled=true], [data-testid=stDataFrame]')) {
      const s = getComputedStyle(node), svg = node.namespaceURI.endsWith('svg');
      let colour = parse(svg ? s.fill : s.color), alpha = colour[3];
      const layers = [];
      for (let n = node; n; n = parent(n)) { const q = getComputedStyle(n); alpha *= Number(q.opacity);
        const b = parse(q.backgroundColor); if (b[3] > 0) layers.push(b); }
      const ground = layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255]);
      const seen = over([...colour.slice(0, 3), alpha], ground), [a, b] = [light(seen),
        light(ground)].sort((x, y) => y - x);
      const ratio = (a + 0.05) / (b + 0.05), size = parseFloat(s.fontSize), large = size >= 24 ||
        size >= 18.66 && Number(s.fontWeight) >= 700;
      const text = node.textContent.trim().slice(0, 50), under = ground.map(Math.round);
      if (ratio < (large ? 3 : 4.5))
        found.push(`${ratio.toFixed(2)} ${node.tagName} "${text}" ${s.color} on ${under}`);
    }
    if (node.shadowRoot) [...node.shadowRoot.children].forEach(look);
    [...node.children].forEach(look);
  };
  look(document.body);
  return [...new Set(found)];
}"""


@pytest.fixture(scope="module")
def opened(browser, address):
    """Open a page with a finished run."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000}, color_scheme="dark")
    page = context.new_page()
    page.set_default_timeout(120_000)  # patient: the machine may be busy
    page.goto(f"{address}/reconstruct?scan={quote(json.dumps(SCAN))}")
    page.get_by_text("SSIM").first.wait_for()
    page.wait_for_function("() => location.search.includes('run=')", polling=100)
    yield page, address, page.url.split("?")[1]
    context.close()


@pytest.mark.parametrize("path", PATHS)
def test_all_text_has_enough_contrast(opened, path):
    page, address, query = opened
    page.goto(f"{address}/{path}?{query}")
    page.get_by_role("heading", level=1).wait_for()
    page.get_by_text("Not for diagnosis").first.wait_for()
    if path in ("reconstruct", "compare"):
        wait_for_pixels(page)
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    for closed in page.locator("summary").all():
        closed.click()
    page.mouse.move(0, 0)  # what the pointer is over is drawn otherwise
    found = {}
    for theme in ("dark", "light"):
        use_theme(page, theme)
        found[theme] = page.evaluate(FAINT)
    page.emulate_media(color_scheme="dark")  # in which the next page is opened
    assert found == {"dark": [], "light": []}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_faint_text_is_detected(opened, theme):
    """Check that the search finds anything at all."""
    page, _, _ = opened
    use_theme(page, theme)
    page.evaluate("() => { document.querySelector('h1').style.opacity = 0.3; }")
    assert len(page.evaluate(FAINT)) == 1
