"""From a scan's config to its volume, projector and measurement."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from tomopatch.io.slices import voxels_within
from tomopatch.library import load_volume, phantom_of
from tomopatch.phantoms.catalogue import field_of_view
from tomopatch.phantoms.lesions import plant
from tomopatch.physics.measurement import Measurement, simulate
from tomopatch.projector import Projector
from tomopatch.reconstruct.methods import check_suited
from tomopatch.runs.config import PHANTOM_GRID, ScanConfig
from tomopatch.runs.limits import memory_mb
from tomopatch.volume import Shape, Volume, VolumeGeometry, resample


class Volumes(Protocol):
    """Where stored volumes come from by their digest, and phantoms that need not be drawn again."""

    def volume(self, digest: str) -> Volume: ...

    def phantom(self, spec: str, shape: Shape) -> Volume: ...


@dataclass(frozen=True, eq=False)
class Prepared:
    """A scan, carried out: the reference on the reconstruction grid, the projector and the measurement."""

    reference: Volume
    A: Projector
    measurement: Measurement


def source_volume(scan: ScanConfig, store: Volumes | None = None) -> Volume:
    """The volume that is scanned, with what is planted in it, at its own resolution; a phantom at twice the
    reconstruction grid."""
    return plant(_untouched(scan, store), scan.lesions)


def _untouched(scan: ScanConfig, store: Volumes | None) -> Volume:
    if scan.source.startswith("phantom:"):
        grid = scan.grid or PHANTOM_GRID
        factor = 1 if scan.same_grid else 2
        z, y, x = (n * factor for n in grid)
        if store is None:
            return load_volume(scan.source, shape=(z, y, x))
        return store.phantom(scan.source, (z, y, x))
    if scan.source.startswith("volume:"):
        if store is None:
            raise ValueError(f"{scan.source!r} names a stored volume, but there is no store here.")
        return store.volume(scan.source.removeprefix("volume:"))
    return load_volume(scan.source, units=scan.units, max_voxels=voxels_within(memory_mb()))


def native_geometry(scan: ScanConfig) -> VolumeGeometry:
    """The grid of the volume that is scanned: of a phantom without drawing it, of a file by reading it, which is kept."""
    if scan.source.startswith("phantom:"):
        return field_of_view(phantom_of(scan.source)[0])
    return _source(scan, None).geometry


def reference_volume(scan: ScanConfig, store: Volumes | None = None) -> Volume:
    """The volume on the reconstruction grid, which runs are measured against."""
    volume = _source(scan, store)
    return resample(
        volume, scan.grid or (PHANTOM_GRID if scan.source.startswith("phantom:") else volume.shape)
    )


def scan_volume(volume: Volume, scan: ScanConfig, *, methods: Sequence[str] = ()) -> Prepared:
    """Simulate the scan of this volume; refused before the work if one of the methods could not use it."""
    grid = scan.grid or (PHANTOM_GRID if scan.source.startswith("phantom:") else volume.shape)
    reference = resample(volume, grid)
    A = Projector(reference.geometry, scan.geometry(reference.geometry))
    check_suited(methods, A.pg)
    measurement = simulate(
        reference if scan.same_grid else volume,
        A,
        photon_count=scan.photons,
        generator=torch.Generator().manual_seed(scan.seed),
    )
    return Prepared(reference, A, measurement)


_prepared: OrderedDict[str, Prepared] = OrderedDict()


def prepare(scan: ScanConfig, store: Volumes | None = None) -> Prepared:
    """Load and scan; the last few scans are kept, so that every method gets the very same data."""
    key = scan.digest()
    if key not in _prepared:
        _keep(_prepared, key, scan_volume(_source(scan, store), scan), 3)
    _prepared.move_to_end(key)
    return _prepared[key]


_sources: OrderedDict[tuple, Volume] = OrderedDict()


def _source(scan: ScanConfig, store: Volumes | None) -> Volume:
    """`source_volume`, the last two kept: changing the scan must not read or draw the volume again."""
    key = (*scan.object, scan.grid if scan.source.startswith("phantom:") else None)
    if key not in _sources:
        _keep(_sources, key, source_volume(scan, store), 2)
    return _sources[key]


def _keep(cache: OrderedDict, key: Any, value: Any, most: int) -> None:
    cache[key] = value
    while len(cache) > most:
        cache.popitem(last=False)
