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
