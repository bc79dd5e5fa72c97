"""Simulated users of `tests.bench.load`, with a browser or without one."""

from __future__ import annotations

import asyncio
import json
import random
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from tests.bench.protocol_client import Visitor

SCAN = {"source": "phantom:thorax:0", "grid": [32, 96, 96], "photons": 1e5, "same_grid": True}
PAGES = {
    "Acquire": "Choose a CT volume and design its scan",
    "Reconstruct": "Choose a method and watch",
    "Runs": "All runs on this server",
    "Learn": "Short lessons",
}
PATIENCE = 60  # s
DIFFUSION_EVERY = 20  # s
ARRIVAL = 2.0  # s between two arrivals; opening a page in Chromium takes 4 s of a core
PAUSE = 10.0  # s between two actions of a user, on average


@dataclass
class Figures:
    """Results: seconds by action, (time [s], memory [MB] of server and of workers), load, and problems."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory: list[tuple[float, float, float]] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, what: str, began: float) -> None:
        self.seconds.setdefault(what, []).append(time.perf_counter() - began)


class User(ABC):
    """Simulated user.

    Even numbers open pages, odd numbers change the scan and wait for its FBP, and 0 also queues diffusion.
    """

    kind = ""
    failures: tuple[type[Exception], ...] = ()

    def __init__(
        self, number: int, address: str, figures: Figures, pause: float = PAUSE, arrival: float = ARRIVAL
    ) -> None:
        self.number, self.address, self.figures = number, address, figures
        self.pause, self.arrives = pause, arrival * number
        self.random, self.seed = random.Random(number), 10_000 * number

    async def live(self, until: float) -> None:
        await asyncio.sleep(self.arrives)
        queued, opened = 0.0, False
        while time.perf_counter() < until:
            try:
                if not opened:
                    began = time.perf_counter()
                    await self.open(2 * PATIENCE)
                    self.add("first page", began)
                    opened = True
                if self.number == 0 and time.perf_counter() - queued > DIFFUSION_EVERY:
                    queued = time.perf_counter()
                    await self.see_fbp()
                    await self.queue_diffusion()
                elif self.number % 2:
                    await self.see_fbp()
                else:
                    await self.look()
                self.figures.problems += [
                    f"{self.kind} {self.number}: {text}" for text in await self.exceptions()
                ]
            except self.failures as error:  # a press without a response, or a page that does not open
                reason = str(error).splitlines()[0] if str(error) else type(error).__name__
                left = (until - time.perf_counter()) / 60
                self.figures.problems.append(
                    f"{self.kind} {self.number}, {left:.1f} minutes before the end: {reason}"
                )
                opened = False
            await asyncio.sleep(self.pause * self.random.uniform(0.2, 1.8))

    def add(self, what: str, began: float) -> None:
        self.figures.add(f"{what}, {self.kind}", began)

    def query(self) -> str:
        views = (10, 20, 60, 180)[self.seed % 4]
        return f"scan={quote(json.dumps(SCAN | {'num_views': views, 'seed': self.seed}))}"

    async def see_fbp(self) -> None:
        """Open a new scan and wait for its FBP."""
        self.seed += 1  # new noise makes it a new scan
        began = time.perf_counter()
        await self.open(PATIENCE)
        await self.choose_fbp()
        self.add("FBP of a new scan", began)

    @abstractmethod
    async def open(self, patience: float) -> None:
        """Open Reconstruct with the current scan by a link."""

    @abstractmethod
    async def choose_fbp(self) -> None: ...

    @abstractmethod
    async def look(self) -> None:
        """Open another page and look at it."""

    @abstractmethod
    async def queue_diffusion(self) -> None: ...

    @abstractmethod
    async def exceptions(self) -> list[str]:
        """Return the exceptions that the page has shown."""


class BrowserUser(User):
    """User in a separate browser context."""

    kind = "browser"

    def __init__(self, page: Any, number: int, address: str, figures: Figures, *times: float) -> None:
        from playwright.async_api import Error

        super().__init__(number, address, figures, *times)
        self.failures = (Error,)
        self.page = page
        page.set_default_timeout(1000 * PATIENCE)
        page.on("pageerror", lambda error: figures.problems.append(f"browser {number}: {error}"))

    async def open(self, patience: float) -> None:
        await self.page.goto(f"{self.address}/reconstruct?{self.query()}", timeout=1000 * patience)
        await self.page.get_by_text(PAGES["Reconstruct"]).wait_for(timeout=1000 * patience)

    async def choose_fbp(self) -> None:
        await self.page.get_by_role("radio", name="FBP").click()
        await self.page.get_by_text("PSNR", exact=True).first.wait_for()

    async def look(self) -> None:
        name = self.random.choice(list(PAGES))
        began = time.perf_counter()
        await self.page.get_by_test_id("stSidebarNav").get_by_text(name, exact=True).click()
        await self.page.get_by_text(PAGES[name]).first.wait_for()
        self.add("another page", began)
        viewer = self.page.locator(".tv[data-frames]")
        if await viewer.count():
            await viewer.first.hover()
            for _ in range(5):
                await self.page.mouse.wheel(0, 100)
                await self.page.wait_for_timeout(60)

    async def queue_diffusion(self) -> None:
        await self.page.get_by_role("radio", name="Diffusion").click()
        began = time.perf_counter()
        await self.page.get_by_role("button", name="Run", exact=True).click()
        await (
            self.page.get_by_role("button", name="Finish now")
            .or_(self.page.get_by_text("in the queue"))
            .first.wait_for()
        )
        self.add("a run is queued", began)

    async def exceptions(self) -> list[str]:
        shown = await self.page.get_by_test_id("stException").count()
        return [f"an exception on {self.page.url[:80]}"] * shown


class ProtocolUser(User):
    """User without a browser, which would use the server's cores."""

    kind = "protocol"

    def __init__(self, number: int, address: str, figures: Figures, *times: float) -> None:
        super().__init__(number, address, figures, *times)
        self.visitor = Visitor(address)
        self.failures = (TimeoutError, LookupError, ConnectionError)

    async def open(self, patience: float) -> None:
        await self.visitor.open("reconstruct", self.query(), seconds=patience)

    async def choose_fbp(self) -> None:
        await self.visitor.choose("Method", "FBP", seconds=PATIENCE)
        await self.visitor.until_shown("metric", "RMSE", PATIENCE)

    async def look(self) -> None:
        began = time.perf_counter()
        await self.visitor.turn_to(self.random.choice(list(PAGES)), seconds=PATIENCE)
        self.add("another page", began)

    async def queue_diffusion(self) -> None:
        await self.visitor.choose("Method", "Diffusion", seconds=PATIENCE)
        began = time.perf_counter()
        await self.visitor.press("Run", seconds=PATIENCE)
        await self.visitor.until_shown("button", "Finish now", PATIENCE)
        self.add("a run is queued", began)

    async def exceptions(self) -> list[str]:
        seen, self.visitor.failed = self.visitor.failed, []
        return seen
