"""Monitoring of a run in its worker: progress events, previews, snapshots, checkpoints and stop requests."""

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

PREVIEW_SECONDS = 0.5
"""Least time between two previews; the pages look half as often."""
PREVIEW_VOXELS = 2**21
PSNR_SHARE = 0.1
"""Largest share of a run's time that is spent on PSNR values."""
CHECKPOINT_SHARE = 0.03
"""Largest share of a run's time that is spent on checkpoints."""


class RunMonitor:
    """Callback of a run, called after each step.

    Parameters
    ----------
    folder : Path
        The run's folder.
    emit : f(**event)
        Receives the figures of every step.
    requested : f() -> "cancel", "finish", "suspend" or None
        Pending stop request, checked after every step and every batch of tiles. "suspend" means that the
        server stops and the run will be resumed later.
    digest : str
        Digest of the run's config.
    checkpoint_seconds : float
        Least time between two checkpoints.
    max_seconds : float
        Time limit of the run; it then ends with its current estimate.

    Attributes
    ----------
    stop_request : str or None
        The request that stopped the run.
    timed_out : bool
        Whether the run reached its time limit.
    overhead : float
        Seconds spent in this class, which do not count as the method's.
    """

    def __init__(
        self,
        folder: Path,
        emit: Callable[..., None],
        requested: Callable[[], str | None],
        *,
        digest: str = "",
        checkpoint_seconds: float = math.inf,
        max_seconds: float = math.inf,
    ) -> None:
        self.folder, self.emit, self.requested = folder, emit, requested
        self.digest, self.checkpoint_seconds, self.max_seconds = digest, checkpoint_seconds, max_seconds
        self.timed_out = False
        self.stop_request: str | None = None
        self.version = 0
        self.begin()

    def begin(
        self,
        *,
        reference: Volume | None = None,
        parts: tuple[str, ...] = PARTS,
        resume: Checkpoint | None = None,
    ) -> None:
        """Start the clock: the method begins now, or resumes.

        reference : Volume or None
            Reference of the PSNR.
        parts : names in PARTS
            The volumes of a step that are previewed and stored.
        """
        self.reference = None if reference is None else reference.hu.clip(*HU_RANGE)
        self.points = [] if resume is None else list(resume.points)
        self.parts = parts
        self.history = History(self.folder, parts, 0 if resume is None else resume.frames)
        self.overhead, self._checkpoint_at = 0.0, time.perf_counter()
        self.started = self._checkpoint_at - (self.points[-1].seconds if self.points else 0.0)
        self._without_snapshot: tuple[Step, Point] | None = None  # the last step, if it has no snapshot
        self._preview_at = self._psnr_at = -math.inf
        self._psnr_cost = self._checkpoint_cost = 0.0
        if self.points:
            self.emit(points=[asdict(p) for p in self.points])

    def __call__(self, step: Step) -> None:
        now = time.perf_counter()
        self.stop_request = self._pending_request()
        last = self.stop_request is not None or (step.i == step.total and not step.stage)
        seconds, psnr = now - self.started, self._psnr(step, last)
        point = Point(step.i, step.total, step.stage, seconds, step.residual, step.sigma, psnr, step.work)
        self.points.append(point)
        if now - self._preview_at >= PREVIEW_SECONDS and not last:
            self._preview_at = now
            self.version += 1
            with contextlib.suppress(OSError):  # a full disk must not stop the run
                for name in self.parts:
                    volume = getattr(step, name)
                    if volume is not None:
                        write_array(self.folder / f"live-{name}.npy", reduced(volume, PREVIEW_VOXELS))
        self._without_snapshot = None
        with contextlib.suppress(OSError):
            if not self.history.add(step, point, last=last):
                self._without_snapshot = step, point
        self._checkpoint(step)
        self._emit_point(point, tiles=None if step.tiles is None else asdict(step.tiles))
        self.overhead += time.perf_counter() - now
        if self.stop_request is not None:
            raise StopIteration

    def on_single_pass(self, done: int, total: int) -> None:
        """Report the tiles of a run that consists of one pass of the prior."""
        self.stop_request = self.requested()
        self._emit_point(Point(done, total, seconds=time.perf_counter() - self.started))
        if self.stop_request is not None:
            raise StopIteration

    def on_tiles(self, done: int, total: int) -> None:
        """Report the tiles of the current pass. An interrupted pass returns the previous estimate."""
        self.stop_request = self._pending_request()
        if self.stop_request is None:
            self.emit(status="running", message="", tiles_done=(done, total))
            return
        if (
            self._without_snapshot is not None and self.stop_request == "finish"
        ):  # the previous step is the last
            with contextlib.suppress(OSError):
                self.history.add(*self._without_snapshot, last=True)
        raise StopIteration

    def _pending_request(self) -> str | None:
        self.timed_out = time.perf_counter() - self.started > self.max_seconds
        return self.requested() or ("finish" if self.timed_out else None)

    def close(self) -> None:
        """Store the figures of all steps."""
        with contextlib.suppress(OSError):
            write_trace(self.folder, self.points)

    def _checkpoint(self, step: Step) -> None:
        """Write a checkpoint if one is due, or if the run is being suspended."""
        if step.state is None or step.i == step.total:  # the result follows at once
            return
        began = time.perf_counter()
        interval = max(self.checkpoint_seconds, self._checkpoint_cost / CHECKPOINT_SHARE)
        if began - self._checkpoint_at >= interval or self.stop_request == "suspend":
            with contextlib.suppress(OSError):
                checkpoint = Checkpoint(self.digest, step.state, self.points, self.history.count)
                write_checkpoint(self.folder, checkpoint)
            self._checkpoint_at = time.perf_counter()
            self._checkpoint_cost = self._checkpoint_at - began

    def _emit_point(self, point: Point, **more: object) -> None:
        self.emit(status="running", message="", version=self.version, point=asdict(point), **more)

    def _psnr(self, step: Step, last: bool) -> float | None:
        """PSNR against the reference; None while another value would take too large a share of the time."""
        began = time.perf_counter()
        if not (last or step.i == 1 or began - self._psnr_at >= self._psnr_cost / PSNR_SHARE):
            return None
        if self.reference is None or step.x.shape != self.reference.shape:
            return None
        test = hu_from_mu(step.x).clip(*HU_RANGE).to(self.reference.device)
        value = psnr(self.reference, test, data_range=DATA_RANGE)
        self._psnr_at = time.perf_counter()
        self._psnr_cost = self._psnr_at - began
        return value if math.isfinite(value) else None


def drop_previews(folder: Path, *, history: bool = False) -> None:
    """Remove the previews of a run; with `history`, also its snapshots and figures."""
    for path in folder.glob("live-*.npy"):
        path.unlink(missing_ok=True)
    if history:
        for path in [*(folder / "history").glob("*"), folder / "trace.json"]:
            path.unlink(missing_ok=True)
