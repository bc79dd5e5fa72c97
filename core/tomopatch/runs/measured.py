"""Preparation of a measured scan: its stored file, geometry, corrections and views."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.geometry.remarks import limited_angle
from tomopatch.geometry.views import Views
from tomopatch.io.projections import Projections
from tomopatch.notes import collected
from tomopatch.physics.corrections import PreparedScan, prepare_projections
from tomopatch.physics.corrections.geometry import from_vectors, scan_geometry, suggested_grid
from tomopatch.physics.measurement import Measurement
from tomopatch.projector import Projector
from tomopatch.reconstruct.held_out import MeasuredQuality, difference_hu, prediction_error
from tomopatch.reconstruct.methods import available
from tomopatch.reconstruct.run import reconstruct
from tomopatch.runs.config import Scan
from tomopatch.runs.measured_scan import GivenGeometry, MeasuredScan
from tomopatch.runs.prepare import Prepared, Volumes, prepare
from tomopatch.runs.selection import Selection
from tomopatch.volume import Volume, VolumeGeometry

MAX_CACHED = 2**26
"""Larger scans are not kept in memory after their corrections [values]."""


class ScanFiles(Protocol):
    """Source of stored scan files by their digest, and of cached volumes."""

    def scan(self, digest: str) -> Projections: ...

    def check_scan(self, digest: str) -> None: ...

    def cached_volume(self, key: str, make: Callable[[], Volume]) -> Volume: ...


class Store(Volumes, ScanFiles, Protocol):
    """Source of phantoms, uploaded volumes and measured scans."""


@dataclass(frozen=True, eq=False)
class PreparedMeasured:
    """A measured scan, ready for a reconstruction.

    Attributes
    ----------
    A : Projector
        Projector of the used views.
    measurement : Measurement
        The used views.
    held_out : Measurement or None
        The held-out views.
    typical : float
        Typical attenuation of the object [1/mm].
    """

    A: Projector
    measurement: Measurement
    held_out: Measurement | None
    typical: float


def read_scan(scan: MeasuredScan, store: ScanFiles) -> Projections:
    """Return the projections with the geometry, the axis and the binning of the scan.

    Raises
    ------
    ValueError
        If the scan is not stored, or the geometry does not fit it.
    """
    p = with_geometry(store.scan(scan.file_digest), scan.given)
    if scan.axisymmetric is not None:
        p = p.repeated(scan.axisymmetric)
    if p.vectors is None:
        middle = (p.det_shape[1] - 1) / 2
        column = next(axis for axis in (scan.axis, p.axis, middle) if axis is not None)
        if not 0 <= column <= p.det_shape[1] - 1:
            raise ValueError(f"the axis must be a column from 0 to {p.det_shape[1] - 1}, got {column:g}.")
        p = replace(p, axis=column)
    elif scan.axis is not None or scan.roll:
        raise ValueError(f"{p.name} has vectors, which include axis and roll; leave both out.")
    return p if scan.bin == 1 else p.bin(scan.bin)


def with_geometry(p: Projections, given: GivenGeometry) -> Projections:
    """Return the projections with this geometry instead of that of the file."""
    if given == GivenGeometry():
        return p
    if p.vectors is not None:
        raise ValueError(f"{p.name} has vectors, which are its whole geometry; leave the others out.")
    if given.transposed:
        p = _transposed(p)
    angles = p.angles
    if given.angle_step is not None:
        angles = np.radians(given.angle_start + given.angle_step * np.arange(p.num_views))
    if given.reverse and angles is not None:
        angles = -angles
    names = ("beam", "pixel_size", "src_orig_dist", "src_det_dist")
    stated = {name: value for name in names if (value := getattr(given, name)) is not None}
    return replace(p, angles=angles, **stated)


def _transposed(p: Projections) -> Projections:
    """Return the projections with rows and columns of the detector exchanged."""
    dark, flat = (None if f is None else f.transpose(0, 2, 1).copy() for f in (p.dark, p.flat))
    pixel = None if p.pixel_size is None else p.pixel_size[::-1]
    data = np.ascontiguousarray(p.data.transpose(2, 1, 0))
    return replace(p, data=data, dark=dark, flat=flat, pixel_size=pixel, axis=None, middle_row=None)


_geometries: OrderedDict[MeasuredScan, tuple[Geometry, VolumeGeometry]] = OrderedDict()
_corrected: OrderedDict[MeasuredScan, tuple[PreparedScan, tuple[str, ...]]] = OrderedDict()


def full_geometry(scan: MeasuredScan, store: ScanFiles) -> tuple[Geometry, VolumeGeometry]:
    """Return the geometry of all views, held-out ones included, and the reconstruction grid.

    Raises
    ------
    ValueError
        If the scan is not stored, or its geometry is incomplete or does not fit.
    """
    store.check_scan(scan.file_digest)
    key = replace(scan.all_views, grid=None, hold_out=None, stripes=None, roll=0.0)
    if key not in _geometries:
        p = read_scan(key, store)
        if p.vectors is not None:
            pg: Geometry = from_vectors(p)
        else:
            assert p.axis is not None
            with collected():  # notes about assumed sizes belong to the corrections
                pg = scan_geometry(p, p.axis)
        _cache(_geometries, key, (pg, suggested_grid(pg)), 200)
    pg, grid = _geometries[key]
    return pg, grid if scan.grid is None else grid.with_shape(scan.grid)


def used_geometry(scan: MeasuredScan, store: ScanFiles) -> Geometry:
    """Return the geometry of the used views."""
    pg, _ = full_geometry(scan, store)
    return pg.subset(selection(scan, pg).used)


def selection(scan: MeasuredScan, pg: Geometry) -> Selection:
    """Return the used and the held-out views of a scan, whose views have the geometry `pg`."""
    among = None
    if scan.angle_range is not None:
        if isinstance(pg, Views):
            raise ValueError("an angle range needs view angles, but this scan has vectors; leave it out.")
        limit = math.radians(scan.angle_range) * (1 + 1e-9)
        among = {i for i, angle in enumerate(pg.angles) if abs(angle - pg.angles[0]) <= limit}
    return Selection.of(pg.num_views, hold_out=scan.hold_out, number=scan.num_views, among=among)


def corrected_scan(scan: MeasuredScan, store: ScanFiles) -> tuple[PreparedScan, tuple[str, ...]]:
    """Return all views after the corrections, and the notes of the corrections; two scans are cached."""
    store.check_scan(scan.file_digest)
    key = replace(scan.all_views, grid=None, hold_out=None)
    if key not in _corrected:
        with collected() as notes:
            prepared = prepare_projections(
                read_scan(scan, store), roll=math.radians(scan.roll), stripes=scan.stripes
            )
        if prepared.measurement.projections.numel() > MAX_CACHED:
            return prepared, tuple(notes)
        _cache(_corrected, key, (prepared, tuple(notes)), 2)
    _corrected.move_to_end(key)
    return _corrected[key]


def estimated_axis(scan: MeasuredScan, store: ScanFiles) -> tuple[float, dict[str, Any]]:
    """Estimate the column of the rotation axis, as `MeasuredScan.axis` has it, and return its record.

    Raises
    ------
    ValueError
        If the views do not determine the axis.
    """
    p = replace(read_scan(replace(scan, axis=None), store), axis=None)
    with collected():
        record = prepare_projections(p, axis="auto", roll=math.radians(scan.roll), stripes=False).record
    found = dict(record["axis"])
    found["column"] = (found["column"] + 0.5) * scan.bin - 0.5
    return found["column"], found


def prepare_measured(scan: MeasuredScan, store: ScanFiles) -> PreparedMeasured:
    """Read and correct a measured scan, and select its views."""
    _, grid = full_geometry(scan, store)
    corrected, _ = corrected_scan(scan, store)
    views = selection(scan, corrected.measurement.geometry)
    used = corrected.measurement.subset(views.used)
    held_out = corrected.measurement.subset(views.held_out) if views.held_out else None
    return PreparedMeasured(Projector(grid, used.geometry), used, held_out, corrected.typical)


def prepare_any(scan: Scan, store: Store) -> Prepared | PreparedMeasured:
    """Prepare a simulated or a measured scan."""
    return prepare_measured(scan, store) if isinstance(scan, MeasuredScan) else prepare(scan, store)


# ---- stand-in for a reference -------------------------------------------------------------------------


def stand_in_method(pg: Geometry) -> str:
    """Method that reconstructs from all views: FBP or FDK for a complete scan, else CGLS."""
    methods = available(pg)
    direct = next((name for name in ("fbp", "fdk") if name in methods), None)
    limited = not isinstance(pg, ParallelBeam | ConeBeam) or limited_angle(pg) is not None
    return "cgls" if direct is None or limited else direct


def stand_in(scan: MeasuredScan, store: ScanFiles) -> Volume:
    """Return the reconstruction from all views that are not held out, from the store's cache if possible."""

    def make() -> Volume:
        prepared = prepare_measured(scan.all_views, store)
        method = stand_in_method(prepared.A.pg)
        return reconstruct(method, prepared.A, prepared.measurement, callback=lambda step: None).volume

    return store.cached_volume(f"all-views {scan.all_views.digest()}", make)


def measured_quality(volume: Volume, prepared: PreparedMeasured, reference: Volume) -> MeasuredQuality:
    """Figures of a reconstruction, with `reference` as the stand-in."""
    difference = difference_hu(volume, reference)
    if prepared.held_out is None:
        return MeasuredQuality(difference_hu=difference)
    rmse, relative = prediction_error(volume, prepared.held_out)
    return MeasuredQuality(rmse, relative, difference)


def _cache(cache: OrderedDict[Any, Any], key: Any, value: Any, size: int) -> None:
    cache[key] = value
    while len(cache) > size:
        cache.popitem(last=False)
