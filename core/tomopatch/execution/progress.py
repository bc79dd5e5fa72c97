"""How far a run is, as pages and scripts see it."""

from __future__ import annotations

from dataclasses import dataclass

from tomopatch.progress import Tiles
from tomopatch.store.history import Point


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    status : one of `tomopatch.runs.run.STATUSES`
    place : int
        Runs before this one; 0 = its turn.
    seconds, eta : float
        Since it started, and until its stage is done; eta is NaN while unknown.
    points : tuple of Point
        The figures of every step so far.
    tiles : Tiles or None
        Those of the last pass of the prior.
    part : (done, total) or None
        Tiles of the pass at hand.
    message : str
        What it is doing, or why it failed.
    version : int
        Grows with each new preview.
    """

    status: str
    place: int = 0
    seconds: float = 0.0
    eta: float = float("nan")
    points: tuple[Point, ...] = ()
    tiles: Tiles | None = None
    part: tuple[int, int] | None = None
    message: str = ""
    version: int = 0

    @property
    def i(self) -> int:
        """Iterations done of the stage at hand."""
        return self.points[-1].i if self.points else 0

    @property
    def total(self) -> int:
        """Iterations planned of it; 0 = not known yet."""
        return self.points[-1].total if self.points else 0

    @property
    def share(self) -> float:
        """Share of the work that is done, 0 to 1: of the run, where its steps know it, else of the stage."""
        done, of = self.part or (0, 1)
        work = self.points[-1].work if self.points else None
        if not self.total or (self.stage and self.part and work is None):
            return done / of
        if work is not None:  # the pass at hand counts as the last one did
            before = (self.points[-2].work if len(self.points) > 1 else None) or 0.0
            return min(1.0, work + (work - before) * (done / of))
        return min(1.0, (self.i + done / of) / self.total)

    @property
    def stage(self) -> str:
        """See `tomopatch.progress.Step`."""
        return self.points[-1].stage if self.points else ""
