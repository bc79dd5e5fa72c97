"""Resource estimate of a run: its memory, before it begins and without loading the volume."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, cast

from tomopatch.library import phantom_of
from tomopatch.phantoms.catalogue import field_of_view
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.reconstruct.memory import estimated_mb
from tomopatch.runs.config import PHANTOM_GRID, RunConfig, Scan, ScanConfig
from tomopatch.runs.limits import memory_mb
from tomopatch.runs.measured import ScanFiles, full_geometry, used_geometry
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.prior import Config, DenoiseConfig
from tomopatch.volume import Shape, VolumeGeometry

PROCESS_MB = 400
"""Memory of a worker process with its libraries, without data."""
DRAWING_COPIES, READING_COPIES = 4.5, 2.0
"""Peak memory, in float32 arrays of the volume's size, while a phantom is drawn (measured at 96 x 192 x 192:
2.8 to 4.4), and while a stored volume is read and averaged."""
CORRECTION_COPIES = 6
"""Float32 arrays of the size of the projections that the corrections of a measured scan hold at once."""
DISPLAY_COPIES = 7.0
"""Peak memory, in float32 arrays of the reconstruction grid, while a volume is displayed: the volume, the
reference, Hounsfield units, their rounded values, and the message to the browser."""
DISPLAY_SHARE = 0.5
"""Share of the memory limit that displaying one volume may take, because the server holds those of other
visitors, too."""


class Geometries(Protocol):
    """Source of the grids of stored volumes, without their voxels."""

    def volume_geometry(self, digest: str) -> VolumeGeometry: ...


@dataclass(frozen=True)
class ResourceEstimate:
    """Peak memory [MB] of a run on a grid."""

    grid: Shape
    mb: float


def estimate(config: Config, store: Geometries) -> ResourceEstimate | None:
    """Return the resource estimate of a run; None if its volume is neither a phantom nor stored."""
    if not isinstance(config, RunConfig):
        scan = config.scan if isinstance(config, DenoiseConfig) else None
        source = 0 if scan is None else _source_voxels(scan, config.grid, store)
        mb = estimated_mb("generate", math.prod(config.grid), 0)
        return ResourceEstimate(config.grid, PROCESS_MB + _mb(source) + mb)
    if isinstance(config.scan, MeasuredScan):
        return _of_measured(config, config.scan, store)
    native = native_geometry(config.scan.source, store)
    grid = reconstruction_grid(config.scan, store)
    if native is None or grid is None:
        return None
    return _on_grid(config, config.scan, native, grid, store)


def refusal(config: Config, store: Geometries) -> str:
    """Return the reason why this run does not fit into the memory, with a grid that would; empty if it fits.

    Raises
    ------
    ValueError
        If the scan is impossible.
    """
    needed, allowed = estimate(config, store), memory_mb()
    if needed is None or needed.mb <= allowed:
        return ""
    reason = f"This run needs about {_gb(needed.mb)} of memory, and one may take {_gb(allowed)} here"
    if not isinstance(config, RunConfig):
        return f"{reason}; choose a smaller grid."
    scan = config.scan
    fitting = _fitting_grid(
        needed.grid, allowed, lambda grid: estimate(replace(config, scan=replace(scan, grid=grid)), store)
    )
    return f"{reason}; {fitting or 'choose a smaller grid or fewer views'}."


def display_refusal(scan: Scan, store: Geometries) -> str:
    """Return the reason why the server does not display this scan's volume; empty if it does.

    Raises
    ------
    ValueError
        If the phantom or volume does not exist.
    """
    needed, allowed = _display_estimate(scan, store), DISPLAY_SHARE * memory_mb()
    if needed is None or needed.mb <= allowed:
        return ""
    reason = (
        f"Showing this volume needs about {_gb(needed.mb)} of memory, and one may take {_gb(allowed)} here"
    )
    fitting = _fitting_grid(
        needed.grid, allowed, lambda grid: _display_estimate(replace(scan, grid=grid), store)
    )
    return f"{reason}; {fitting or 'choose a smaller grid or another volume'}."


def check_displayed(scan: Scan, store: Geometries) -> None:
    """Raise a ValueError if displaying this scan's volume takes too much memory."""
    refused = display_refusal(scan, store)
    if refused:
        raise ValueError(refused)


def _display_estimate(scan: Scan, store: Geometries) -> ResourceEstimate | None:
    """Return the memory that the server needs to display this scan's volume."""
    grid = reconstruction_grid(scan, store)
    if grid is None:
        return None
    if isinstance(scan, MeasuredScan):
        pg, _ = full_geometry(scan, _scan_files(store))
        rays = math.prod(pg.det_shape) * pg.num_views * scan.bin**2
        return ResourceEstimate(
            grid, _mb(math.ceil(DISPLAY_COPIES * math.prod(grid)) + CORRECTION_COPIES * rays)
        )
    source = _source_voxels(scan, grid, store)
    return ResourceEstimate(
        grid,
        _mb(
            math.ceil(_source_copies(scan) * source + DISPLAY_COPIES * math.prod(grid))
            + _effect_voxels(scan, math.prod(grid))
        ),
    )


def reconstruction_grid(scan: Scan, store: Geometries) -> Shape | None:
    """Return a scan's reconstruction grid; None if its volume is neither a phantom nor stored."""
    if isinstance(scan, MeasuredScan):
        return full_geometry(scan, _scan_files(store))[1].shape
    native = native_geometry(scan.source, store)
    if native is None:
        return None
    return scan.grid or (PHANTOM_GRID if scan.source.startswith("phantom:") else native.shape)


def _fitting_grid(
    grid: Shape, allowed: float, estimate_for: Callable[[Shape], ResourceEstimate | None]
) -> str:
    """Return a clause with the largest grid of the same proportions that fits; empty if none does."""
    while max(grid) > 8:
        z, y, x = (max(1, math.floor(n * 0.95)) for n in grid)
        grid = (z, y, x)
        found = estimate_for(grid)
        if found is not None and found.mb <= allowed:
            return f"a grid of {z} x {y} x {x} would fit"
    return ""


def _of_measured(config: RunConfig, scan: MeasuredScan, store: Geometries) -> ResourceEstimate:
    """Resource estimate of a run of a measured scan: all views are corrected, the used ones reconstructed."""
    pg, vg = full_geometry(scan, _scan_files(store))
    used = used_geometry(scan, _scan_files(store))
    voxels, pixels = math.prod(vg.shape), math.prod(pg.det_shape)
    samples = int(config.params.get("num_samples", 1))
    working = estimated_mb(config.method, voxels, pixels * used.num_views, samples=samples)
    data = _mb(CORRECTION_COPIES * pixels * pg.num_views * scan.bin**2 + 2 * voxels)
    return ResourceEstimate(vg.shape, PROCESS_MB + data + working)


def _on_grid(
    config: RunConfig, scan: ScanConfig, native: VolumeGeometry, grid: Shape, store: Geometries
) -> ResourceEstimate:
    voxels = math.prod(grid)
    pg = scan.geometry(native.with_shape(grid))
    rays = math.prod(pg.det_shape) * pg.num_views
    source = _source_voxels(scan, grid, store)
    data = source + voxels + 2 * rays  # source, reference, measurement and weights
    samples = int(config.params.get("num_samples", 1))
    working = _mb(data) + estimated_mb(config.method, voxels, rays, samples=samples)
    drawing = math.ceil(_source_copies(scan) * source)
    preparing = _mb(max(drawing, data + _effect_voxels(scan, source) + _effect_rays(scan, rays)))
    return ResourceEstimate(grid, PROCESS_MB + max(preparing, working))


def _source_voxels(scan: ScanConfig, grid: Shape, store: Geometries) -> int:
    """Number of voxels of the scanned volume; a phantom is drawn at twice the grid."""
    if scan.source.startswith("phantom:"):
        return math.prod(grid) * (1 if scan.same_grid else 8)
    native = native_geometry(scan.source, store)
    return 0 if native is None else math.prod(native.shape)


def _effect_voxels(scan: ScanConfig, voxels: int) -> int:
    """Count of values that the effects hold for a volume: its materials, or a copy with inserts."""
    effects = scan.effects
    copies = len(effects.inserts) and 1
    if effects.tube is not None:
        copies += 4  # water and bone, the share of bone, and a temporary array
    return copies * voxels


def _effect_rays(scan: ScanConfig, rays: int) -> int:
    """Count of values that effects and corrections hold for a measurement with `rays` rays."""
    effects = scan.effects
    disturbed = any(e is not None for e in (effects.tube, effects.scatter, effects.blur, effects.faults))
    return (6 * disturbed + 6 * (scan.corrections != Corrections())) * rays


def _source_copies(scan: ScanConfig) -> float:
    return DRAWING_COPIES if scan.source.startswith("phantom:") else READING_COPIES


def native_geometry(source: str, store: Geometries) -> VolumeGeometry | None:
    """Return the grid of a scan's source without loading it; a phantom's extent is a single voxel."""
    if source.startswith("phantom:"):
        return field_of_view(phantom_of(source)[0])
    if source.startswith("volume:"):
        return store.volume_geometry(source.removeprefix("volume:"))
    return None


def _scan_files(store: Geometries) -> ScanFiles:
    return cast(ScanFiles, store)  # a measured scan exists in a store alone, which has both


def _mb(numbers: int) -> float:
    return 4 * numbers / 2**20


def _gb(mb: float) -> str:
    return f"{mb / 1000:.1f} GB"
