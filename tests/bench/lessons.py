"""Duration of each step of the lessons: `python -m tests.bench.lessons [LESSON ...]`.

The times from the press on a step's button to the first picture, and to the end of all computations, are
measured in headless Chromium on the same cores. The store is empty at first. Each step begins after a pause
for reading. A picture of each finished step is stored in `artifacts/`. Lessons on a measured scan need one
and are left out. Requires playwright and Chromium.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pages.ui.learn.lesson_parts import Step
from pages.ui.learn.lessons import LESSONS
from pages.ui.session import routes
from tests.browser.screenshots import keep
from tests.browser.server import FLAGS, chromium, serve

READING = 10  # s
PATIENCE = 300_000  # ms


def main() -> None:
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        serve(Path(folder)) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        for name in sys.argv[1:] or LESSONS:
            page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
            page.set_default_timeout(PATIENCE)
            for number, step in enumerate(LESSONS[name].steps, 1):
                if step.scan is None:
                    continue
                page.goto(f"{address}/learn?lesson={name}")
                button = page.get_by_role("button", name=step.label)
                button.wait_for()
                page.wait_for_timeout(1000 * READING)
                began = time.perf_counter()
                button.click()
                seen = first_picture(page, step) - began
                done = all_there(page, step) - began
                keep(page, f"lesson-{name}-{number}")
                print(
                    f"{name:12} {number}: first picture {seen:5.1f} s, all {done:5.1f} s, load "
                    f"{os.getloadavg()[0]:.1f}",
                    flush=True,
                )
            page.context.close()
        browser.close()


def first_picture(page: Any, step: Step) -> float:
    """Return the time of the first picture; on What if this presses *Run* first."""
    if step.page == routes.WHAT_IF:
        page.get_by_role("button", name="Run", exact=True).click()
        page.locator(".js-plotly-plot .points path").first.wait_for()
    elif step.page == routes.ACQUIRE:
        page.locator(".sv canvas").first.wait_for()
    else:
        page.locator(".tv[data-frames]").first.wait_for()
    return time.perf_counter()


def all_there(page: Any, step: Step) -> float:
    """Return the time at which all computations of the step are done."""
    if step.page == routes.WHAT_IF:
        page.get_by_text(re.compile(r"(\d+) of \1 done\.")).wait_for()
        page.get_by_role("button", name="Stop").wait_for(state="hidden")
    elif step.page == routes.COMPARE:
        page.get_by_text("All of these runs are done.").wait_for()
    elif step.page == routes.RECONSTRUCT:
        page.get_by_text(re.compile(": done on ")).wait_for()
    page.get_by_test_id("stStatusWidget").wait_for(state="detached")
    return time.perf_counter()


if __name__ == "__main__":
    main()
