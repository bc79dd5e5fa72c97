"""A visitor without a browser: speaks the app's own protocol, so that many of them cost what they cost the server.

What a browser does besides, drawing, it does on the visitor's machine: a page full of browsers on the server's cores measures
the browsers. It answers as one does: runs fragments again when the server asks for it, tells which messages it keeps, and
remembers what its controls are set to.
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

KEPT = 400  # messages that a browser keeps, about


@contextmanager
def said(what: str) -> Iterator[None]:
    """What was waited for in vain."""
    try:
        yield
    except TimeoutError as error:
        raise TimeoutError(what) from error


class Visitor:
    """One session with the app at this address.

    Attributes
    ----------
    elements : elements by their place on the page, as they came last
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
        self._timers: dict[str, asyncio.Task] = {}  # by the fragment that is run again and again
        self._fresh: set[str] = set()  # those of the page's last run
        self._finished = asyncio.Event()
        self._changed = asyncio.Event()

    async def close(self) -> None:
        """Leave: the session ends."""
        self._stop_timers()
        if self._socket is not None:
            self._reader.cancel()
            await self._socket.close()

    # ---- what a person does

    async def open(self, page: str, query: str = "", *, seconds: float = 60.0) -> None:
        """A new session that begins with this page, as by a link."""
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
        """An option of the group of buttons with this label, as soon as it is there."""
        await self.until_shown("button_group", label, seconds)
        group = self.find("button_group", label)
        self.values[group.id] = ("string_array_value", [value])
        await self.run(seconds=seconds)

    async def press(self, label: str, *, seconds: float = 60.0) -> None:
        await self.until_shown("button", label, seconds)  # the page may be drawn anew on its own account
        await self.run(trigger=self.find("button", label).id, seconds=seconds)

    # ---- what the page shows

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
        with said(f"no {kind} {label!r} after {seconds:g} s"):
            async with asyncio.timeout(seconds):
                while not self.shows(kind, label):
                    self._changed.clear()
                    await self._changed.wait()

    async def run(self, *, trigger: str = "", seconds: float = 60.0) -> None:
        """Run the page, and wait until all of it has come."""
        self._stop_timers()
        self._finished.clear()
        self.elements.clear()
        await self._send(trigger=trigger)
        with said(f"the page did not end within {seconds:g} s"):
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
            self._stop_timers(keep=self._fresh)  # a page may have run on its own account
            self._fresh = set()
            self._finished.set()

    async def _poll(self, fragment: str, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            await self._send(fragment=fragment)

    def _stop_timers(self, keep: Collection[str] = ()) -> None:
        for fragment in set(self._timers) - set(keep):
            self._timers.pop(fragment).cancel()
