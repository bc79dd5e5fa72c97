"""Uploaded volumes and measured scans, and caches of computed volumes."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass

import numpy as np
import torch

from tomopatch.io.projections import Projections
from tomopatch.io.writing import write_array, write_arrays
from tomopatch.runs.limits import check_uploads, limit, shared
from tomopatch.store.folders import DAMAGE, SCHEMA, Folders, read_json
from tomopatch.store.phantom_cache import cached_phantom, cached_volume
from tomopatch.store.scans import ScanInfo, arrays_of, digest_of_scan, projections_of, values_of
from tomopatch.volume import Shape, Volume, VolumeGeometry


@dataclass(frozen=True)
class VolumeInfo:
    """A stored volume, without its voxels."""

    digest: str
    name: str
    shape: tuple[int, int, int]
    voxel_size: tuple[float, float, float]
    created: float


class Uploads(Folders):
    """Volumes and measured scans by the digests of their content."""

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
                (temporary / "info.json").write_text(json.dumps(info), "utf-8")
        return digest

    def _check_room(self, new_bytes: int) -> None:
        """Refuse an upload on a shared server if all uploads together would exceed the limit of the runs."""
        max_bytes = 1e9 * limit("STORE_LIMIT_GB")
        files = [*self.root.glob("volumes/*/data.npy"), *self.root.glob("scans/*/data.npz")]
        stored = sum(path.stat().st_size for path in files)
        if stored + new_bytes > max_bytes:
            raise ValueError(
                f"This server has no room for another upload of {new_bytes / 1e6:.0f} MB: "
                f"the stored volumes and scans take {stored / 1e9:.1f} of {max_bytes / 1e9:g} GB. "
                "Choose one of them, or ask the administrator."
            )

    def volume(self, digest: str) -> Volume:
        """Return a stored volume."""
        folder = self._folder("volumes", digest, "volume")
        try:
            info = json.loads((folder / "info.json").read_text("utf-8"))
            data = torch.from_numpy(np.load(folder / "data.npy", allow_pickle=False))
            geometry = VolumeGeometry(info["shape"], info["voxel_size"], info["pos"])
            return Volume(data, geometry, _shown_name(info["name"], digest))
        except (*DAMAGE, KeyError) as error:
            raise ValueError(f"the volume {digest} is damaged; upload it again.") from error

    def phantom(self, spec: str, shape: Shape) -> Volume:
        """A phantom on a grid, from the cache that all users of this store share."""
        return cached_phantom(self.root / "phantoms", spec, shape)

    def volume_geometry(self, digest: str) -> VolumeGeometry:
        """Geometry of a stored volume, without reading its voxels."""
        info = read_json(self._folder("volumes", digest, "volume") / "info.json")
        if info is None:
            raise ValueError(f"the volume {digest} is damaged; upload it again.")
        return VolumeGeometry(info["shape"], info["voxel_size"], info["pos"])

    def volumes(self) -> list[VolumeInfo]:
        """All stored volumes, newest first."""
        found = []
        for folder in (self.root / "volumes").glob("*"):
            info = read_json(folder / "info.json")
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
                "name": _shown_name(projections.name, digest)[:80],
                "shape": projections.data.shape,
                "values": values_of(projections),
                "created": time.time(),
                "schema": SCHEMA,
            }
            with self._new("scans", digest) as temporary:
                write_arrays(temporary / "data.npz", arrays, compress=True)
                (temporary / "info.json").write_text(json.dumps(info), "utf-8")
        return digest

    def scan(self, digest: str) -> Projections:
        """Return stored projections."""
        folder = self._folder("scans", digest, "measured scan")
        try:
            info = json.loads((folder / "info.json").read_text("utf-8"))
            with np.load(folder / "data.npz", allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return projections_of(arrays, info["values"], _shown_name(info["name"], digest))
        except (*DAMAGE, KeyError, zipfile.BadZipFile) as error:
            raise ValueError(f"the measured scan {digest} is damaged; upload it again.") from error

    def check_scan(self, digest: str) -> None:
        """Raise a ValueError if there is no such scan."""
        self._folder("scans", digest, "measured scan")

    def scans(self) -> list[ScanInfo]:
        """All stored scans, newest first."""
        found = []
        for folder in (self.root / "scans").glob("*"):
            info = read_json(folder / "info.json")
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


def _shown_name(name: str, digest: str) -> str:
    """Display name of a stored volume. A shared server hides file names: they often contain patient names."""
    return f"Upload {digest[:6]}" if shared() else name
