"""Reconstruction grids with equal voxel sizes in the axial plane, and their description."""

from __future__ import annotations

from pages.ui.texts import formatting
from tomopatch.volume import Shape, VolumeGeometry


def isotropic_in_plane(most: Shape, native: VolumeGeometry) -> Shape:
    """Return the finest grid (z, y, x) within `most` whose voxels are square in the axial plane."""
    _, height, width = native.size
    side = max(height / most[1], width / most[2], *native.voxel_size[1:])
    rows, columns = (max(1, round(length / side)) for length in (height, width))
    return min(most[0], native.shape[0]), min(rows, most[1]), min(columns, most[2])


def of_voxel_size(native: VolumeGeometry, across: float, along: float, *, finest: Shape | None) -> Shape:
    """Return the grid (z, y, x) whose voxels are closest to these sizes.

    Parameters
    ----------
    across, along : float
        Size of a voxel in the axial plane and between slices [mm].
    finest : (z, y, x) or None
        Largest grid.
    """
    wanted = [max(1, round(size / s)) for size, s in zip(native.size, (along, across, across), strict=True)]
    z, y, x = (min(pair) for pair in zip(wanted, finest or wanted, strict=True))
    return z, y, x


def describe(geometry: VolumeGeometry) -> str:
    """Return voxel size and extent (z, y, x) in mm."""
    voxel = formatting.times(f"{s:.4g}" for s in geometry.voxel_size)
    size = formatting.times(f"{s:.0f}" if s >= 10 else f"{s:.2g}" for s in geometry.size)
    return f"Voxels of {voxel} mm; {size} mm in all (z, y, x)."
