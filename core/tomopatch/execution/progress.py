"""Progress of a run, for pages and scripts."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace
from typing import Any

from tomopatch.progress import Tiles
from tomopatch.store.history import Point

STORING = 2.0
"""Seconds from the last step to the result on a page: figures, compressed files, half a poll of the page.
Diffusion on thorax phantoms of 64 x 128 x 128 and less took 1.4 to 2.4 s on two cores.
"""


@dataclass(frozen=True)
class Progress:
    """Progress of a run.

    Attributes
    ----------
    status : one of `tomopatch.runs.run.STATUSES`
    position : int
        Position in the queue, counted from 1; 0 = it does not wait.
    seconds, eta : float
        Time since its start, and time until its result is shown (until its stage ends, if the work of the
        whole run is not known); eta is NaN while unknown.
    estimated : float
        Time of the last step, at which `eta` was estimated, on the monotonic clock.
    points : tuple of Point
        The figures of every step so far.
    tiles : Tiles or None
        Tiles of the last pass of the prior.
    tiles_done : (done, total) or None
        Finished tiles of the current pass.
    message : str
        Current activity, or the reason of a failure.
    version : int
        Grows with each new preview.
    """

    status: str
    position: int = 0
    seconds: float = 0.0
    eta: float = float("nan")
    estimated: float = 0.0
    points: tuple[Point, ...] = ()
    tiles: Tiles | None = None
    tiles_done: tuple[int, int] | None = None
    message: str = ""
    version: int = 0

    @property
    def i(self) -> int:
        """Finished iterations of the current stage."""
        return self.points[-1].i if self.points else 0

    @property
    def total(self) -> int:
        """Planned iterations of the current stage; 0 = not known yet."""
        return self.points[-1].total if self.points else 0

    @property
    def share(self) -> float:
        """Finished share of the work, 0 to 1: of the whole run if its steps know it, else of the stage."""
        done, of = self.tiles_done or (0, 1)
        work = self.points[-1].work if self.points else None
        if not self.total or (self.stage and self.tiles_done and work is None):
            return done / of
        if work is not None:  # the current pass is assumed to cost as much as the last one
            before = (self.points[-2].work if len(self.points) > 1 else None) or 0.0
            return min(1.0, work + (work - before) * (done / of))
        return min(1.0, (self.i + done / of) / self.total)

    def counted_down(self, now: float) -> Progress:
        """The same progress at a time on the monotonic clock: the time left falls also within a step."""
        left = self.eta - (now - self.estimated)
        return replace(self, eta=max(0.0, left)) if math.isfinite(left) else self

    @property
    def stage(self) -> str:
        """Name of the current stage, see `tomopatch.progress.Step`."""
        return self.points[-1].stage if self.points else ""


def with_point(known: Progress, point: Point, event: dict[str, Any]) -> dict[str, Any]:
    """Return the event with the run's results so far, and the time left at the speed of this stage.

    Steps that do not state their work cost the same, except the first, which includes preparations. Storing
    the result takes `STORING`.
    """
    if point.work is None:
        base = next((p for p in known.points if p.stage == point.stage), None)
    else:
        base = next((p for p in reversed(known.points) if p.stage != point.stage), None)
    spent = point.seconds - (base.seconds if base else 0.0)
    done, before = _done(point), _done(base) if base else 0.0
    tiles = event.pop("tiles", None)
    if tiles is not None:
        event["tiles"] = Tiles(tuple(tiles["size"]), tuple(map(tuple, tiles["starts"])))
    eta = spent * (1 - done) / max(1e-9, done - before) + STORING
    points = (*known.points, point)
    more = {"points": points, "seconds": point.seconds, "eta": eta, "tiles_done": None}
    return event | more | {"estimated": time.monotonic()}


def _done(point: Point) -> float:
    """Share of the run's work done, or of the stage's if it is not known."""
    return point.i / point.total if point.work is None else point.work
