"""Share of finished work of steps that differ in cost, from their measured time."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import median_low


class Pace:
    """Time of the steps so far, and a forecast of the time of the later ones.

    Steps of equal cost count as equally long. A later step takes the median time of its kind; the costs only
    scale the times of kinds that have not been seen yet.

    Parameters
    ----------
    clock : f() -> float [s]
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._began = self._step_began = clock()
        self._seconds: dict[float, list[float]] = defaultdict(list)
        self._first = 0
        self._share = 0.0

    def begin_step(self) -> None:
        """Start the clock of a step; preparations that come once do not count."""
        self._step_began = self.clock()

    def share(self, i: int, costs: Sequence[float]) -> float:
        """Share of the time that has passed after step i, counted from 1, if the steps have these costs.

        It never falls. Steps before the first call were made by an earlier process; they count with the usual
        time of their kind.
        """
        now = self.clock()
        self._seconds[costs[i - 1]].append(now - self._step_began)
        self._step_began = now
        self._first = self._first or i
        earlier = sum(map(self._usual, costs[: self._first - 1]))
        later = sum(map(self._usual, costs[i:]))
        done = earlier + now - self._began
        share = done / (done + later) if later else 1.0
        self._share = max(self._share, share)
        return self._share

    def _usual(self, cost: float) -> float:
        """Seconds that a step of this cost takes."""
        if cost in self._seconds:
            return median_low(self._seconds[cost])
        nearest = min(self._seconds, key=lambda known: abs(known - cost))
        return median_low(self._seconds[nearest]) * cost / nearest
