"""Start time of a server: `python -m tests.bench.cold_start [--fresh]` prints seconds.

`--fresh` also starts with an empty cache of compiled kernels, as on a first start. Requires playwright and
Chromium.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from tests.browser.server import FLAGS, chromium, serve

AT_WORK = """(method) => new RegExp(`^${method}: |more to come`, 'm').test(
  document.querySelector('[data-testid=stMain]').innerText)"""
"""Whether the line about active runs names this method or mentions waiting runs."""


def main() -> None:
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sync_playwright() as playwright:
        if "--fresh" in sys.argv:
            os.environ["NUMBA_CACHE_DIR"] = str(Path(folder) / "kernels")
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.set_default_timeout(300_000)
        began = time.perf_counter()

        def report(what: str) -> None:
            print(f"{time.perf_counter() - began:6.1f} s  {what}", flush=True)

        with serve(Path(folder)) as address:
            report("after the command: the server answers")
            page.goto(address)
            page.get_by_role("heading", level=1).wait_for()
            report("after the command: the first heading")
            began = time.perf_counter()
            page.get_by_role("button", name="Run the demo").click()
            page.get_by_role("heading", level=1, name="Compare").wait_for()
            report("demo: its page")
            page.locator(".tv[data-frames]").wait_for()
            page.wait_for_function(AT_WORK, arg="FBP")
            for method in ("Diffusion", "TV"):
                page.wait_for_function(f"(method) => !({AT_WORK})(method)", arg=method)
                report(f"demo: {method} done")
        browser.close()


if __name__ == "__main__":
    main()
