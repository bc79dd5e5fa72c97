"""Client of the app's protocol without a browser, for load tests.

Real browsers draw on the visitors' machines; on the server's cores they would dominate the measurement. The
client behaves like a browser: it runs fragments again at the server's request, reports its cached messages,
and keeps the values of controls.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

KEPT = 400  # approximate number of messages that a browser caches


@contextmanager
def explained_timeout(what: str) -> Iterator[None]:
    """Give a timeout this message."""
    try:
        yield
    except TimeoutError as error:
        raise TimeoutError(what) from error


class Visitor:
    """Session with the app at this address.

    Attributes
    ----------
    elements : current elements by their position on the page
    failed : list of str
        Exceptions that the page showed.
    """

    def __init__(self, address: str) -> None:
        self.address = address.replace("http://", "ws://") + "/_stcore/stream"
        self.elements: dict[tuple[int, ...], Any] = {}
        self.failed: list[str] = []
        self.pages: dict[str, str] = {}  # hash by title
        self.query, self.page, self.name = "", "", ""
        self._socket: ClientConnection | None = None
        self.values: dict[str, tuple[str, Any]] = {}
        self._kept: deque[str] = deque(maxlen=KEPT)
        self._timers: dict[str, asyncio.Task] = {}  # by the fragment that is run periodically
        self._fresh: set[str] = set()  # fragments of the page's last run
        self._finished = asyncio.Event()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        """End the session."""
        self._stop_timers()
        if self._socket is not None:
            self._reader.cancel()
            await self._socket.close()

    # ---- actions of a user

    async def open(self, page: str, query: str = "", *, seconds: float = 60.0) -> None:
        """Start a new session on this page, as a link does."""
        await self.close()
        self._socket = await connect(
            self.address,
            subprotocols=[Subprotocol("streamlit")],
            max_size=None,
            open_timeout=120,
            ping_timeout=None,
        )
        self._reader = asyncio.create_task(self._read())
        self.values.clear()
        self._kept.clear()
        self.query, self.page, self.name = query, "", page
        await self.run(seconds=seconds)

    async def turn_to(self, page: str, *, seconds: float = 60.0) -> None:
        self.page = self.pages[page]
        await self.run(seconds=seconds)

    async def choose(self, label: str, value: str, *, seconds: float = 60.0) -> None:
        """Choose an option of the button group with this label once it is visible."""
        await self.until_shown("button_group", label, seconds)
        group = self.find("button_group", label)
        self.values[group.id] = ("string_array_value", [value])
        await self.run(seconds=seconds)

    async def press(self, label: str, *, seconds: float = 60.0) -> None:
        await self.until_shown("button", label, seconds)  # the page may be redrawing itself
        await self.run(trigger=self.find("button", label).id, seconds=seconds)

    # ---- content of the page

    def find(self, kind: str, label: str) -> Any:
        found = [
            e
            for e in self.elements.values()
            if e.WhichOneof("type") == kind and getattr(e, kind).label == label
        ]
        if not found:
            raise LookupError(f"the page has no {kind} {label!r}")
        return getattr(found[-1], kind)

    def shows(self, kind: str, label: str) -> bool:
        return any(
            e.WhichOneof("type") == kind and getattr(e, kind).label == label for e in self.elements.values()
        )

    async def until_shown(self, kind: str, label: str, seconds: float) -> None:
        with explained_timeout(f"no {kind} {label!r} after {seconds:g} s"):
            async with asyncio.timeout(seconds):
                while not self.shows(kind, label):
                    self._changed.clear()
                    await self._changed.wait()

    async def run(self, *, trigger: str = "", seconds: float = 60.0) -> None:
        """Run the page and wait until it is complete."""
        self._stop_timers()
        self._finished.clear()
        self.elements.clear()
        await self._send(trigger=trigger)
        with explained_timeout(f"the page did not end within {seconds:g} s"):
            async with asyncio.timeout(seconds):
                await self._finished.wait()

    # ---- the protocol

    async def _send(self, *, trigger: str = "", fragment: str = "") -> None:
        message = BackMsg()
        asked = message.rerun_script
        asked.query_string, asked.page_script_hash, asked.page_name = self.query, self.page, self.name
        asked.fragment_id, asked.is_auto_rerun = fragment, bool(fragment)
        asked.cached_message_hashes.extend(self._kept)
        for key, (kind, value) in self.values.items():
            state = asked.widget_states.widgets.add(id=key)
            getattr(state, kind).data.extend(value)
        if trigger:
            asked.widget_states.widgets.add(id=trigger).trigger_value = True
        assert self._socket is not None
        await self._socket.send(message.SerializeToString())

    async def _read(self) -> None:
        assert self._socket is not None
        async for data in self._socket:
            message = ForwardMsg()
            message.ParseFromString(data if isinstance(data, bytes) else data.encode())
            self._take(message)
            self._changed.set()

    def _take(self, message: ForwardMsg) -> None:
        kind = message.WhichOneof("type")
        if message.metadata.cacheable:
            self._kept.append(message.hash)
        if kind == "delta" and message.delta.WhichOneof("type") == "new_element":
            element = message.delta.new_element
            self.elements[tuple(message.metadata.delta_path)] = element
            if element.WhichOneof("type") == "exception":
                self.failed.append(element.exception.message)
        elif kind == "navigation":
            self.pages = {page.page_name: page.page_script_hash for page in message.navigation.app_pages}
            self.page = message.navigation.page_script_hash  # a link names its page instead
        elif kind == "auto_rerun":
            fragment = message.auto_rerun.fragment_id
            self._fresh.add(fragment)
            if fragment not in self._timers:
                task = self._poll(fragment, message.auto_rerun.interval)
                self._timers[fragment] = asyncio.create_task(task)
        elif kind == "script_finished" and message.script_finished == ForwardMsg.FINISHED_SUCCESSFULLY:
            self._stop_timers(keep=self._fresh)  # the page may have run without a request
            self._fresh = set()
            self._finished.set()

    async def _poll(self, fragment: str, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await self._send(fragment=fragment)

    def _stop_timers(self, keep: Collection[str] = ()) -> None:
        for fragment in set(self._timers) - set(keep):
            self._timers.pop(fragment).cancel()
