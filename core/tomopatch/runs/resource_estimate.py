"""What a run will need, told before it begins; the volume itself is not loaded for that."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

from tomopatch.library import phantom_of
from tomopatch.phantoms.catalogue import field_of_view
from tomopatch.reconstruct.memory import estimated_mb
from tomopatch.runs.config import PHANTOM_GRID, RunConfig, ScanConfig
from tomopatch.runs.limits import memory_mb
from tomopatch.runs.prior import Config, DenoiseConfig
from tomopatch.volume import Shape, VolumeGeometry

PROCESS_MB = 400
"""Of a worker with its libraries, before it has any data."""


class Geometries(Protocol):
    def volume_geometry(self, digest: str) -> VolumeGeometry: ...


@dataclass(frozen=True)
class Need:
    """Of a run on a grid: megabytes at its peak."""

    grid: Shape
    mb: float


def need(config: Config, store: Geometries) -> Need | None:
    """None where the volume is neither a phantom nor in the store."""
    if not isinstance(config, RunConfig):
        scan = config.scan if isinstance(config, DenoiseConfig) else None
        source = 0 if scan is None else _source_voxels(scan, config.grid, store)
        mb = estimated_mb("generate", math.prod(config.grid), 0)
        return Need(config.grid, PROCESS_MB + _mb(source) + mb)
    native = _native(config.scan, store)
    if native is None:
        return None
    grid = config.scan.grid or (PHANTOM_GRID if config.scan.source.startswith("phantom:") else native.shape)
    return _on_grid(config, native, grid, store)


def refusal(config: Config, store: Geometries) -> str:
    """Why this run would not fit into the memory, and what would; empty if it fits.

    Raises
    ------
    ValueError
        If the scan is impossible.
    """
    wanted, given = need(config, store), memory_mb()
    if wanted is None or wanted.mb <= given:
        return ""
    word = f"This run needs about {_gb(wanted.mb)} of memory, and one may take {_gb(given)} here"
    grid = wanted.grid
    while isinstance(config, RunConfig) and max(grid) > 8:
        z, y, x = (max(1, math.floor(n * 0.95)) for n in grid)
        grid = (z, y, x)
        fitting = need(replace(config, scan=replace(config.scan, grid=grid)), store)
        if fitting is not None and fitting.mb <= given:
            return f"{word}; a grid of {z} x {y} x {x} would fit."
    fewer = " or fewer views" if isinstance(config, RunConfig) else ""
    return f"{word}; choose a smaller grid{fewer}."


def _on_grid(config: RunConfig, native: VolumeGeometry, grid: Shape, store: Geometries) -> Need:
    scan, voxels = config.scan, math.prod(grid)
    pg = scan.geometry(native.with_shape(grid))
    rays = math.prod(pg.det_shape) * pg.num_views
    held = _source_voxels(scan, grid, store) + voxels + 2 * rays  # source, reference, measurement and weights
    samples = int(config.params.get("num_samples", 1))
    return Need(grid, PROCESS_MB + _mb(held) + estimated_mb(config.method, voxels, rays, samples=samples))


def _source_voxels(scan: ScanConfig, grid: Shape, store: Geometries) -> int:
    """Of the volume that is scanned; a phantom is drawn at twice the grid."""
    if scan.source.startswith("phantom:"):
        return math.prod(grid) * (1 if scan.same_grid else 8)
    native = _native(scan, store)
    return 0 if native is None else math.prod(native.shape)


def _native(scan: ScanConfig, store: Geometries) -> VolumeGeometry | None:
    if scan.source.startswith("phantom:"):
        return field_of_view(phantom_of(scan.source)[0])
    if scan.source.startswith("volume:"):
        return store.volume_geometry(scan.source.removeprefix("volume:"))
    return None


def _mb(numbers: int) -> float:
    return 4 * numbers / 2**20


def _gb(mb: float) -> str:
    return f"{mb / 1000:.1f} GB"
