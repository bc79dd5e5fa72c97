"""The callback of a run in the worker: tells progress, leaves previews and snapshots, stops when asked to."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from tomopatch.analysis.metrics import DATA_RANGE, HU_RANGE, psnr
from tomopatch.io.writing import write_array
from tomopatch.progress import Step
from tomopatch.store.checkpoint import Checkpoint, write_checkpoint
from tomopatch.store.history import PARTS, History, Point, reduced, write_trace
from tomopatch.volume import Volume, hu_from_mu

PREVIEW_EVERY = 0.5  # seconds between two previews; pages look half as often
PREVIEW_VOXELS = 2**21
PSNR_SHARE = 0.1  # of the time of a run, at most
KEEPING_SHARE = 0.03  # of it, at most, to leave what it can go on from


class Live:
    """Called after each step of a run.

    Parameters
    ----------
    folder : Path
        The run's folder.
    say : f(**event)
        Told the figures of every step.
    ask : f() -> "cancel", "finish", "park" or None
        Asked after every step and batch of tiles what the user wishes; "park" = the server stops, the run is to go on
        another time.
    digest : str
        Of the run's config.
    every : float
        Seconds between two checkpoints, at least.
    most : float
        Seconds that the run may take; then it ends with what it has.

    Attributes
    ----------
    wish : str or None
        What made it stop the run.
    late : bool
        It stopped because its time was up.
    spent : float
        Seconds that watching took, which are not the method's.
    """

    def __init__(
        self,
        folder: Path,
        say: Callable[..., None],
        ask: Callable[[], str | None],
        *,
        digest: str = "",
        every: float = math.inf,
        most: float = math.inf,
    ) -> None:
        self.folder, self.say, self.ask = folder, say, ask
        self.digest, self.every, self.most = digest, every, most
        self.late = False
        self.wish: str | None = None
        self.version = 0
        self.begin()

    def begin(
        self,
        *,
        reference: Volume | None = None,
        parts: tuple[str, ...] = PARTS,
        resume: Checkpoint | None = None,
    ) -> None:
        """The method begins now, or goes on.

        reference : Volume or None
            What the PSNR is measured against.
        parts : names in PARTS
            The volumes of a step that are shown and kept.
        """
        self.reference = None if reference is None else reference.hu.clip(*HU_RANGE)
        self.points = [] if resume is None else list(resume.points)
        self.parts = parts
        self.history = History(self.folder, parts, 0 if resume is None else resume.frames)
        self.spent, self.kept = 0.0, time.perf_counter()
        self.started = self.kept - (self.points[-1].seconds if self.points else 0.0)
        self.unkept: tuple[Step, Point] | None = None  # the last step, if no snapshot is left of it
        self.shown = self.measured = -math.inf
        self.cost = self.keeping = 0.0
        if self.points:
            self.say(points=[asdict(p) for p in self.points])

    def __call__(self, step: Step) -> None:
        now = time.perf_counter()
        self.wish = self._wish()
        last = self.wish is not None or (step.i == step.total and not step.stage)
        seconds, psnr = now - self.started, self._psnr(step, last)
        point = Point(step.i, step.total, step.stage, seconds, step.residual, step.sigma, psnr, step.work)
        self.points.append(point)
        if now - self.shown >= PREVIEW_EVERY and not last:
            self.shown = now
            self.version += 1
            with contextlib.suppress(OSError):  # no room for pictures: the run itself can do without
                for name in self.parts:
                    volume = getattr(step, name)
                    if volume is not None:
                        write_array(self.folder / f"live-{name}.npy", reduced(volume, PREVIEW_VOXELS))
        self.unkept = None
        with contextlib.suppress(OSError):
            if not self.history.add(step, point, last=last):
                self.unkept = step, point
        self._keep(step)
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
        """So many tiles of the pass at hand are done. Half a pass is no result: what stops it leaves that of the last."""
        self.wish = self._wish()
        if self.wish is None:
            self.say(status="running", message="", part=(done, total))
            return
        if self.unkept is not None and self.wish == "finish":  # which turns out to be the last
            with contextlib.suppress(OSError):
                self.history.add(*self.unkept, last=True)
        raise StopIteration

    def _wish(self) -> str | None:
        self.late = time.perf_counter() - self.started > self.most
        return self.ask() or ("finish" if self.late else None)

    def close(self) -> None:
        """Keep the figures of all steps."""
        with contextlib.suppress(OSError):
            write_trace(self.folder, self.points)

    def _keep(self, step: Step) -> None:
        """Leave what the run can go on from, now and then; now if it is to be parked."""
        if step.state is None or step.i == step.total:  # what comes after the last step comes at once
            return
        began = time.perf_counter()
        due = began - self.kept >= max(self.every, self.keeping / KEEPING_SHARE)
        if due or self.wish == "park":
            with contextlib.suppress(OSError):
                write_checkpoint(
                    self.folder, Checkpoint(self.digest, step.state, self.points, self.history.count)
                )
            self.kept = time.perf_counter()
            self.keeping = self.kept - began

    def _tell(self, point: Point, **more: object) -> None:
        self.say(status="running", message="", version=self.version, point=asdict(point), **more)

    def _psnr(self, step: Step, last: bool) -> float | None:
        """Against the reference; cheap steps are measured now and then only."""
        began = time.perf_counter()
        if not (last or step.i == 1 or began - self.measured >= self.cost / PSNR_SHARE):
            return None
        if self.reference is None or step.x.shape != self.reference.shape:
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
