"""Runs on disk, one folder each, in the store that also holds the uploads.

Files are written under a temporary name and renamed when complete.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tomopatch.analysis.metrics import Quality
from tomopatch.io.writing import alone, write_array, write_bytes
from tomopatch.prior.files import DEFAULT
from tomopatch.reconstruct.held_out import MeasuredQuality
from tomopatch.reconstruct.run import Result
from tomopatch.runs.config import RunConfig
from tomopatch.runs.prior import Config
from tomopatch.runs.provenance import made_with
from tomopatch.runs.run import ACTIVE, FINISHED, Run, read_run
from tomopatch.store.folders import DAMAGE, SCHEMA, read_json
from tomopatch.store.index import Entry, RunIndex
from tomopatch.store.uploads import Uploads
from tomopatch.volume import Volume, VolumeGeometry


class DamagedRun(ValueError):
    """A stored result cannot be read any more. Its run is marked as failed, so that it can be run again."""


_USED = "used"


class RunStore(Uploads):
    """Runs, volumes and measured scans under one root; see `Folders` for its parameter and errors."""

    def __init__(self, root: str | Path | None = None) -> None:
        super().__init__(root)
        self._index = RunIndex(self.root / "index.sqlite", self._names, self._entry)
        self._read: dict[str, tuple[int, Run[Any]]] = {}  # by id: hash of the entry, and the run read from it

    def create(self, config: Config, **state: Any) -> str:
        """Create a queued run and return its id; `state` holds further fields of its state."""
        run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{config.method}-{secrets.token_hex(3)}"
        state |= {"status": "queued", "created": time.time(), "digest": config.digest(), "schema": SCHEMA}
        with self._index.changing(run_id), self._new("runs", run_id) as temporary:
            (temporary / "config.json").write_text(json.dumps(config.to_json()), "utf-8")
            (temporary / "state.json").write_text(json.dumps(state), "utf-8")
        return run_id

    def update(self, run_id: str, **changes: Any) -> None:
        """Change fields of a run's state."""
        path = self._folder("runs", run_id, "run") / "state.json"
        # the lock: the server and its workers change different fields of one state
        with self._index.changing(run_id), alone(self.root / "state.lock"):
            state = (read_json(path) or {}) | changes
            write_bytes(path, json.dumps(state).encode())

    def run(self, run_id: str) -> Run[Any]:
        """Return a stored run.

        Raises
        ------
        ValueError
            If there is no such run, or it is damaged.
        """
        self._folder("runs", run_id, "run")
        entry = self._entry(run_id)
        if entry is None:
            raise ValueError(f"the run {run_id} is damaged: its state or config cannot be read; delete it.")
        return self._run_of(entry)

    def _run_of(self, entry: Entry) -> Run[Any]:
        known = self._read.get(entry.id)
        if known is not None and known[0] == hash(entry):
            return known[1]
        run = read_run(entry.id, json.loads(entry.state), json.loads(entry.config))
        self._read[entry.id] = (hash(entry), run)
        return run

    def runs(self) -> list[Run[RunConfig]]:
        """All readable reconstructions, newest first."""
        return [run for run in self.all_runs() if isinstance(run.config, RunConfig)]

    def all_runs(self) -> list[Run[Any]]:
        """All readable runs, including those of the prior alone, newest first."""
        entries, found = self._index.entries(), []
        for entry in entries:
            with contextlib.suppress(ValueError):  # of another version, which is ignored
                found.append(self._run_of(entry))
        for gone in set(self._read) - {entry.id for entry in entries}:
            self._read.pop(gone, None)
        return sorted(found, key=lambda r: -r.created)

    def find(self, config: Config) -> str | None:
        """Id of a completed run of the same config, or None."""
        return next(self.runs_of(config, "done"), None)

    def runs_of(self, config: Config, status: str) -> Iterator[str]:
        """Ids of the runs of the same config with this status, in no particular order."""
        for entry in self._index.find(config.digest()):
            if json.loads(entry.state).get("status") == status and (self.root / "runs" / entry.id).is_dir():
                yield entry.id

    def save_result(
        self,
        run_id: str,
        result: Result,
        metrics: Quality | None,
        device: str,
        message: str = "",
        measured: MeasuredQuality | None = None,
    ) -> None:
        """Store the result of a run, then mark the run as finished."""
        folder = self._folder("runs", run_id, "run")
        for name, volume in (("volume", result.volume), ("std", result.std)):
            if volume is not None:
                write_array(folder / f"{name}.npy", volume.data.cpu().numpy())
        prior = getattr(self.run(run_id).config, "prior", "") or DEFAULT
        geometry = json.dumps(asdict(result.volume.geometry)).encode()
        write_bytes(folder / "geometry.json", geometry)
        self.update(
            run_id,
            status=result.status,
            seconds=result.seconds,
            peak_memory_mb=result.peak_memory_mb,
            residuals=list(result.residuals),
            metrics=None if metrics is None else asdict(metrics),
            device=device,
            message=message,
            made_with=made_with(prior),
            plan=None if result.plan is None else result.plan.to_json(),
            **({} if measured is None else {"measured": asdict(measured)}),
            finished=time.time(),
        )

    def result(self, run_id: str) -> Result:
        """The reconstruction of a finished run."""
        run = self.run(run_id)
        if run.status not in FINISHED:
            raise ValueError(f"the run {run_id} has no result: it is {run.status}.")
        folder = self._folder("runs", run_id, "run")
        with contextlib.suppress(OSError):  # a read-only store
            (folder / _USED).touch()

        def load(name: str) -> Volume:
            return Volume(
                torch.from_numpy(np.load(folder / f"{name}.npy", allow_pickle=False)),
                geometry,
                run.config.method,
            )

        try:
            geometry = VolumeGeometry(**json.loads((folder / "geometry.json").read_text("utf-8")))
            volume = load("volume")
            std = load("std") if (folder / "std.npy").exists() else None
        except DAMAGE as error:  # not other OSErrors: an unreachable disk may come back
            message = "Its result is damaged or missing in the store; run it again."
            with contextlib.suppress(OSError, ValueError):
                self.update(run_id, status="failed", message=message)
            raise DamagedRun(f"the run {run_id} cannot be read. {message}") from error
        return Result(
            volume, run.config.method, run.config.params, run.status, run.seconds, run.peak_memory_mb,
            run.residuals, std, plan=run.plan,
        )  # fmt: skip

    def last_used(self, run_id: str) -> float:
        """Time at which the result was last read [s since 1970]; 0 = never."""
        path = self._folder("runs", run_id, "run") / _USED
        return path.stat().st_mtime if path.exists() else 0.0

    def made_with(self, run_id: str) -> dict[str, str]:
        """Versions, weights and machine that made the result; empty in stores of early versions."""
        state = read_json(self._folder("runs", run_id, "run") / "state.json") or {}
        return {str(k): str(v) for k, v in state.get("made_with", {}).items()}

    def delete(self, run_id: str) -> None:
        """Remove a run and its files."""
        self._remove(self._folder("runs", run_id, "run"))

    def run_folder(self, run_id: str) -> Path:
        """Folder of a run; a ValueError if there is no such run."""
        return self._folder("runs", run_id, "run")

    # ---- files

    def _names(self) -> set[str]:
        try:
            return set(os.listdir(self.root / "runs"))
        except FileNotFoundError:  # removed by hand; the next run creates it
            return set()

    def _entry(self, run_id: str) -> Entry | None:
        """Read the run's folder; None if its state or config cannot be read."""
        folder = self.root / "runs" / run_id
        state, config = read_json(folder / "state.json"), read_json(folder / "config.json")
        if state is None or config is None:
            return None
        return Entry(run_id, str(state.get("digest", "")), json.dumps(state), json.dumps(config))


def unfinished(store: RunStore) -> Iterator[Run[Any]]:
    """Runs that are queued or running in the store, oldest first."""
    yield from (run for run in reversed(store.all_runs()) if run.status in ACTIVE)
