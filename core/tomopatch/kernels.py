"""Compilation options of the kernels, and one pool of threads for all of them.

The kernels release the GIL, so plain threads run them in parallel. Numba's own parallel layer is not used: it
aborts the process when two threads enter it at once, as happens on a server. Eight concurrent callers share
these threads instead of starting eight times as many.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from numba import njit


def _nothing() -> None: ...


def _can_cache() -> bool:
    """Whether numba has a folder for its cache; without a writable one it refuses to compile with a cache."""
    try:
        njit(cache=True)(_nothing)
    except RuntimeError:
        return False
    return True


CACHE = _can_cache()
JIT: dict[str, Any] = {
    "nogil": True,
    "cache": CACHE,
    "error_model": "numpy",
    "fastmath": {"contract", "arcp", "nsz", "reassoc"},
}
"""Options of numba.njit."""


def num_cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


NUM_THREADS = int(os.environ.get("TOMOPATCH_THREADS", 0)) or num_cores()
_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def set_num_threads(count: int) -> None:
    """Change the number of threads of the kernels in this process, while none of them runs."""
    global NUM_THREADS, _pool
    with _lock:
        if _pool is not None:
            _pool.shutdown()
        NUM_THREADS, _pool = count, None


def run_chunks(kernel: Callable[..., None], count: int, *args: object, chunks_per_thread: int = 8) -> None:
    """kernel(*args, start, stop) over disjoint ranges that cover 0..count; returns when all are done."""
    spans = list(_chunks(count, NUM_THREADS * chunks_per_thread))
    if NUM_THREADS == 1 or len(spans) == 1:
        kernel(*args, 0, count)
        return
    # each thread takes the next span: submitting every span to the pool costs as much as a small span
    left = iter(spans)

    def work() -> None:
        for start, stop in left:
            kernel(*args, start, stop)

    for future in [_threads().submit(work) for _ in range(NUM_THREADS)]:
        future.result()


def _threads() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="kernel")
        return _pool


def _chunks(count: int, parts: int) -> Iterator[tuple[int, int]]:
    parts = max(1, min(count, parts))
    for i in range(parts):
        yield count * i // parts, count * (i + 1) // parts
