"""Grid of a volume: number, size and position of the voxels."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from tomopatch.volume.checks import Shape, checked_shape, finite

Triple = tuple[float, float, float]

VOXEL_MM = (1e-6, 1e6)
"""Voxel sizes [mm] that float32 computations support: from a nanometre to a kilometre."""


@dataclass(frozen=True)
class VolumeGeometry:
    """Positions and sizes of the voxels of a volume. Axes (z, y, x); lengths in mm.

    Parameters
    ----------
    shape : (z, y, x)
        Number of voxels.
    voxel_size : (z, y, x)
        Edge lengths of a voxel [mm].
    pos : (z, y, x)
        Centre of the volume [mm]; the rotation axis runs through the origin.
    """

    shape: Shape
    voxel_size: Triple = (1.0, 1.0, 1.0)
    pos: Triple = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        given = (self.shape, self.voxel_size, self.pos)
        shape, voxel_size, pos = (tuple(v) if isinstance(v, Iterable) else (v,) for v in given)
        if not all(isinstance(n, numbers.Real) for n in (*shape, *voxel_size, *pos)):
            raise ValueError(
                f"a volume's shape, voxel_size and pos are three numbers each (z, y, x), got {self.shape}, "
                f"{self.voxel_size} and {self.pos}."
            )
        if len(shape) != 3 or any(not finite(n) or int(n) != n or n < 1 for n in shape):
            raise ValueError(f"volume shape must be three counts (z, y, x) of at least 1, got {self.shape}.")
        if len(voxel_size) != 3 or not all(finite(s) and s > 0 for s in voxel_size):
            raise ValueError(
                f"voxel_size must be three lengths (z, y, x) in mm above 0, got {self.voxel_size}."
            )
        if not all(VOXEL_MM[0] <= s <= VOXEL_MM[1] for s in voxel_size):
            raise ValueError(
                f"voxel_size must lie between {VOXEL_MM[0]:g} and {VOXEL_MM[1]:g} mm, got {self.voxel_size}."
            )
        if len(pos) != 3 or not all(finite(p) for p in pos):
            raise ValueError(f"pos must be the volume's centre (z, y, x) in mm, got {self.pos}.")
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        object.__setattr__(self, "voxel_size", tuple(float(s) for s in voxel_size))
        object.__setattr__(self, "pos", tuple(float(p) for p in pos))

    @property
    def size(self) -> Triple:
        """Extent (z, y, x) [mm]."""
        z, y, x = (n * s for n, s in zip(self.shape, self.voxel_size, strict=True))
        return (z, y, x)

    @property
    def radius(self) -> float:
        """Radius [mm] of the cylinder about the rotation axis that encloses the volume."""
        _, sy, sx = self.size
        _, py, px = self.pos
        return math.hypot(abs(py) + sy / 2, abs(px) + sx / 2)

    def with_shape(self, shape: Shape) -> VolumeGeometry:
        """The same extent divided into another number of voxels."""
        shape = checked_shape(shape)
        z, y, x = (s / n for s, n in zip(self.size, shape, strict=True))
        return VolumeGeometry(shape, (z, y, x), self.pos)

    def halved(self) -> VolumeGeometry:
        """The same extent at half the resolution.

        Axes whose voxels are at least 1.5 times as long as the shortest edge keep their resolution.
        """
        shortest = min(self.voxel_size)
        z, y, x = (
            -(-n // 2) if size < 1.5 * shortest else n
            for n, size in zip(self.shape, self.voxel_size, strict=True)
        )
        return self.with_shape((z, y, x))

    def axis(self, index: int) -> Tensor:
        """Positions [mm] of the voxel centres along axis 0 (z), 1 (y) or 2 (x); float64."""
        n, s, p = self.shape[index], self.voxel_size[index], self.pos[index]
        return p + (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * s
