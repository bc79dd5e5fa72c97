"""Mouse actions as users make them, and a log of the browser's requests."""

from __future__ import annotations

import time
from typing import Any

PRESSES, PATIENCE = 3, 60_000  # milliseconds


def follow(link: Any, arrived: Any) -> None:
    """Press a link until its page opens: a press may be lost while a page is being redrawn."""
    from playwright.sync_api import TimeoutError

    for _ in range(PRESSES - 1):
        link.click()
        try:
            return arrived.wait_for(timeout=PATIENCE)
        except TimeoutError:
            continue
    link.click()
    arrived.wait_for()


def press(button: Any) -> None:
    """Press a button once it no longer moves, e.g. in a section that is opening."""
    button.evaluate(
        """async (e) => {
        for (let last = null, still = 0; still < 10;) {
          const { x, y } = e.getBoundingClientRect();
          still = last === `${x},${y}` ? still + 1 : 0;
          last = `${x},${y}`;
          await new Promise((r) => setTimeout(r, 20));
        } }"""
    )
    button.click()


def settle(page: Any) -> None:
    """Wait until nothing of the page is being loaded, added or faded in, for 0.3 s."""
    page.evaluate(
        """async () => {
        const moves = () => document.getAnimations().some((a) => a.playState === 'running' &&
          isFinite(a.effect.getComputedTiming().endTime));
        const loads = () => document.fonts.status !== 'loaded' ||
          document.querySelector('[data-testid=stSkeleton], [data-testid=stStatusWidget]');
        const began = performance.now();
        for (let last = 0, still = 0; still < 10;) {  // looks, not time: scripts may keep the page busy
          if (performance.now() - began > 120_000) throw new Error('the page does not settle');
          await new Promise((r) => setTimeout(r, 30));
          const count = document.querySelectorAll('*').length;
          still = count === last && !moves() && !loads() ? still + 1 : 0;
          last = count;
        } }"""
    )


def use_theme(page: Any, theme: str) -> None:
    """Switch to a theme, which the page follows without a reload, and wait until it has settled."""
    page.emulate_media(color_scheme=theme)
    page.wait_for_function(
        """(theme) => {
        const colour = getComputedStyle(document.querySelector('.stApp')).backgroundColor;
        const [r, g, b] = colour.match(/\\d+/g).map(Number);
        return (r + g + b > 384) === (theme === 'light'); }""",
        arg=theme,
        polling=100,
    )
    settle(page)


class Log:
    """Requests and console messages of the browser, shown when a test fails."""

    KEPT = 60

    def __init__(self, page: Any) -> None:
        self.lines: list[str] = []
        page.on("console", lambda message: self._add("console", message.type, message.text[:200]))
        page.on("websocket", self._listen)

    def _listen(self, socket: Any) -> None:
        self._add("connected")
        socket.on("framesent", self._sent)
        socket.on("close", lambda _: self._add("connection closed"))

    def _sent(self, payload: bytes | str) -> None:
        from streamlit.proto.BackMsg_pb2 import BackMsg

        if isinstance(payload, bytes):
            message = BackMsg.FromString(payload)
            run = message.rerun_script
            pressed = [state.id for state in run.widget_states.widgets if state.trigger_value]
            self._add(message.WhichOneof("type"), run.page_script_hash, run.fragment_id, *pressed)

    def _add(self, *words: str | None) -> None:
        self.lines.append(" ".join([f"{time.time():.2f}", *map(str, words)]))
        del self.lines[: -self.KEPT]
