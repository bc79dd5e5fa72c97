"""The picture of the app in the README: the comparison of the demo, in Chromium.

    python -m tests.bench.app_picture FILE.png

It needs Chromium and about two minutes: the demo computes all of its runs.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser.server import FLAGS, chromium, serve

SIZE = {"width": 1440, "height": 1060}
PATIENCE = 300_000  # milliseconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    arguments = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        serve(Path(folder)) as address,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.get_by_role("button", name="Run the demo").click()
        page.get_by_text("All of these runs are done.").wait_for()
        page.mouse.move(0, 0)
        page.wait_for_timeout(2000)  # until all pictures and plots have settled
        page.screenshot(path=arguments.file)
        browser.close()


if __name__ == "__main__":
    main()
