"""Memory of a reconstruction: peak, estimate in advance, and return of freed memory to the system."""

from __future__ import annotations

import contextlib
import ctypes
import threading

import psutil
import torch

COPIES = {
    "fbp": (2.5, 1.0),
    "fdk": (2.5, 1.0),
    "sirt": (6.0, 2.0),
    "cgls": (8.0, 3.0),
    "tv": (21.0, 8.0),
    "diffusion": (21.0, 8.0),  # in its initial reconstruction
    "generate": (12.0, 0.0),
}
"""Volumes and measurements that a method holds at its peak, measured with the projector's threads."""
LEAST_MB = {"diffusion": 150.0, "generate": 150.0}
"""[MB] Memory of the network's tiles, independent of the grid."""
SMALL_MB = 4.0
"""[MB] Memory of a small run of the other methods."""


def estimated_mb(method: str, voxels: int, rays: int, *, samples: int = 1) -> float:
    """Estimate `Result.peak_memory_mb` on the CPU from the number of voxels and rays.

    The estimate serves to refuse a run that would not fit. It is accurate within a factor of 1.5.
    """
    volumes, measurements = COPIES.get(method, max(COPIES.values()))  # a new method: the largest known
    if samples > 1:
        volumes += 3  # mean, spread and a difference
    return LEAST_MB.get(method, SMALL_MB) + 4 * (volumes * voxels + measurements * rays) / 2**20


HEAPS = 2
SHARED = 2**18
"""[bytes] Larger arrays get their own pages, which return to the system when they are freed."""
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h


def spare_memory() -> None:
    """Make glibc return freed memory early. Meant for a server whose short-lived threads hold large arrays.

    Call it before these threads start. Otherwise each thread may open a heap in which arrays of up to 32 MB
    lie among small objects that stay. The cost, new pages for each large array, is too high for a worker.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_ARENA_MAX, HEAPS)
        libc.mallopt(_M_MMAP_THRESHOLD, SHARED)


def give_back() -> None:
    """Return freed memory to the system. glibc otherwise keeps it in its heaps."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


class PeakMemory:
    """Context manager that measures the rise of this process's memory above its value at the start [MB].

    Samples the resident set 50 times a second from a thread; on CUDA also counts what torch allocated there.
    """

    def __enter__(self) -> PeakMemory:
        give_back()  # otherwise the work would first reuse freed memory, which would not count
        self._process = psutil.Process()
        self._start = self._peak = self._process.memory_info().rss
        self._done = threading.Event()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()
        self._sample()

    @property
    def peak_mb(self) -> float:
        """Largest rise so far [MB]."""
        cuda = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        return (self._peak - self._start + cuda) / 2**20

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self._sample()

    def _sample(self) -> None:
        self._peak = max(self._peak, self._process.memory_info().rss)
