"""Runs and volumes on disk: a folder each, written beside and renamed, so that what is there is whole."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tomopatch.analysis.metrics import Quality
from tomopatch.io.writing import PART, in_use, is_abandoned, write_array, write_beside
from tomopatch.prior.files import DEFAULT
from tomopatch.reconstruct.methods import Result
from tomopatch.runs.config import RunConfig
from tomopatch.runs.limits import check_uploads, limit, shared
from tomopatch.runs.prior import Config
from tomopatch.runs.run import ACTIVE, FINISHED, Run, read_run
from tomopatch.runs.versions import made_with
from tomopatch.store.index import Entry, RunIndex
from tomopatch.store.phantom_cache import drawn
from tomopatch.volume import Shape, Volume, VolumeGeometry


class StoreError(OSError, ValueError):
    """The store's folder cannot be used; what to do is in the sentence."""


class DamagedRun(ValueError):
    """A result that was there cannot be read any more; the run is told to have failed, so that it can be made again."""


SCHEMA = 1
_USED = "used"
_DAMAGE = (FileNotFoundError, EOFError, ValueError, TypeError, RecursionError)


@dataclass(frozen=True)
class VolumeInfo:
    """A stored volume, without its voxels."""

    digest: str
    name: str
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    created: float


class RunStore:
    """Runs and volumes under one folder.

    Parameters
    ----------
    root : Path or None
        None = the folder in the environment variable TOMOPATCH_STORE, or the user's data folder.

    Raises
    ------
    StoreError
        If the folder is not there and cannot be made.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root or os.environ.get("TOMOPATCH_STORE") or default_root()).expanduser()
        for folder in ("runs", "volumes"):
            try:
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"the store {self.root} cannot be written ({error.strerror}); set TOMOPATCH_STORE to a folder of yours."
                ) from error
        self._index = RunIndex(self.root / "index.sqlite", self._names, self._entry)
        self._read: dict[str, tuple[int, Run[Any]]] = {}  # what has been made of an entry with this hash

    # ---- volumes

    def add_volume(self, volume: Volume) -> str:
        """Keep a volume; returns its digest. The same voxels are kept once. Refused where uploads are."""
        check_uploads()
        data = volume.data.cpu().contiguous().numpy()
        digest = hashlib.sha256(data.tobytes() + repr(volume.geometry).encode()).hexdigest()[:16]
        folder = self.root / "volumes" / digest
        if not folder.exists():
            if shared():
                self._check_room(data.nbytes)
            info = {
                "name": _shown_name(volume.name, digest)[:80],
                **asdict(volume.geometry),
                "created": time.time(),
                "schema": SCHEMA,
            }
            with self._new("volumes", digest) as beside:
                write_array(beside / "data.npy", data)
                (beside / "info.json").write_text(json.dumps(info))
        return digest

    def _check_room(self, more: int) -> None:
        """On a shared server: refuse a volume if all volumes together would take more than runs may."""
        most = 1e9 * limit("STORE_LIMIT_GB")
        held = sum(path.stat().st_size for path in (self.root / "volumes").glob("*/data.npy"))
        if held + more > most:
            raise ValueError(
                f"This server has no room for another volume of {more / 1e6:.0f} MB: those that are stored take "
                f"{held / 1e9:.1f} of {most / 1e9:g} GB. Choose one of them, or ask whoever runs the server."
            )

    def volume(self, digest: str) -> Volume:
        folder = self._folder("volumes", digest, "volume")
        info = json.loads((folder / "info.json").read_text())
        data = torch.from_numpy(np.load(folder / "data.npy", allow_pickle=False))
        geometry = VolumeGeometry(info["shape"], info["voxel_size"], info["pos"])
        return Volume(data, geometry, _shown_name(info["name"], digest))

    def phantom(self, spec: str, shape: Shape) -> Volume:
        """A phantom on a grid; drawn once for everybody who uses this store."""
        return drawn(self.root / "phantoms", spec, shape)

    def volume_geometry(self, digest: str) -> VolumeGeometry:
        """Where the voxels of a stored volume are."""
        info = _read_json(self._folder("volumes", digest, "volume") / "info.json")
        if info is None:
            raise ValueError(f"the volume {digest} is damaged; upload it again.")
        return VolumeGeometry(info["shape"], info["voxel_size"], info["pos"])

    def volumes(self) -> list[VolumeInfo]:
        """All stored volumes, newest first."""
        found = []
        for folder in (self.root / "volumes").glob("*"):
            info = _read_json(folder / "info.json")
            if info is not None:
                shape, size = tuple(info["shape"]), tuple(info["voxel_size"])
                name = _shown_name(info["name"], folder.name)
                found.append(VolumeInfo(folder.name, name, shape, size, info["created"]))
        return sorted(found, key=lambda v: -v.created)

    # ---- runs

    def create(self, config: Config, **state: Any) -> str:
        """Create a queued run, with more fields of its state if they are given; return its id."""
        run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{config.method}-{secrets.token_hex(3)}"
        state |= {"status": "queued", "created": time.time(), "digest": config.digest(), "schema": SCHEMA}
        with self._index.changing(run_id), self._new("runs", run_id) as beside:
            (beside / "config.json").write_text(json.dumps(config.to_json()))
            (beside / "state.json").write_text(json.dumps(state))
        return run_id

    def update(self, run_id: str, **changes: Any) -> None:
        """Change fields of a run's state."""
        path = self._folder("runs", run_id, "run") / "state.json"
        with self._index.changing(run_id):
            state = (_read_json(path) or {}) | changes
            write_beside(path, json.dumps(state).encode())

    def run(self, run_id: str) -> Run[Any]:
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
        """All readable runs, of the prior alone too, newest first."""
        entries, found = self._index.entries(), []
        for entry in entries:
            with contextlib.suppress(ValueError):  # of another version; left alone
                found.append(self._run_of(entry))
        for gone in set(self._read) - {entry.id for entry in entries}:
            self._read.pop(gone, None)
        return sorted(found, key=lambda r: -r.created)

    def find(self, config: Config) -> str | None:
        """A completed run of the same config."""
        return next(self.runs_of(config, "done"), None)

    def runs_of(self, config: Config, status: str) -> Iterator[str]:
        """Ids of the runs of the same config that have this status, in no order."""
        for entry in self._index.find(config.digest()):
            if json.loads(entry.state).get("status") == status and (self.root / "runs" / entry.id).is_dir():
                yield entry.id

    def save_result(
        self, run_id: str, result: Result, metrics: Quality | None, device: str, message: str = ""
    ) -> None:
        """Store what a run made, then say that it is finished."""
        folder = self._folder("runs", run_id, "run")
        for name, volume in (("volume", result.volume), ("std", result.std)):
            if volume is not None:
                write_array(folder / f"{name}.npy", volume.data.cpu().numpy())
        prior = getattr(self.run(run_id).config, "prior", "") or DEFAULT
        geometry = json.dumps(asdict(result.volume.geometry)).encode()
        write_beside(folder / "geometry.json", geometry)
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
            finished=time.time(),
        )

    def result(self, run_id: str) -> Result:
        """The reconstruction of a finished run."""
        run = self.run(run_id)
        if run.status not in FINISHED:
            raise ValueError(f"the run {run_id} has no result: it is {run.status}.")
        folder = self._folder("runs", run_id, "run")
        with contextlib.suppress(OSError):  # a store that may only be read
            (folder / _USED).touch()

        def load(name: str) -> Volume:
            return Volume(
                torch.from_numpy(np.load(folder / f"{name}.npy", allow_pickle=False)),
                geometry,
                run.config.method,
            )

        try:
            geometry = VolumeGeometry(**json.loads((folder / "geometry.json").read_text()))
            volume = load("volume")
            std = load("std") if (folder / "std.npy").exists() else None
        except _DAMAGE as error:  # not what may pass, as a disk out of reach
            sentence = "Its result is damaged or gone from the store; run it again."
            with contextlib.suppress(OSError, ValueError):
                self.update(run_id, status="failed", message=sentence)
            raise DamagedRun(f"the run {run_id} cannot be read. {sentence}") from error
        return Result(
            volume, run.config.method, run.config.params, run.status, run.seconds, run.peak_memory_mb,
            run.residuals, std,
        )  # fmt: skip

    def last_used(self, run_id: str) -> float:
        """When the result was last asked for [s since 1970]; 0 = never."""
        path = self._folder("runs", run_id, "run") / _USED
        return path.stat().st_mtime if path.exists() else 0.0

    def made_with(self, run_id: str) -> dict[str, str]:
        """Versions, weights and machine that made the result; empty where it was not yet noted."""
        state = _read_json(self._folder("runs", run_id, "run") / "state.json") or {}
        return {str(k): str(v) for k, v in state.get("made_with", {}).items()}

    def delete(self, run_id: str) -> None:
        """Remove a run and what it made."""
        folder = self._folder("runs", run_id, "run")
        gone = self.root / f".gone-{secrets.token_hex(4)}"  # first out of sight as a whole, then file by file
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def run_folder(self, run_id: str) -> Path:
        return self._folder("runs", run_id, "run")

    # ---- files

    def _names(self) -> set[str]:
        try:
            return set(os.listdir(self.root / "runs"))
        except FileNotFoundError:  # removed by hand; the next run makes it again
            return set()

    def _entry(self, run_id: str) -> Entry | None:
        """What the run's folder says of it."""
        folder = self.root / "runs" / run_id
        state, config = _read_json(folder / "state.json"), _read_json(folder / "config.json")
        if state is None or config is None:
            return None
        return Entry(run_id, str(state.get("digest", "")), json.dumps(state), json.dumps(config))

    def _folder(self, kind: str, name: str, what: str) -> Path:
        if (
            not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", name)
            or not (self.root / kind / name).is_dir()
        ):
            raise ValueError(f"there is no {what} {name[:80]!r} in the store; it may have been deleted.")
        return self.root / kind / name

    def sweep(self) -> int:
        """Remove what killed processes left half written or half deleted; returns the number of bytes.

        What a live process is writing stays (`tomopatch.io.writing.in_use`).
        """
        parts = [
            self.root.glob(".*"),
            *(self.root.glob(f"{kind}/**/.*") for kind in ("runs", "volumes", "phantoms")),
        ]
        freed = 0
        for part in [p for found in parts for p in found if PART.fullmatch(p.name)]:
            with contextlib.suppress(OSError):  # removed meanwhile, or a store that may only be read
                if is_abandoned(part):
                    freed += sum(p.stat().st_size for p in [part, *part.rglob("*")] if p.is_file())
                    shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink()
        return freed

    @contextmanager
    def _new(self, kind: str, name: str) -> Iterator[Path]:
        """A folder to be filled, which takes its place when it is whole, and leaves nothing if it does not come to that."""
        (self.root / kind).mkdir(parents=True, exist_ok=True)
        beside = self.root / f".new-{kind}-{secrets.token_hex(4)}"
        beside.mkdir()
        try:
            with in_use(beside):
                yield beside
            _rename(beside, self.root / kind / name)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def default_root() -> Path:
    """Where runs are kept unless told otherwise: the user's data folder."""
    if os.name == "nt":
        return Path(os.environ.get("LOCALAPPDATA", "~")) / "TomoPatch"
    return Path(os.environ.get("XDG_DATA_HOME", "~/.local/share")) / "tomopatch"


def _shown_name(name: str, digest: str) -> str:
    """Name of a stored volume. On a shared server it says nothing about the file: file names often name patients."""
    return f"Upload {digest[:6]}" if shared() else name


def _rename(beside: Path, folder: Path) -> None:
    try:
        beside.rename(folder)
    except OSError:  # somebody else stored the same just now
        if not folder.exists():
            raise


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None


def unfinished(store: RunStore) -> Iterator[Run]:
    """Runs that a stopped server left queued or running, oldest first."""
    yield from (run for run in reversed(store.all_runs()) if run.status in ACTIVE)
