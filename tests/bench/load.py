"""Many people at once: `python -m tests.bench.load [--sessions 20] [--browsers 20] [--minutes 10] [--pause 10] [--arrival 2]`.

Half of the sessions look (pages, slices by the wheel), the rest change the scan (10 to 180 views) and wait for the FBP
of it; between the two a person looks at what there is, so many seconds on average. The first also queues diffusion runs,
one after the other. So many of them are contexts of a headless Chromium, which draws on the same cores as the server
computes; the others speak the app's protocol without a browser, as if it were elsewhere. Printed: how long a page and an
FBP take, the machine's load, the memory of the server and of its workers over time and its growth over the last half, and
everything that went wrong. Needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from tests.bench.people import ARRIVAL, PAUSE, Figures, InBrowser, OnWire, Person
from tests.browser.server import FLAGS, chromium, serve


async def measure(
    address: str, sessions: int, browsers: int, seconds: float, pause: float, arrival: float
) -> Figures:
    from playwright.async_api import async_playwright

    figures = Figures()
    server = next(p for p in psutil.Process().children() if "streamlit" in " ".join(p.cmdline()))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        pages = [await (await browser.new_context()).new_page() for _ in range(browsers)]
        people: list[Person] = [
            InBrowser(page, i, address, figures, pause, arrival) for i, page in enumerate(pages)
        ]
        people += [OnWire(i, address, figures, pause, arrival) for i in range(browsers, sessions)]
        began = time.perf_counter()
        until = began + arrival * sessions + seconds  # so long with all of them
        tasks = [asyncio.create_task(person.live(until)) for person in people]
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
    parser.add_argument("--browsers", type=int, help="so many of the sessions; all unless given")
    parser.add_argument("--minutes", type=float, default=10.0, help="from when the last has come")
    parser.add_argument("--pause", type=float, default=PAUSE, help="seconds that a person looks, on average")
    parser.add_argument("--arrival", type=float, default=ARRIVAL, help="seconds from one person to the next")
    arguments = parser.parse_args()
    before, sessions = os.getloadavg()[0], arguments.sessions
    browsers = sessions if arguments.browsers is None else min(arguments.browsers, sessions)
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as address:
        figures = asyncio.run(
            measure(address, sessions, browsers, 60 * arguments.minutes, arguments.pause, arguments.arrival)
        )
        log = (Path(folder) / "log.txt").read_text()
    print(
        f"{sessions} sessions, {browsers} in browsers, {arguments.minutes:g} minutes, {arguments.pause:g} s of looking, {os.cpu_count()} cores, load "
        f"{statistics.mean(figures.load):.1f} on average, {before:.1f} before"
    )
    for what, seconds in figures.seconds.items():
        high = statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
        print(
            f"  {what:27} {len(seconds):4} times, median {statistics.median(seconds):5.2f} s, 95 % {high:5.2f} s"
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
