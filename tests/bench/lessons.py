"""How long each step of the lessons takes on this machine: `python -m tests.bench.lessons [LESSON ...]`.

By mouse in headless Chromium, which draws on the same cores: from the press on a step's button until its page shows the first
picture, and until all that the step computes is there. The store is empty at first, and a lesson is read for a while before
its first step, as by a person. Needs playwright and Chromium.
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
from tests.browser.server import FLAGS, chromium, serve

READING = 10  # s
PATIENCE = 300_000  # ms


def main() -> None:
    from playwright.sync_api import sync_playwright

    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder)) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
        for name in sys.argv[1:] or LESSONS:
            page = browser.new_context(viewport={"width": 1440, "height": 1000}).new_page()
            page.set_default_timeout(PATIENCE)
            for number, step in enumerate(LESSONS[name].steps, 1):
                page.goto(f"{address}/learn?lesson={name}")
                button = page.get_by_role("button", name=step.label)
                button.wait_for()
                page.wait_for_timeout(1000 * READING)
                began = time.perf_counter()
                button.click()
                seen = first_picture(page, step) - began
                done = all_there(page, step) - began
                print(
                    f"{name:12} {number}: first picture {seen:5.1f} s, all {done:5.1f} s, load {os.getloadavg()[0]:.1f}",
                    flush=True,
                )
            page.context.close()
        browser.close()


def first_picture(page: Any, step: Step) -> float:
    """When something of the step is drawn; on What if, once its button there is pressed too."""
    if step.page == routes.WHAT_IF:
        page.get_by_role("button", name="Run", exact=True).click()
        page.locator(".js-plotly-plot .points path").first.wait_for()
    elif step.page == routes.ACQUIRE:
        page.locator(".sv canvas").first.wait_for()
    else:
        page.locator(".tv[data-frames]").first.wait_for()
    return time.perf_counter()


def all_there(page: Any, step: Step) -> float:
    """When nothing more is computed for it."""
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
