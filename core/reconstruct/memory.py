"""Peak memory of a piece of work."""

from __future__ import annotations

import threading

import psutil
import torch


class PeakMemory:
    """Context manager: how far the memory of this process rose above where it was at the start [MB].

    Samples the resident set 50 times a second from a thread; on CUDA also counts what torch allocated there.
    """

    def __enter__(self) -> PeakMemory:
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
        cuda = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
        return (self._peak - self._start + cuda) / 2**20

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self._sample()

    def _sample(self) -> None:
        self._peak = max(self._peak, self._process.memory_info().rss)
