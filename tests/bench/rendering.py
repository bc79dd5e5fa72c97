"""Speed of the volume rendering: `python -m tests.bench.rendering [z y x]`.

Prints, for each preset, the time of a picture at rest and the frame rate while two thoraces turn. Without
a graphics card, the browser draws still pictures; the frame rate is then that of the same shader on the CPU.
Requires playwright and Chromium; `--gpu` starts the browser with the graphics card.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from tests.browser.server import FLAGS, chromium, serve

APP = """
import numpy as np, streamlit as st
from tomopatch.library import load_volume
from pages.ui.session.volume_cache import int16_hu
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, viewer
st.set_page_config(layout="wide")
volume = load_volume("phantom:thorax", shape={shape})
hu = int16_hu(volume)
viewer([ViewerVolume("one", hu), ViewerVolume("two", hu + np.int16(1))], volume.geometry, key="bench",
  options=ViewerOptions(layouts=("planes", "render")))
"""
NAME = """() => { const gl = document.createElement('canvas').getContext('webgl2');
  const info = gl?.getExtension('WEBGL_debug_renderer_info');
  return gl ? gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER) : 'none'; }"""
AS_CARD = """const known = WebGL2RenderingContext.prototype.getParameter;
WebGL2RenderingContext.prototype.getParameter = function (name) {
  return name === 37446 ? 'as a graphics card' : known.call(this, name); };"""
# turns step by step: the longest redraw after each step is that of the picture at rest
STILL = """async (v) => {
  const canvas = v.querySelector('canvas'), all = [];
  for (let k = 0; k < 4; k++) {
    canvas.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft' }));
    let longest = 0;
    for (const began = performance.now(); performance.now() - began < 800 || longest < 20;) {
      await new Promise((done) => setTimeout(done, 20)); longest = Math.max(longest, Number(v.dataset.ms));
    }
    all.push(longest);
  }
  return all; }"""
TURN = """async (v) => {
  const canvas = v.querySelector('canvas'), before = Number(v.dataset.frames), began = performance.now();
  while (performance.now() - began < 8000) {
    canvas.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft' }));
    await new Promise(requestAnimationFrame);
  }
  return (Number(v.dataset.frames) - before) / (performance.now() - began) * 1000; }"""


def main() -> None:
    from playwright.sync_api import sync_playwright

    numbers = [int(a) for a in sys.argv[1:] if a.isdigit()]
    shape = tuple(numbers) if len(numbers) == 3 else (128, 256, 256)
    flags = [f for f in FLAGS if f != "--disable-gpu"] if "--gpu" in sys.argv else FLAGS
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        script = Path(folder) / "bench_app.py"
        script.write_text(APP.format(shape=shape))
        with serve(Path(folder), script) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=flags)
            for card in (False, True):
                page = browser.new_page(viewport={"width": 1440, "height": 900})
                if card:
                    page.add_init_script(AS_CARD)
                page.goto(address)
                view = page.locator(".tv[data-frames]")
                view.wait_for(timeout=120_000)
                print(f"{shape}, {'as a graphics card' if card else page.evaluate(NAME)}")
                page.get_by_role("button", name="3D").click()
                for preset in ("Bone", "Lung", "Soft tissue"):
                    page.get_by_role("button", name=preset).click()
                    if card:
                        print(f"{preset:12} {view.evaluate(TURN):5.1f} frames per second, two pictures")
                    else:
                        ms = statistics.median(view.evaluate(STILL))
                        print(f"{preset:12} {ms:5.0f} ms at rest, two pictures")
                page.close()
            browser.close()


if __name__ == "__main__":
    main()
