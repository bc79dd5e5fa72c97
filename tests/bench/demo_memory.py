"""Peak memory of a public demo: `python -m tests.bench.demo_memory` prints MB.

Starts `tomopatch app --demo`, runs the demo of the home page in a browser (FBP, total variation and diffusion
of a chest phantom on 64 x 96 x 96), and adds the memory of the server and of its workers ten times a second
(proportional set size: shared pages count once). Requires playwright and Chromium.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import threading

import psutil

from tests.bench.cold_start import AT_WORK
from tests.browser.server import FLAGS, chromium, wait_for


class Watch(threading.Thread):
    """Sums the memory of a process and its children until it is stopped."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(daemon=True)
        self.process, self.done = process, threading.Event()
        self.peak, self.parts = 0.0, list[float]()

    def run(self) -> None:
        while not self.done.wait(0.1):
            try:
                family = [self.process, *self.process.children(recursive=True)]
                parts = [p.memory_full_info().pss / 1e6 for p in family]
            except psutil.NoSuchProcess:
                continue
            if sum(parts) > self.peak:
                self.peak, self.parts = sum(parts), parts


def main() -> None:
    from playwright.sync_api import sync_playwright

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "tomopatch", "app", "--demo", "--headless", "--port", str(port)]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, sync_playwright() as playwright:
        server = subprocess.Popen(command, env=os.environ | {"TOMOPATCH_STORE": folder})
        watch = Watch(psutil.Process(server.pid))
        try:
            wait_for(f"{address}/_stcore/health", server)
            watch.start()
            browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.set_default_timeout(600_000)
            page.goto(address)
            page.get_by_role("heading", level=1).wait_for()
            print(f"first page: {watch.peak:.0f} MB", flush=True)
            page.get_by_role("button", name="Run the demo").click()
            page.locator(".tv[data-frames]").wait_for()
            page.wait_for_function(AT_WORK, arg="FBP")
            for method in ("Diffusion", "TV"):
                page.wait_for_function(f"(method) => !({AT_WORK})(method)", arg=method)
            page.wait_for_timeout(3000)  # the results are shown
            print(f"peak: {watch.peak:.0f} MB ({' + '.join(f'{part:.0f}' for part in watch.parts)})")
            browser.close()
        finally:
            watch.done.set()
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
