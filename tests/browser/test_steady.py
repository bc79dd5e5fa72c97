"""Elements do not move on the screen while a run works or when it ends."""

import json
import re
from urllib.parse import quote

import pytest

from tests.browser.screenshots import keep

pytestmark = pytest.mark.browser
SCAN = {
    "source": "phantom:thorax:0",
    "grid": [16, 48, 48],
    "num_views": 12,
    "photons": 1e5,
    "same_grid": True,
}
# vertical movements of headings, buttons, numbers, plots and parts of the viewer, every tenth of a second
WATCH = """() => {
  const first = new Map();
  window.moved = {};
  const look = () => {
    const scrolled = document.querySelector('[data-testid=stMain]').scrollTop, seen = [];
    const add = (name, nodes) => nodes.forEach((n, i) => seen.push([`${name} ${i}`,
      n.getBoundingClientRect()]));
    for (const id of ['h1', '[data-testid=stMetric]', '[data-testid=stPlotlyChart]',
      '[data-testid=stDataFrame]', '[data-testid=stWidgetLabel]']) {
      add(id, [...document.querySelectorAll(`[data-testid=stMain] ${id}`)]);
    }
    const drawn = (name) => [...document.querySelectorAll('[data-testid=stMain] *')].map((n) =>
      n.shadowRoot?.querySelector(name)).filter(Boolean);
    const inside = drawn('.tv');
    add('.curves', drawn('.curves'));
    for (const part of ['.bar', '.panes', '.foot']) add(part, inside.map((n) =>
      n.querySelector(part)).filter(Boolean));
    for (const [name, { top, height }] of seen) {
      if (!height) continue;
      if (!first.has(name)) first.set(name, top + scrolled);
      moved[name] = Math.max(moved[name] || 0, Math.abs(top + scrolled - first.get(name)));
    }
  };
  look();
  setInterval(look, 100);
}"""


def jumps(page):
    """Return the elements that have moved by more than a pixel."""
    moved = page.evaluate("moved")
    assert any(name.startswith(".foot") for name in moved)
    return {name: by for name, by in moved.items() if by > 1}


@pytest.mark.parametrize(("width", "seed"), [(900, 1), pytest.param(1280, 2, marks=pytest.mark.slow)])
def test_nothing_moves_on_reconstruct(page, address, width, seed):
    page.set_viewport_size({"width": width, "height": 1000})
    page.goto(f"{address}/reconstruct?scan={quote(json.dumps(SCAN | {'seed': seed}))}")
    page.get_by_role("radio", name="Diffusion").click()
    page.get_by_role("spinbutton", name="Samples").wait_for()
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="Finish now").wait_for()
    page.get_by_label("After the prior, axial slice").wait_for()  # its placeholder
    page.evaluate(WATCH)
    page.get_by_text(re.compile(r"Diffusion \(\d+ steps\): done")).wait_for(timeout=180_000)
    page.wait_for_timeout(1000)
    keep(page, f"steady-reconstruct-{width}")
    assert ".curves 0" in page.evaluate("moved")
    assert jumps(page) == {}


@pytest.mark.parametrize("width", [900, pytest.param(1280, marks=pytest.mark.slow)])
def test_nothing_moves_on_compare(page, address, width):
    page.set_viewport_size({"width": width, "height": 1000})
    scan = SCAN | {"seed": width}
    page.goto(f"{address}/reconstruct?scan={quote(json.dumps(scan))}")
    page.get_by_text("SSIM").first.wait_for()  # FBP is there; it would give way to the next
    for name, its in (("TV", "Iterations"), ("Diffusion", "Samples")):
        page.get_by_role("radio", name=name).click()
        page.get_by_role("spinbutton", name=its).wait_for()  # the form that was asked for
        page.get_by_test_id("stStatusWidget").wait_for(state="detached")
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text(
            re.compile(rf"^{name} \((at most )?\d+ (iterations|steps)\): ")
        ).wait_for()  # at work, or in the queue
    page.get_by_role("button", name="Compare runs").click()
    page.get_by_role("heading", level=1, name="Compare").wait_for()
    page.get_by_text(re.compile(r"Diffusion \(\d+ steps\)")).first.wait_for()
    page.locator(".tv[data-frames]").wait_for()
    for part in ("stDataFrame", "stPlotlyChart"):  # loaded when first needed
        page.get_by_test_id(part).wait_for()
    page.get_by_text("Download", exact=True).wait_for()  # the last of the page
    page.wait_for_timeout(1500)
    page.evaluate(WATCH)
    page.get_by_text("All of these runs are done.").wait_for(timeout=180_000)
    page.wait_for_timeout(1000)
    keep(page, f"steady-compare-{width}")
    assert jumps(page) == {}


@pytest.mark.parametrize("width", [900, pytest.param(1440, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["Generate", "Denoise"])
def test_nothing_moves_on_prior(page, address, kind, width):
    page.set_viewport_size({"width": width, "height": 1000})
    page.goto(f"{address}/prior?scan={quote(json.dumps(SCAN))}")
    if kind == "Generate":
        page.get_by_role("combobox", name="Grid").click()
        page.get_by_role("option").first.click()
        steps = page.get_by_role("spinbutton", name="Steps")
        steps.fill(str(4 + width // 1000))  # another run, which is not there yet
        steps.press("Enter")
    else:
        page.get_by_text(kind, exact=True).first.click()
        page.get_by_role("spinbutton", name="Steps").wait_for(state="detached")
        page.wait_for_function(  # the other form is gone
            "() => document.querySelectorAll('input[aria-label=Seed]').length === 1", polling=100
        )
        seed = page.get_by_role("spinbutton", name="Seed")
        seed.fill(str(width))
        seed.press("Enter")
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    page.get_by_role(
        "button", name={"Generate": "Generate a volume", "Denoise": "Denoise"}[kind], exact=True
    ).click()
    page.locator(".tv[data-frames]").wait_for()
    page.evaluate(WATCH)
    page.get_by_text(re.compile("generated in|All of these runs are done")).wait_for(timeout=180_000)
    page.wait_for_timeout(1000)
    keep(page, f"steady-prior-{kind}-{width}")
    assert jumps(page) == {}


def test_nothing_moves_on_what_if(page, address):
    sweep = {"num_views": "4, 9", "angle_range": "", "photons": "", "methods": "sirt,tv"}
    page.goto(f"{address}/what_if?scan={quote(json.dumps(SCAN))}&sweep={quote(json.dumps(sweep))}")
    page.get_by_role("button", name="Run", exact=True).click()
    page.locator(".tv[data-frames]").wait_for()  # of the first point
    page.get_by_text("Numbers").wait_for()  # the last of the page
    page.wait_for_timeout(1000)
    page.evaluate(WATCH)
    page.get_by_text("4 of 4 done.").wait_for(timeout=180_000)
    page.wait_for_timeout(1000)
    keep(page, "steady-what-if")
    assert jumps(page) == {}


def test_pending_volumes_have_placeholders(page, address):
    """Difference shows placeholders as well."""
    page.goto(f"{address}/reconstruct?scan={quote(json.dumps(SCAN | {'grid': [64, 128, 128], 'seed': 3}))}")
    page.get_by_text("SSIM").first.wait_for()
    page.get_by_role("radio", name="Diffusion").click()
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("button", name="Finish now").wait_for()
    page.get_by_role("button", name="Compare runs").click()
    page.get_by_role("heading", level=1, name="Compare").wait_for()
    page.get_by_role("button", name="Difference").click()
    pane = page.locator(".tv .pane").nth(1)
    pane.get_by_text("Diffusion − Reference").wait_for()
    note, shades = pane.evaluate(
        """(pane) => {
          const c = pane.querySelector('canvas'); const pixels = c.getContext('2d').getImageData(0, 0,
          c.width, c.height / 3).data.buffer; return [pane.querySelector('.caption').lastChild.textContent,
          new Set(new Uint32Array(pixels)).size];
        }"""
    )
    # before the first iteration the pictures show a message on black; later a note names the iteration
    assert (shades == 1) == (note == ""), (note, shades)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel Diffusion").click()


def test_the_table_of_compare_has_a_reserved_place(page, address):
    page.goto(f"{address}/reconstruct?scan={quote(json.dumps(SCAN | {'seed': 7}))}")
    page.get_by_text("SSIM").first.wait_for()
    drawn = []  # what draws tables is loaded when first needed, here late
    page.route(re.compile(r"DataFrame[^/]*\.js"), lambda route: drawn.append(route))
    page.get_by_role("button", name="Compare runs").click()
    below = page.get_by_test_id("stCaptionContainer").filter(has_text="Grid 16")
    below.wait_for()
    page.locator(".tv[data-frames]").wait_for()
    page.wait_for_timeout(1500)
    assert page.get_by_test_id("stDataFrame").count() == 0
    before = below.bounding_box()["y"]
    assert drawn
    for route in drawn:
        route.continue_()
    page.unroute_all(behavior="wait")
    page.get_by_test_id("stDataFrame").wait_for()
    page.wait_for_timeout(500)
    assert below.bounding_box()["y"] == pytest.approx(before, abs=1)
