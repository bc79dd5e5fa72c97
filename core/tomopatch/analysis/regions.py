"""Regions of a volume, and the quality of a reconstruction within them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tomopatch.analysis.metrics import DATA_RANGE, HU_RANGE, contrast_to_noise, psnr, roi_statistics
from tomopatch.volume import Triple, Volume, VolumeGeometry, crop

SHELL = (1.25, 2.0)
"""Inner and outer size of the shell around a region, relative to it. The gap excludes the blurred edge."""


@dataclass(frozen=True)
class Region:
    """A ball or a cube.

    Attributes
    ----------
    kind : "sphere" or "box"
    centre : (z, y, x)
        Fractions of the volume, like the crosshair.
    size : float
        Diameter or edge [mm].
    """

    kind: str
    centre: Triple
    size: float

    def __post_init__(self) -> None:
        if self.kind not in ("sphere", "box"):
            raise ValueError(f"a region is a 'sphere' or a 'box', got {self.kind!r}.")
        if not (math.isfinite(self.size) and self.size > 0):
            raise ValueError(f"a region's size must be a length in mm above 0, got {self.size}.")
        if len(self.centre) != 3 or not all(0 <= f <= 1 for f in self.centre):
            raise ValueError(
                f"a region's centre must be three fractions (z, y, x) from 0 to 1, got {self.centre}."
            )

    def masks(self, vg: VolumeGeometry) -> tuple[tuple[slice, slice, slice], Tensor, Tensor]:
        """The part of the grid that holds region and shell, and the voxels of each in it, bool (z, y, x).

        A voxel belongs to the body that its centre lies in. The shell is cut off at the volume's edge.

        Raises
        ------
        ValueError
            If the region holds no voxel, or the shell fewer than two.
        """
        half, reach, slices, squares = self.size / 2, SHELL[1] * self.size / 2, [], []
        for n, s, f in zip(vg.shape, vg.voxel_size, self.centre, strict=True):
            first = max(0, math.floor(f * n - reach / s - 0.5))
            last = min(n, math.ceil(f * n + reach / s + 0.5))
            slices.append(slice(first, last))
            away = (torch.arange(first, last, dtype=torch.float64) + 0.5 - f * n) * s / half
            squares.append(away.square())
        z, y, x = squares[0][:, None, None], squares[1][:, None], squares[2]
        far = z + y + x if self.kind == "sphere" else torch.maximum(torch.maximum(z, y), x)
        inside = far <= 1
        shell = (far > SHELL[0] ** 2) & (far <= SHELL[1] ** 2)
        if not bool(inside.any()) or int(shell.sum()) < 2:
            raise ValueError(
                f"a {self.kind} of {self.size:g} mm holds no voxel here, or nothing lies around it; a voxel"
                f" is {' x '.join(f'{s:.3g}' for s in vg.voxel_size)} mm: choose another size."
            )
        return (slices[0], slices[1], slices[2]), inside, shell


@dataclass(frozen=True)
class RegionQuality:
    """Quality of a volume within a region.

    Attributes
    ----------
    mean, std : float
        Statistics of its voxels [HU].
    contrast_to_noise : float
        Distance of its mean from the shell's, in standard deviations of the shell.
    psnr : float
        Against the reference over its voxels [dB]; infinite for the reference itself.
    num_voxels : int
    """

    mean: float
    std: float
    contrast_to_noise: float
    psnr: float
    num_voxels: int


def region_quality(reference: Volume, test: Volume, region: Region) -> RegionQuality:
    """Quality of `test` in the region; PSNR as in `metrics.quality`, of the region's voxels alone."""
    if reference.shape != test.shape:
        raise ValueError(
            f"the reference has shape {reference.shape} but the volume {test.shape}; resample one to the"
            " other's grid."
        )
    cut, inside, shell = region.masks(test.geometry)
    truth, part = (crop(volume, cut).to("cpu") for volume in (reference, test))
    stats = roi_statistics(part, inside)
    a, b = (v.hu[inside].clip(*HU_RANGE) for v in (truth, part))
    return RegionQuality(
        stats.mean,
        stats.std,
        contrast_to_noise(part, inside, shell),
        psnr(a, b, data_range=DATA_RANGE),
        stats.num_voxels,
    )
