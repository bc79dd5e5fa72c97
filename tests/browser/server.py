"""Server of the app, or of a script, on a free port, and the installed browser."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
OFF = [
    "WebUIOmniboxPopup",  # each window would load two pages behind its address bar, at a second each
    "WebUIOmniboxAimPopup",
    # Chromium heeds the last list alone, so these are Playwright's
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable",
    "LensOverlay",
    "MediaRouter",
    "PaintHolding",
    "ThirdPartyStoragePartitioning",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "OptimizationHints",
    "NetworkTimeServiceQuerying",
    "AimEnabled",
    "PreconnectToSearch",
]
"""Features of Chromium that cost time or access the network."""
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    f"--disable-features={','.join(OFF)}",
]


def chromium() -> str | None:
    """Return the path of the installed browser."""
    known = ("chromium", "chromium-browser", "google-chrome", "chrome")
    return next((path for path in map(shutil.which, known) if path), None)


@contextmanager
def serve(folder: Path, script: Path = ROOT / "app.py") -> Iterator[str]:
    """Start the server and yield its address; its store and log are in the folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    sources = os.pathsep.join(map(str, (ROOT / "core", ROOT)))
    environment = os.environ | {"TOMOPATCH_STORE": str(folder / "store"), "PYTHONPATH": sources}
    options = ["--server.headless", "true", "--server.port", str(port), "--browser.gatherUsageStats", "false"]
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", str(script), *options],
            cwd=ROOT, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            wait_for(f"http://127.0.0.1:{port}/_stcore/health", server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(20)


def wait_for(url: str, server: subprocess.Popen, seconds: float = 60) -> None:
    """Wait until the server responds, with four attempts per second."""
    pause = threading.Event()
    for _ in range(int(seconds / 0.25)):
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            pause.wait(0.25)
        assert server.poll() is None, "the server ended at once; is streamlit installed?"
    raise TimeoutError(f"{url} does not answer")


def serve_script(folder: Path, text: str) -> AbstractContextManager[str]:
    """Serve this script instead of the app."""
    script = folder / "script.py"
    script.write_text(text)
    return serve(folder, script)
