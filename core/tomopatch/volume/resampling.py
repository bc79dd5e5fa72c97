"""Volumes on other grids: area averages, crops and padding."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from tomopatch.volume.checks import Shape, checked_shape
from tomopatch.volume.grid import VolumeGeometry
from tomopatch.volume.volume import Volume, mu_from_hu


def area_weights(n_in: int, n_out: int) -> Tensor:
    """Matrix (n_out, n_in) that averages n_in equal cells of an interval over n_out equal cells.

    Entry (o, i) is the share of output cell o that input cell i covers; each row sums to 1.
    """
    edges_in = torch.linspace(0, 1, n_in + 1, dtype=torch.float64)
    edges_out = torch.linspace(0, 1, n_out + 1, dtype=torch.float64)
    lower = torch.maximum(edges_in[None, :-1], edges_out[:-1, None])
    upper = torch.minimum(edges_in[None, 1:], edges_out[1:, None])
    return ((upper - lower).clamp(min=0) * n_out).to(torch.float32)


def area_average(x: Tensor, shape: Shape) -> Tensor:
    """Average x (..., z, y, x) over the cells of another grid of the same extent.

    Exact for any ratio of the grids; the mean is preserved.
    """
    for axis, n_out in zip((-3, -2, -1), shape, strict=True):
        n_in = x.shape[axis]
        if n_in % n_out == 0:
            if n_in != n_out:
                x = x.unflatten(axis, (n_out, n_in // n_out)).mean(axis)
        else:
            weights = area_weights(n_in, n_out).to(x)
            x = torch.tensordot(x, weights, dims=([axis], [1])).movedim(-1, axis)
    return x


def resample(volume: Volume, shape: Shape) -> Volume:
    """The volume on another grid (z, y, x) of the same extent, by area averaging."""
    geometry = volume.geometry.with_shape(shape)
    if geometry.shape == volume.shape:
        return volume
    return Volume(area_average(volume.data, geometry.shape).contiguous(), geometry, volume.name)


def crop(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    """The voxels within `box` = three slices (z, y, x); their positions in space are kept."""
    if len(box) != 3 or not all(isinstance(s, slice) for s in box):
        raise ValueError(f"crop needs three slices (z, y, x), got {box}.")
    spans = [s.indices(n) for s, n in zip(box, volume.shape, strict=True)]
    if any(step != 1 or stop <= start for start, stop, step in spans):
        raise ValueError(f"crop needs three non-empty slices of step 1 within {volume.shape}, got {box}.")
    shape = tuple(stop - start for start, stop, _ in spans)
    pos = tuple(
        p + ((start + stop) / 2 - n / 2) * s
        for p, (start, stop, _), n, s in zip(
            volume.geometry.pos, spans, volume.shape, volume.geometry.voxel_size, strict=True
        )
    )
    geometry = VolumeGeometry(shape, volume.geometry.voxel_size, pos)  # type: ignore[arg-type]
    return Volume(volume.data[box].contiguous(), geometry, volume.name)


def pad(volume: Volume, shape: Shape, value: float = 0.0) -> Volume:
    """The volume in the middle of a larger grid (z, y, x); new voxels are `value` [1/mm]."""
    shape = checked_shape(shape, "pad's shape")
    if any(n < m for n, m in zip(shape, volume.shape, strict=True)):
        raise ValueError(
            f"pad to {tuple(shape)} is smaller than the volume {volume.shape}; use crop or resample."
        )
    before = [(n - m) // 2 for n, m in zip(shape, volume.shape, strict=True)]
    data = torch.full(tuple(shape), value, dtype=torch.float32, device=volume.data.device)
    data[tuple(slice(b, b + m) for b, m in zip(before, volume.shape, strict=True))] = volume.data
    pos = tuple(
        p + (n / 2 - b - m / 2) * s
        for p, n, b, m, s in zip(
            volume.geometry.pos, shape, before, volume.shape, volume.geometry.voxel_size, strict=True
        )
    )
    geometry = VolumeGeometry(shape, volume.geometry.voxel_size, pos)  # type: ignore[arg-type]
    return Volume(data, geometry, volume.name)


def body_box(
    volume: Volume, *, threshold_hu: float = -500.0, margin: float = 5.0
) -> tuple[slice, slice, slice]:
    """Bounding box of the voxels denser than `threshold_hu`, with `margin` [mm] around it.

    Planes with at most 1 % dense voxels do not count, so that a thin table does not widen the box.
    """
    dense = volume.data > mu_from_hu(torch.tensor(threshold_hu)).item()
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        hit = torch.nonzero(dense.to(torch.float32).mean(others) > 0.01).flatten()
        if len(hit) == 0:
            return (slice(0, volume.shape[0]), slice(0, volume.shape[1]), slice(0, volume.shape[2]))
        extra = math.ceil(margin / volume.geometry.voxel_size[axis])
        start = max(0, int(hit[0]) - extra)
        stop = min(volume.shape[axis], int(hit[-1]) + 1 + extra)
        box.append(slice(start, stop))
    return (box[0], box[1], box[2])


def centred(volume: Volume) -> Volume:
    """The same voxels with the volume's centre on the rotation axis."""
    return Volume(volume.data, VolumeGeometry(volume.shape, volume.geometry.voxel_size), volume.name)
