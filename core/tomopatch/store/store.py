"""Runs and volumes on disk, one folder each.

Files are written under a temporary name and renamed when complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch

from tomopatch.analysis.metrics import Quality
from tomopatch.io.projections import Projections
from tomopatch.io.writing import PART, in_use, is_abandoned, write_array, write_arrays, write_beside
from tomopatch.prior.files import DEFAULT
from tomopatch.reconstruct.held_out import MeasuredQuality
from tomopatch.reconstruct.run import Result
from tomopatch.runs.config import RunConfig
from tomopatch.runs.limits import check_uploads, limit, shared
from tomopatch.runs.prior import Config
from tomopatch.runs.run import ACTIVE, FINISHED, Run, read_run
from tomopatch.runs.versions import made_with
from tomopatch.store.index import Entry, RunIndex
from tomopatch.store.phantom_cache import cached_phantom, cached_volume
from tomopatch.store.scans import ScanInfo, arrays_of, digest_of_scan, projections_of, values_of
from tomopatch.volume import Shape, Volume, VolumeGeometry


class StoreError(OSError, ValueError):
    """The store's folder cannot be used. The message says what to do."""


class DamagedRun(ValueError):
    """A stored result cannot be read any more. Its run is marked as failed, so that it can be run again."""


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
        None = the folder in the environment variable TOMOPATCH_STORE, or the default folder.

    Raises
    ------
    StoreError
        If the folder does not exist and cannot be created.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = Path(root or os.environ.get("TOMOPATCH_STORE") or default_root()).expanduser()
        for folder in ("runs", "volumes"):
            try:
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"the store {self.root} cannot be written ({error.strerror}); "
                    "set TOMOPATCH_STORE to a folder that you can write."
                ) from error
        self._index = RunIndex(self.root / "index.sqlite", self._names, self._entry)
        self._read: dict[str, tuple[int, Run[Any]]] = {}  # by id: hash of the entry, and the run read from it

    # ---- volumes

    def add_volume(self, volume: Volume) -> str:
        """Store a volume and return its digest. Equal volumes are stored once. A read-only server refuses."""
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
            with self._new("volumes", digest) as temporary:
                write_array(temporary / "data.npy", data)
                (temporary / "info.json").write_text(json.dumps(info))
        return digest

    def _check_room(self, new_bytes: int) -> None:
        """Refuse an upload on a shared server if all uploads together would exceed the limit of the runs."""
        max_bytes = 1e9 * limit("STORE_LIMIT_GB")
        stored = sum(path.stat().st_size for path in self.root.glob("[vs]*/*/data.np[yz]"))
        if stored + new_bytes > max_bytes:
            raise ValueError(
                f"This server has no room for another upload of {new_bytes / 1e6:.0f} MB: "
                f"the stored volumes and scans take {stored / 1e9:.1f} of {max_bytes / 1e9:g} GB. "
                "Choose one of them, or ask the administrator."
            )

    def volume(self, digest: str) -> Volume:
        folder = self._folder("volumes", digest, "volume")
        info = json.loads((folder / "info.json").read_text())
        data = torch.from_numpy(np.load(folder / "data.npy", allow_pickle=False))
        geometry = VolumeGeometry(info["shape"], info["voxel_size"], info["pos"])
        return Volume(data, geometry, _shown_name(info["name"], digest))

    def phantom(self, spec: str, shape: Shape) -> Volume:
        """A phantom on a grid, from the cache that all users of this store share."""
        return cached_phantom(self.root / "phantoms", spec, shape)

    def volume_geometry(self, digest: str) -> VolumeGeometry:
        """Geometry of a stored volume, without reading its voxels."""
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

    # ---- measured scans

    def add_scan(self, projections: Projections) -> str:
        """Store measured projections and return their digest. Equal ones are stored once.

        A read-only server refuses.
        """
        check_uploads()
        digest = digest_of_scan(projections)
        if not (self.root / "scans" / digest).exists():
            arrays = arrays_of(projections)
            if shared():
                self._check_room(sum(a.nbytes for a in arrays.values()))
            info = {
                "name": projections.name[:80],
                "shape": projections.data.shape,
                "values": values_of(projections),
                "created": time.time(),
                "schema": SCHEMA,
            }
            with self._new("scans", digest) as temporary:
                write_arrays(temporary / "data.npz", arrays, compress=True)
                (temporary / "info.json").write_text(json.dumps(info))
        return digest

    def scan(self, digest: str) -> Projections:
        """Return stored projections."""
        folder = self._folder("scans", digest, "measured scan")
        try:
            info = json.loads((folder / "info.json").read_text())
            with np.load(folder / "data.npz", allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return projections_of(arrays, info["values"], _shown_name(info["name"], digest))
        except (*_DAMAGE, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"the measured scan {digest} is damaged; upload it again.") from error

    def check_scan(self, digest: str) -> None:
        """Raise a ValueError if there is no such scan."""
        self._folder("scans", digest, "measured scan")

    def scans(self) -> list[ScanInfo]:
        """All stored scans, newest first."""
        found = []
        for folder in (self.root / "scans").glob("*"):
            info = _read_json(folder / "info.json")
            if info is not None:
                name = _shown_name(info["name"], folder.name)
                found.append(ScanInfo(folder.name, name, tuple(info["shape"]), info["created"]))
        return sorted(found, key=lambda s: -s.created)

    def delete_scan(self, digest: str) -> None:
        """Remove a stored scan. Its runs stay."""
        self._remove(self._folder("scans", digest, "measured scan"))

    def cached_volume(self, key: str, make: Callable[[], Volume]) -> Volume:
        """Return a computed volume, from the cache that all users of this store share."""
        name = hashlib.sha256(key.encode()).hexdigest()[:16]
        return cached_volume(self.root / "computed", name, make)

    # ---- runs

    def create(self, config: Config, **state: Any) -> str:
        """Create a queued run and return its id; `state` holds further fields of its state."""
        run_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{config.method}-{secrets.token_hex(3)}"
        state |= {"status": "queued", "created": time.time(), "digest": config.digest(), "schema": SCHEMA}
        with self._index.changing(run_id), self._new("runs", run_id) as temporary:
            (temporary / "config.json").write_text(json.dumps(config.to_json()))
            (temporary / "state.json").write_text(json.dumps(state))
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
            geometry = VolumeGeometry(**json.loads((folder / "geometry.json").read_text()))
            volume = load("volume")
            std = load("std") if (folder / "std.npy").exists() else None
        except _DAMAGE as error:  # not other OSErrors: an unreachable disk may come back
            message = "Its result is damaged or missing in the store; run it again."
            with contextlib.suppress(OSError, ValueError):
                self.update(run_id, status="failed", message=message)
            raise DamagedRun(f"the run {run_id} cannot be read. {message}") from error
        return Result(
            volume, run.config.method, run.config.params, run.status, run.seconds, run.peak_memory_mb,
            run.residuals, std, run.plan,
        )  # fmt: skip

    def last_used(self, run_id: str) -> float:
        """Time at which the result was last read [s since 1970]; 0 = never."""
        path = self._folder("runs", run_id, "run") / _USED
        return path.stat().st_mtime if path.exists() else 0.0

    def made_with(self, run_id: str) -> dict[str, str]:
        """Versions, weights and machine that made the result; empty in stores of early versions."""
        state = _read_json(self._folder("runs", run_id, "run") / "state.json") or {}
        return {str(k): str(v) for k, v in state.get("made_with", {}).items()}

    def delete(self, run_id: str) -> None:
        """Remove a run and its files."""
        self._remove(self._folder("runs", run_id, "run"))

    def _remove(self, folder: Path) -> None:
        gone = self.root / f".gone-{secrets.token_hex(4)}"  # renamed first, so that it disappears at once
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def run_folder(self, run_id: str) -> Path:
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
        state, config = _read_json(folder / "state.json"), _read_json(folder / "config.json")
        if state is None or config is None:
            return None
        return Entry(run_id, str(state.get("digest", "")), json.dumps(state), json.dumps(config))

    def _folder(self, kind: str, name: str, noun: str) -> Path:
        if (
            not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", name)
            or not (self.root / kind / name).is_dir()
        ):
            raise ValueError(f"there is no {noun} {name[:80]!r} in the store; it may have been deleted.")
        return self.root / kind / name

    def remove_abandoned(self) -> int:
        """Remove files that killed processes left half written or half deleted; return their size in bytes.

        Files that a live process is writing stay (`tomopatch.io.writing.in_use`).
        """
        candidates = [
            self.root.glob(".*"),
            *(
                self.root.glob(f"{kind}/**/.*")
                for kind in ("runs", "volumes", "scans", "phantoms", "computed")
            ),
        ]
        freed = 0
        for part in [p for found in candidates for p in found if PART.fullmatch(p.name)]:
            with contextlib.suppress(OSError):  # removed meanwhile, or a read-only store
                if is_abandoned(part):
                    freed += sum(p.stat().st_size for p in [part, *part.rglob("*")] if p.is_file())
                    shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink()
        return freed

    @contextmanager
    def _new(self, kind: str, name: str) -> Iterator[Path]:
        """Temporary folder that is renamed when it is complete, and removed after an error."""
        (self.root / kind).mkdir(parents=True, exist_ok=True)
        temporary = self.root / f".new-{kind}-{secrets.token_hex(4)}"
        temporary.mkdir()
        try:
            with in_use(temporary):
                yield temporary
            _rename(temporary, self.root / kind / name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def default_root() -> Path:
    """Return the default folder of the store, in the user's data folder of this system."""
    # earlier versions used this folder on macOS, too
    earlier = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share").expanduser() / "tomopatch"
    return earlier if earlier.is_dir() else platformdirs.user_data_path("tomopatch", appauthor=False)


def _shown_name(name: str, digest: str) -> str:
    """Display name of a stored volume. A shared server hides file names: they often contain patient names."""
    return f"Upload {digest[:6]}" if shared() else name


def _rename(temporary: Path, folder: Path) -> None:
    try:
        temporary.rename(folder)
    except OSError:  # another process stored the same at the same time
        if not folder.exists():
            raise


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None


def unfinished(store: RunStore) -> Iterator[Run[Any]]:
    """Runs that are queued or running in the store, oldest first."""
    yield from (run for run in reversed(store.all_runs()) if run.status in ACTIVE)
