"""What a run will need, told before it begins; the volume itself is not loaded for that."""

from __future__ import annotations

import math
from collections.abc import Callable
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
DRAWING_COPIES, READING_COPIES = 4.5, 2.0
"""Arrays of float32 of its size at the peak while a phantom is drawn (2.8 to 4.4, measured on 96 x 192 x 192), and while
a stored volume is read and averaged."""
SHOWING_COPIES = 7.0
"""Arrays of float32 of the reconstruction grid while a volume is shown: its draft, the reference, Hounsfield units, their
rounded values, and what goes to the browser."""
SHOWING_SHARE = 0.5
"""Share of the memory limit that one volume may take in the server, which keeps others for the other visitors."""


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
    native = native_geometry(config.scan.source, store)
    grid = shown_grid(config.scan, store)
    if native is None or grid is None:
        return None
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
    if not isinstance(config, RunConfig):
        return f"{word}; choose a smaller grid."
    fitting = _fitting(
        wanted.grid, given, lambda grid: need(replace(config, scan=replace(config.scan, grid=grid)), store)
    )
    return f"{word}; {fitting or 'choose a smaller grid or fewer views'}."


def showing_refusal(scan: ScanConfig, store: Geometries) -> str:
    """Reason why the server does not draw this scan's volume and its reference, and what would fit; empty if it does.

    Raises
    ------
    ValueError
        If there is no such phantom or volume.
    """
    wanted, given = _showing(scan, store), SHOWING_SHARE * memory_mb()
    if wanted is None or wanted.mb <= given:
        return ""
    word = f"Showing this volume needs about {_gb(wanted.mb)} of memory, and one may take {_gb(given)} here"
    fitting = _fitting(wanted.grid, given, lambda grid: _showing(replace(scan, grid=grid), store))
    return f"{word}; {fitting or 'choose a smaller grid or another volume'}."


def check_shown(scan: ScanConfig, store: Geometries) -> None:
    """Refuse with a ValueError to draw a volume in the server that takes too much memory."""
    refused = showing_refusal(scan, store)
    if refused:
        raise ValueError(refused)


def _showing(scan: ScanConfig, store: Geometries) -> Need | None:
    """What the server needs to show this scan's volume on its grid."""
    grid = shown_grid(scan, store)
    if grid is None:
        return None
    source = _source_voxels(scan, grid, store)
    return Need(grid, _mb(math.ceil(_source_copies(scan) * source + SHOWING_COPIES * math.prod(grid))))


def shown_grid(scan: ScanConfig, store: Geometries) -> Shape | None:
    """The reconstruction grid, without loading the volume; None where it is neither a phantom nor in the store."""
    native = native_geometry(scan.source, store)
    if native is None:
        return None
    return scan.grid or (PHANTOM_GRID if scan.source.startswith("phantom:") else native.shape)


def _fitting(grid: Shape, given: float, needed: Callable[[Shape], Need | None]) -> str:
    """The largest grid of the same proportions that fits, in words; empty if none does."""
    while max(grid) > 8:
        z, y, x = (max(1, math.floor(n * 0.95)) for n in grid)
        grid = (z, y, x)
        found = needed(grid)
        if found is not None and found.mb <= given:
            return f"a grid of {z} x {y} x {x} would fit"
    return ""


def _on_grid(config: RunConfig, native: VolumeGeometry, grid: Shape, store: Geometries) -> Need:
    scan, voxels = config.scan, math.prod(grid)
    pg = scan.geometry(native.with_shape(grid))
    rays = math.prod(pg.det_shape) * pg.num_views
    held = _source_voxels(scan, grid, store) + voxels + 2 * rays  # source, reference, measurement and weights
    samples = int(config.params.get("num_samples", 1))
    working = _mb(held) + estimated_mb(config.method, voxels, rays, samples=samples)
    preparing = _mb(math.ceil(_source_copies(scan) * _source_voxels(scan, grid, store)))
    return Need(grid, PROCESS_MB + max(preparing, working))


def _source_voxels(scan: ScanConfig, grid: Shape, store: Geometries) -> int:
    """Of the volume that is scanned; a phantom is drawn at twice the grid."""
    if scan.source.startswith("phantom:"):
        return math.prod(grid) * (1 if scan.same_grid else 8)
    native = native_geometry(scan.source, store)
    return 0 if native is None else math.prod(native.shape)


def _source_copies(scan: ScanConfig) -> float:
    return DRAWING_COPIES if scan.source.startswith("phantom:") else READING_COPIES


def native_geometry(source: str, store: Geometries) -> VolumeGeometry | None:
    """Grid and extent of the volume that a scan names, without loading it; a phantom's is a single voxel."""
    if source.startswith("phantom:"):
        return field_of_view(phantom_of(source)[0])
    if source.startswith("volume:"):
        return store.volume_geometry(source.removeprefix("volume:"))
    return None


def _mb(numbers: int) -> float:
    return 4 * numbers / 2**20


def _gb(mb: float) -> str:
    return f"{mb / 1000:.1f} GB"
