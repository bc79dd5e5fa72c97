"""Preparation of a run: the volume, projector and measurement of a scan config."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from tomopatch.io.slices import voxels_within
from tomopatch.library import load_volume, phantom_of
from tomopatch.phantoms.catalogue import field_of_view
from tomopatch.phantoms.lesions import plant
from tomopatch.physics.corrections.settings import Corrections, correct
from tomopatch.physics.materials.inserts import plant_inserts
from tomopatch.physics.measurement import Measurement, simulate
from tomopatch.projector import Projector
from tomopatch.reconstruct.methods import available, check_suited
from tomopatch.reconstruct.run import reconstruct
from tomopatch.runs.config import PHANTOM_GRID, ScanConfig
from tomopatch.runs.limits import memory_mb
from tomopatch.volume import MU_WATER, Shape, Volume, VolumeGeometry, resample


class Volumes(Protocol):
    """Source of stored volumes by their digest, and of cached phantoms."""

    def volume(self, digest: str) -> Volume: ...

    def phantom(self, spec: str, shape: Shape) -> Volume: ...


@dataclass(frozen=True, eq=False)
class Prepared:
    """A simulated scan.

    Attributes
    ----------
    reference : Volume
        The scanned object on the reconstruction grid, with inserts, before any motion.
    A : Projector
        Its geometry is the assumed one, or has the estimated axis.
    measurement : Measurement
        After the corrections of the scan.
    figures : dict
        Numeric results of the corrections, for example the axis offset.
    """

    reference: Volume
    A: Projector
    measurement: Measurement
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def typical(self) -> float:
        """Attenuation [1/mm] for which methods are scaled: simulated scans are never scaled."""
        return MU_WATER


def source_volume(scan: ScanConfig, store: Volumes | None = None) -> Volume:
    """Return the scanned volume with its lesions, at its own resolution; a phantom at twice the grid."""
    return plant(_without_lesions(scan, store), scan.lesions)


def _without_lesions(scan: ScanConfig, store: Volumes | None) -> Volume:
    if scan.source.startswith("phantom:"):
        grid = scan.grid or PHANTOM_GRID
        factor = 1 if scan.same_grid else 2
        z, y, x = (n * factor for n in grid)
        if store is None:
            return load_volume(scan.source, shape=(z, y, x))
        return store.phantom(scan.source, (z, y, x))
    if scan.source.startswith("volume:"):
        if store is None:
            raise ValueError(f"{scan.source!r} names a stored volume, but no store was given.")
        return store.volume(scan.source.removeprefix("volume:"))
    return load_volume(scan.source, units=scan.units, max_voxels=voxels_within(memory_mb()))


def native_geometry(scan: ScanConfig) -> VolumeGeometry:
    """Return the grid of the scanned volume. A phantom is not drawn; a file is read and cached."""
    if scan.source.startswith("phantom:"):
        return field_of_view(phantom_of(scan.source)[0])
    return _source(scan, None).geometry


def reference_volume(scan: ScanConfig, store: Volumes | None = None) -> Volume:
    """Return the volume on the reconstruction grid: the reference of all metrics."""
    volume = plant_inserts(_source(scan, store), scan.effects.inserts)
    return resample(
        volume, scan.grid or (PHANTOM_GRID if scan.source.startswith("phantom:") else volume.shape)
    )


def simulate_scan(volume: Volume, scan: ScanConfig, *, methods: Sequence[str] = ()) -> Prepared:
    """Simulate the scan of a volume; refuse first if one of the methods does not suit the scan."""
    grid = scan.grid or (PHANTOM_GRID if scan.source.startswith("phantom:") else volume.shape)
    scanned = resample(volume, grid)
    reference = resample(plant_inserts(volume, scan.effects.inserts), grid)
    A = Projector(reference.geometry, scan.geometry(reference.geometry))
    check_suited(methods, A.pg)
    measurement = simulate(
        scanned if scan.same_grid else volume,
        A,
        photon_count=scan.photons,
        generator=torch.Generator().manual_seed(scan.seed),
        effects=scan.effects,
    )
    if scan.corrections == Corrections():
        return Prepared(reference, A, measurement)
    corrected = correct(measurement, A, scan.corrections, scan.effects, _image)
    A = Projector(A.vg, corrected.measurement.geometry)
    return Prepared(reference, A, corrected.measurement, corrected.figures)


def _image(A: Projector, measurement: Measurement) -> Volume:
    """Image for the metal segmentation: FBP or FDK, or a few iterations if neither suits the scan."""
    methods = available(A.pg)
    method = next((name for name in ("fbp", "fdk") if name in methods), "cgls")
    return reconstruct(method, A, measurement, callback=lambda step: None).volume


_prepared: OrderedDict[str, Prepared] = OrderedDict()


def prepare(scan: ScanConfig, store: Volumes | None = None) -> Prepared:
    """Load the volume and simulate its scan, cached so that all methods get the same data."""
    key = scan.digest()
    if key not in _prepared:
        _cache(_prepared, key, simulate_scan(_source(scan, store), scan), 3)
    _prepared.move_to_end(key)
    return _prepared[key]


_sources: OrderedDict[tuple[Any, ...], Volume] = OrderedDict()


def _source(scan: ScanConfig, store: Volumes | None) -> Volume:
    """Cached `source_volume`, for the last two volumes: changing the scan must not load the volume again."""
    key = (*scan.object, scan.grid if scan.source.startswith("phantom:") else None)
    if key not in _sources:
        _cache(_sources, key, source_volume(scan, store), 2)
    return _sources[key]


def _cache(cache: OrderedDict[Any, Any], key: Any, value: Any, size: int) -> None:
    cache[key] = value
    while len(cache) > size:
        cache.popitem(last=False)
