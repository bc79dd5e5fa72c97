"""Response time of the app, idle and during a run: `python -m tests.bench.controls [repeats]`.

The time from a press to the frame with the response is measured in headless Chromium. Requires playwright and
Chromium. Report the number of cores with the results, since run and browser share them.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.browser.server import FLAGS, chromium, serve
from tomopatch.reconstruct.methods import METHODS

SCAN = {"source": "phantom:thorax:0", "grid": [64, 128, 128], "photons": 1e5, "same_grid": True}
LOST = 30_000
"""Milliseconds after which a press counts as lost.

A shorter limit would attribute late responses to the next press.
"""
WATCH = """(wanted) => {
  const main = () => document.querySelector('[data-testid=stMain]').textContent;
  const before = main().match(/Rays[^D]*/)?.[0];
  const seen = () => wanted === 'other rays' ? main().match(/Rays[^D]*/)?.[0] !== before :
    main().includes(wanted);
  let began = 0;
  for (const kind of ['pointerdown', 'keydown']) {
    addEventListener(kind, () => { began ||= performance.now(); }, { capture: true, once: true });
  }
  window.answered = (async () => {
    while (!began || !seen()) {
      if (began && performance.now() - began > LOST) return null;
      await new Promise((r) => setTimeout(r, 4));
    }
    await Promise.race([new Promise(requestAnimationFrame), new Promise((r) => setTimeout(r, 1000))]);
       // if no frame is due
    return performance.now() - began;
  })();
}""".replace("LOST", str(LOST))


def main() -> None:
    from playwright.sync_api import sync_playwright

    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 12
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        serve(Path(folder)) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(60_000)
        began = time.perf_counter()
        page.goto(f"{address}/?scan={quote(json.dumps(SCAN))}")
        page.get_by_role("heading", level=1).wait_for()
        print(f"{os.cpu_count()} cores; first heading after {time.perf_counter() - began:.1f} s")
        open_page(page, "Acquire")
        open_page(page, "Reconstruct")
        print("idle")
        measure(page, repeats)
        begin_run(page)
        print("during a run")
        measure(page, repeats)
        browser.close()


def begin_run(page: Any) -> None:
    """Start a run that is longer than the measurement."""
    press_method(page, "sirt")
    page.get_by_text(METHODS["sirt"].summary).wait_for()
    iterations = page.get_by_role("spinbutton", name="Iterations")
    iterations.fill("2000")
    iterations.press("Enter")
    page.wait_for_timeout(1500)
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_text("of 2000").first.wait_for()


def measure(page: Any, repeats: int) -> None:
    """Print the response time of each control; begins and ends on Reconstruct."""
    report("another method", [
        answer(page, lambda name=name: press_method(page, name), METHODS[name].summary)
        for _ in range(repeats) for name in ("cgls", "tv")
    ])  # fmt: skip
    there, back = [], []
    for _ in range(repeats):
        there.append(
            answer(page, lambda: press_page(page, "Acquire"), "Choose a CT volume and design its scan")
        )
        back.append(answer(page, lambda: press_page(page, "Reconstruct"), "Choose a method and watch"))
    report("another page", there + back)
    open_page(page, "Acquire")
    page.get_by_text("Field of view", exact=True).wait_for()
    views = page.get_by_role("slider", name="Views")
    keys = ["ArrowRight"] * repeats + ["ArrowLeft"] * repeats
    report(
        "number of views",
        [answer(page, lambda key=key: views.press(key), "other rays") for key in keys],
    )
    open_page(page, "Reconstruct")


def answer(page: Any, press: Callable[[], object], wanted: str) -> float | None:
    """Return the milliseconds from the press to the frame with the wanted text; None for a lost press."""
    page.wait_for_timeout(300)  # users pause between presses; this also varies the phase of polls
    page.evaluate(WATCH, wanted)
    press()
    return page.evaluate("() => window.answered")


def press_method(page: Any, name: str) -> None:
    page.get_by_role("radio", name=METHODS[name].label).click()


def press_page(page: Any, name: str) -> None:
    page.get_by_test_id("stSidebarNav").get_by_text(name, exact=True).click()


def open_page(page: Any, name: str) -> None:
    press_page(page, name)
    page.get_by_role("heading", level=1, name=name).wait_for()
    page.wait_for_timeout(1500)


def report(name: str, answers: list[float | None]) -> None:
    times = [a for a in answers if a is not None]
    if len(times) < 2:
        print(f"  {name:20} {len(answers) - len(times)} of {len(answers)} presses without a response")
        return
    low, middle, high = (statistics.quantiles(times, n=20)[k] for k in (0, 9, 18))
    lost = f"; {len(answers) - len(times)} without a response" if len(times) < len(answers) else ""
    print(
        f"  {name:20} median {middle:4.0f} ms, 5 and 95 %: {low:.0f} and {high:.0f}, "
        f"longest of {len(times)}: {max(times):.0f}{lost}"
    )


if __name__ == "__main__":
    main()
