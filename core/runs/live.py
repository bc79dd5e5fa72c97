"""The callback of a run in the worker: tells progress, leaves previews and snapshots, stops when asked to."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from core.metrics import DATA_RANGE, HU_RANGE, psnr
from core.progress import Step
from core.runs.history import PARTS, History, Point, reduced, write_trace
from core.runs.writing import write_array
from core.volume import Volume, hu_from_mu

PREVIEW_EVERY = 0.3  # seconds between two previews
PREVIEW_VOXELS = 2**21
PSNR_SHARE = 0.1  # of the time of a run, at most


class Live:
    """Called after each step of a run.

    Parameters
    ----------
    folder : Path
        The run's folder.
    say : f(**event)
        Told the figures of every step.
    ask : f() -> "cancel", "finish" or None
        Asked after every step what the user wishes.

    Attributes
    ----------
    wish : str or None
        What made it stop the run.
    spent : float
        Seconds that watching took, which are not the method's.
    """

    def __init__(self, folder: Path, say: Callable[..., None], ask: Callable[[], str | None]) -> None:
        self.folder, self.say, self.ask = folder, say, ask
        self.points: list[Point] = []
        self.wish: str | None = None
        self.version = 0
        self.begin()

    def begin(self, *, reference: Volume | None = None, parts: tuple[str, ...] = PARTS) -> None:
        """The method begins now.

        reference : Volume or None
            What the PSNR is measured against.
        parts : names in PARTS
            The volumes of a step that are shown and kept.
        """
        self.reference = None if reference is None else reference.hu.clip(*HU_RANGE)
        self.parts, self.history = parts, History(self.folder, parts)
        self.started, self.spent = time.perf_counter(), 0.0
        self.shown = self.measured = -math.inf
        self.cost = 0.0

    def __call__(self, step: Step) -> None:
        now = time.perf_counter()
        self.wish = self.ask()
        last = self.wish is not None or (step.i == step.total and not step.stage)
        seconds, psnr = now - self.started, self._psnr(step, last)
        point = Point(step.i, step.total, step.stage, seconds, step.residual, step.sigma, psnr)
        self.points.append(point)
        if now - self.shown >= PREVIEW_EVERY and not last:
            self.shown = now
            self.version += 1
            for name in self.parts:
                volume = getattr(step, name)
                if volume is not None:
                    write_array(self.folder / f"live-{name}.npy", reduced(volume, PREVIEW_VOXELS))
        self.history.add(step, point, last=last)
        self._tell(point, tiles=None if step.tiles is None else asdict(step.tiles))
        self.spent += time.perf_counter() - now
        if self.wish is not None:
            raise StopIteration

    def tick(self, i: int, total: int) -> None:
        """Progress within a run of a single step, which has nothing to show before its end."""
        self.wish = self.ask()
        self._tell(Point(i, total, seconds=time.perf_counter() - self.started))
        if self.wish is not None:
            raise StopIteration

    def within(self, done: int, total: int) -> None:
        """So many tiles of the pass at hand are done. A pass has no result before its end: only "cancel" ends it."""
        if self.ask() == "cancel":
            raise StopIteration
        self.say(status="running", message="", part=(done, total))

    def close(self) -> None:
        """Keep the figures of all steps."""
        write_trace(self.folder, self.points)

    def _tell(self, point: Point, **more: object) -> None:
        self.say(status="running", message="", version=self.version, point=asdict(point), **more)

    def _psnr(self, step: Step, last: bool) -> float | None:
        """Against the reference; cheap steps are measured now and then only."""
        if self.reference is None or step.x.shape != self.reference.shape:
            return None
        began = time.perf_counter()
        if not (last or step.i == 1 or began - self.measured >= self.cost / PSNR_SHARE):
            return None
        test = hu_from_mu(step.x).clip(*HU_RANGE).to(self.reference.device)
        value = psnr(self.reference, test, data_range=DATA_RANGE)
        self.measured = time.perf_counter()
        self.cost = self.measured - began
        return value if math.isfinite(value) else None


def drop_previews(folder: Path, *, history: bool = False) -> None:
    """Remove what was shown while the run worked; with `history`, also what could be replayed."""
    for path in folder.glob("live-*.npy"):
        path.unlink(missing_ok=True)
    if history:
        for path in [*(folder / "history").glob("*"), folder / "trace.json"]:
            path.unlink(missing_ok=True)
