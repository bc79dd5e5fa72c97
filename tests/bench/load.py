"""Load test: `python -m tests.bench.load [--sessions 20] [--browsers 20] [--minutes 10] [--pause 10]
[--arrival 2]`.

Half of the simulated users open pages and scroll through slices. The others change the scan (10 to 180 views)
and wait for its FBP. Users pause between actions. The first user also queues diffusion runs, one after the
other. Users in a browser run in headless Chromium, on the same cores as the server. The others speak the
app's protocol without a browser.

Prints the times of pages and FBPs, the load of the machine, the memory of server and workers over time with
its growth in the second half, and all problems. Requires playwright and Chromium.
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

from tests.bench.simulated_users import ARRIVAL, PAUSE, BrowserUser, Figures, ProtocolUser, User
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
        users: list[User] = [
            BrowserUser(page, i, address, figures, pause, arrival) for i, page in enumerate(pages)
        ]
        users += [ProtocolUser(i, address, figures, pause, arrival) for i in range(browsers, sessions)]
        began = time.perf_counter()
        until = began + arrival * sessions + seconds  # the ramp-up period and the test
        tasks = [asyncio.create_task(user.live(until)) for user in users]
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
    """Return the resident memory in MB; processes that have ended count as zero."""
    total = 0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            total += process.memory_info().rss
    return total / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--browsers", type=int, help="number of sessions in a browser; default: all")
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="duration after the last user has arrived"
    )
    parser.add_argument("--pause", type=float, default=PAUSE, help="mean pause of a user in seconds")
    parser.add_argument(
        "--arrival", type=float, default=ARRIVAL, help="seconds between the arrivals of two users"
    )
    arguments = parser.parse_args()
    before, sessions = os.getloadavg()[0], arguments.sessions
    browsers = sessions if arguments.browsers is None else min(arguments.browsers, sessions)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, serve(Path(folder)) as address:
        figures = asyncio.run(
            measure(address, sessions, browsers, 60 * arguments.minutes, arguments.pause, arguments.arrival)
        )
        log = (Path(folder) / "log.txt").read_text()
    print(
        f"{sessions} sessions, {browsers} in browsers, {arguments.minutes:g} minutes, pauses of "
        f"{arguments.pause:g} s, {os.cpu_count()} cores, load "
        f"{statistics.mean(figures.load):.1f} on average, {before:.1f} before"
    )
    for what, seconds in figures.seconds.items():
        high = statistics.quantiles(seconds, n=20)[-1] if len(seconds) > 1 else seconds[0]
        print(
            f"  {what:27} {len(seconds):4} times, median {statistics.median(seconds):5.2f} s, 95 % "
            f"{high:5.2f} s"
        )
    half = figures.memory[len(figures.memory) // 2 :]
    for k, who in ((1, "server"), (2, "workers")):
        sizes = [figures.memory[int(share * (len(figures.memory) - 1))][k] for share in (0.1, 0.5, 1.0)]
        slope = statistics.linear_regression([row[0] / 60 for row in half], [row[k] for row in half]).slope
        print(
            f"  {who}: {sizes[0]:.0f}, {sizes[1]:.0f} and {sizes[2]:.0f} MB after 10, 50 and 100 %; in the "
            "second half "
            f"{slope:+.1f} MB per minute"
        )
    print(f"  problems: {len(figures.problems)}; tracebacks in the server's log: {log.count('Traceback')}")
    ends = re.findall(r"^Traceback.*?\n(\w[^\n]*)$", log, re.MULTILINE | re.DOTALL)
    for text in [*figures.problems[:12], *ends[:12]]:
        print(f"    {text[:160]}")


if __name__ == "__main__":
    main()
