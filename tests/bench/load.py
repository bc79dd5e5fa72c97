"""Many people at once: `python -m tests.bench.load [--sessions 20] [--minutes 10]`.

Each session is a browser context of its own in one headless Chromium. Half of them look (pages, slices by key), the rest change the
number of views and wait for the FBP of it; the first also queues diffusion runs, one after the other. Printed: how long a page
and an FBP take (the browsers draw on the same cores as the server computes), the machine's load, the memory of the server and
of its workers over time and its growth over the last half, and everything that went wrong. Needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from tests.browser.server import FLAGS, chromium, serve

SCAN = {"source": "phantom:thorax:0", "grid": [32, 96, 96], "photons": 1e5, "same_grid": True}
PAGES = {
    "Acquire": "Choose what is scanned and how",
    "Reconstruct": "Choose a method and watch",
    "Runs": "All that was made here",
    "Learn": "Short lessons",
}
PATIENCE = 60_000  # ms
DIFFUSION_EVERY = 20  # s
ARRIVAL = 2.0  # s from one session to the next


@dataclass
class Figures:
    """Seconds by what was done, memory [MB] of server and workers and the machine's load over time [s], and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    memory: list[tuple[float, float, float]] = field(default_factory=list)
    load: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    def add(self, what: str, began: float) -> None:
        self.seconds.setdefault(what, []).append(time.perf_counter() - began)


class Session:
    """One person's browser."""

    def __init__(self, number: int, page: Any, address: str, figures: Figures) -> None:
        self.number, self.page, self.address, self.figures = number, page, address, figures
        self.random, self.views = random.Random(number), 8 + number
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: figures.wrong.append(f"session {number}: {error}"))

    async def live(self, until: float) -> None:
        from playwright.async_api import Error

        await asyncio.sleep(ARRIVAL * self.number)
        queued, opened = 0.0, False
        while time.perf_counter() < until:
            try:
                if not opened:
                    await self.open()
                    opened = True
                if self.number == 0 and time.perf_counter() - queued > DIFFUSION_EVERY:
                    queued = time.perf_counter()
                    await self.queue_diffusion()
                elif self.number % 2:
                    await self.change_views()
                else:
                    await self.look()
                if await self.page.get_by_test_id("stException").count():
                    self.figures.wrong.append(f"session {self.number}: an exception on {self.page.url[:80]}")
            except Error as error:  # a press without an answer, a page that does not come
                self.figures.wrong.append(f"session {self.number}: {str(error).splitlines()[0]}")
                opened = False
            await self.page.wait_for_timeout(self.random.uniform(500, 4000))  # a person looks

    async def open(self) -> None:
        scan = SCAN | {"num_views": self.views}
        began = time.perf_counter()
        await self.page.goto(
            f"{self.address}/reconstruct?scan={quote(json.dumps(scan))}", timeout=2 * PATIENCE
        )
        await self.page.get_by_text(PAGES["Reconstruct"]).wait_for(timeout=2 * PATIENCE)
        self.figures.add("first page", began)

    async def turn_to(self, name: str) -> None:
        began = time.perf_counter()
        await self.page.get_by_test_id("stSidebarNav").get_by_text(name, exact=True).click()
        await self.page.get_by_text(PAGES[name]).first.wait_for()
        self.figures.add("another page", began)

    async def look(self) -> None:
        await self.turn_to(self.random.choice(list(PAGES)))
        viewer = self.page.locator(".tv[data-frames]")
        if await viewer.count():
            await viewer.first.hover()
            for _ in range(5):
                await self.page.mouse.wheel(0, 100)
                await self.page.wait_for_timeout(60)

    async def change_views(self) -> None:
        """A scan that nobody asked for yet, and the FBP of it."""
        self.views += 20
        scan = SCAN | {"num_views": self.views}
        began = time.perf_counter()
        await self.page.goto(f"{self.address}/reconstruct?scan={quote(json.dumps(scan))}")
        await self.page.get_by_role("radio", name="FBP").click()
        await self.page.get_by_text("PSNR", exact=True).first.wait_for()
        self.figures.add("FBP of a new scan", began)

    async def queue_diffusion(self) -> None:
        await self.change_views()
        await self.page.get_by_role("radio", name="Diffusion").click()
        began = time.perf_counter()
        await self.page.get_by_role("button", name="Run", exact=True).click()
        await (
            self.page.get_by_role("button", name="Finish now")
            .or_(self.page.get_by_text("in the queue"))
            .first.wait_for()
        )
        self.figures.add("a run is queued", began)


async def measure(address: str, sessions: int, seconds: float) -> Figures:
    from playwright.async_api import async_playwright

    figures = Figures()
    server = next(p for p in psutil.Process().children() if "streamlit" in " ".join(p.cmdline()))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        pages = [await (await browser.new_context()).new_page() for _ in range(sessions)]
        began = time.perf_counter()
        tasks = [
            asyncio.create_task(Session(i, page, address, figures).live(began + seconds))
            for i, page in enumerate(pages)
        ]
        while not all(task.done() for task in tasks):
            seconds = time.perf_counter() - began
            figures.memory.append((seconds, resident([server]), resident(server.children(recursive=True))))
            figures.load.append(os.getloadavg()[0])
            await asyncio.sleep(5)
        for task in tasks:
            task.result()
        await browser.close()
    return figures


def resident(processes: list[psutil.Process]) -> float:
    """MB; of one that ended meanwhile nothing."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args()
    before = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as address:
        figures = asyncio.run(measure(address, arguments.sessions, 60 * arguments.minutes))
        log = (Path(folder) / "log.txt").read_text()
    print(
        f"{arguments.sessions} sessions, {arguments.minutes:g} minutes, {os.cpu_count()} cores, load "
        f"{statistics.mean(figures.load):.1f} on average, {before:.1f} before"
    )
    for what, seconds in figures.seconds.items():
        high = statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
        print(
            f"  {what:20} {len(seconds):4} times, median {statistics.median(seconds):5.2f} s, 95 % {high:5.2f} s"
        )
    half = figures.memory[len(figures.memory) // 2 :]
    for k, who in ((1, "server"), (2, "workers")):
        told = [figures.memory[int(share * (len(figures.memory) - 1))][k] for share in (0.1, 0.5, 1.0)]
        slope = statistics.linear_regression([row[0] / 60 for row in half], [row[k] for row in half]).slope
        print(
            f"  {who}: {told[0]:.0f}, {told[1]:.0f} and {told[2]:.0f} MB after 10, 50 and 100 %; over the last half "
            f"{slope:+.1f} MB a minute"
        )
    print(f"  went wrong: {len(figures.wrong)}; tracebacks in the server's log: {log.count('Traceback')}")
    ends = re.findall(r"^Traceback.*?\n(\w[^\n]*)$", log, re.MULTILINE | re.DOTALL)
    for text in [*figures.wrong[:12], *ends[:12]]:
        print(f"    {text[:160]}")


if __name__ == "__main__":
    main()
