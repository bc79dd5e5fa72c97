"""Speed of the slice viewer: `python -m tests.bench.viewer [z y x] [volumes]` prints milliseconds.

Requires playwright and Chromium. The volumes contain noise, since their content does not affect the time.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

from tests.browser.server import FLAGS, chromium, serve

APP = """
import numpy as np, streamlit as st
from tomopatch.volume import VolumeGeometry
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, viewer
st.set_page_config(layout="wide")
shape = {shape}
rng = np.random.default_rng(0)
volumes = [ViewerVolume(f"volume {{k}}", rng.integers(-1000, 1000,
  shape).astype("<i2")) for k in range({count})]
viewer(volumes, VolumeGeometry(shape, (2.0, 1.5, 1.5)), key="bench",
  options=ViewerOptions(layouts=("planes", "side", "difference", "swipe")))
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
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        script = Path(folder) / "bench_app.py"
        script.write_text(APP.format(shape=shape, count=count))
        with serve(Path(folder), script) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            began = time.perf_counter()
            page.goto(address)
            page.locator(".tv[data-frames]").wait_for(timeout=120_000)
            print(f"{count} volumes of {shape}: first picture after {time.perf_counter() - began:.1f} s")
            for layout in ("Planes", "Side by side", "Difference", "Swipe", "MIP"):
                page.get_by_role("button", name=layout).click()
                measured = page.locator(".tv").evaluate(MEASURE)
                own, frame = (statistics.median(measured[k]) for k in ("own", "frames"))
                worst = sorted(measured["own"])[-3]
                print(
                    f"{layout:13} redraw {own:5.1f} ms (95 %: {worst:.1f}), wheel to picture {frame:5.1f} ms"
                )
            browser.close()


if __name__ == "__main__":
    main()
