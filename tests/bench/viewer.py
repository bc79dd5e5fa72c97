"""How fast the slice viewer is: `python tests/bench/viewer.py [z y x] [volumes]` prints milliseconds.

Needs playwright and Chromium. The volumes are noise: what they show does not matter to the time.
"""

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
APP = """
import numpy as np, streamlit as st
from core.volume import VolumeGeometry
from pages.ui.viewer import Shown, viewer
st.set_page_config(layout="wide")
shape = {shape}
rng = np.random.default_rng(0)
volumes = [Shown(f"volume {{k}}", rng.integers(-1000, 1000, shape).astype("<i2")) for k in range({count})]
viewer(volumes, VolumeGeometry(shape, (2.0, 1.5, 1.5)), key="bench", layouts=("planes", "side", "difference", "swipe"))
"""
MEASURE = """async (v) => {
  const canvas = v.querySelector('canvas'), own = [], frames = [];
  for (let k = 0; k < 60; k++) {
    const before = v.dataset.frames, began = performance.now();
    canvas.dispatchEvent(new WheelEvent('wheel', { deltaY: k % 20 < 10 ? 100 : -100, cancelable: true }));
    while (v.dataset.frames === before) await new Promise(requestAnimationFrame);
    frames.push(performance.now() - began); own.push(Number(v.dataset.ms));
  }
  return { own, frames };
}"""


def main() -> None:
    from playwright.sync_api import sync_playwright

    numbers = [int(a) for a in sys.argv[1:]]
    shape = tuple(numbers[:3]) if len(numbers) >= 3 else (128, 256, 256)
    count = numbers[3] if len(numbers) > 3 else 2
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "bench_app.py"
        script.write_text(APP.format(shape=shape, count=count))
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "streamlit",
                "run",
                str(script),
                "--server.headless",
                "true",
                "--server.port",
                str(port),
                "--browser.gatherUsageStats",
                "false",
            ],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/_stcore/health")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"),
                    args=["--headless", "--no-sandbox", "--disable-gpu"],
                )
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                began = time.perf_counter()
                page.goto(f"http://127.0.0.1:{port}")
                page.locator(".tv[data-frames]").wait_for(timeout=120_000)
                print(f"{count} volumes of {shape}: first picture after {time.perf_counter() - began:.1f} s")
                for layout in ("Planes", "Side by side", "Difference", "Swipe"):
                    page.get_by_role("button", name=layout).click()
                    measured = page.locator(".tv").evaluate(MEASURE)
                    own, frame = (statistics.median(measured[k]) for k in ("own", "frames"))
                    worst = sorted(measured["own"])[-3]
                    print(
                        f"{layout:13} redraw {own:5.1f} ms (95 %: {worst:.1f}), wheel to picture "
                        f"{frame:5.1f} ms"
                    )
                browser.close()
        finally:
            server.terminate()
            server.wait(20)


def _wait(url: str) -> None:
    pause = threading.Event()
    for _ in range(240):
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:
            pause.wait(0.25)
    raise TimeoutError(f"{url} does not answer")


if __name__ == "__main__":
    main()
