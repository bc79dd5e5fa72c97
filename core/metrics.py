"""Image quality, fixed so that numbers can be compared: on the reconstruction grid, clipped to [-1000, 1000] HU."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from core.volume import Volume

HU_RANGE = (-1000.0, 1000.0)
DATA_RANGE = HU_RANGE[1] - HU_RANGE[0]


@dataclass(frozen=True)
class Quality:
    """How close a reconstruction is to its reference. PSNR in dB, RMSE in HU."""

    psnr: float
    ssim: float
    rmse_hu: float


@dataclass(frozen=True)
class RoiStatistics:
    """Values within a region [HU]."""

    mean: float
    std: float
    minimum: float
    maximum: float
    num_voxels: int


def quality(reference: Volume, test: Volume) -> Quality:
    """All metrics of `test` against `reference`, on the same grid."""
    if reference.shape != test.shape:
        raise ValueError(
            f"the reference has shape {reference.shape} but the volume {test.shape}; resample one to the other's grid."
        )
    a, b = (v.hu.cpu().clip(*HU_RANGE) for v in (reference, test))
    return Quality(psnr(a, b, data_range=DATA_RANGE), ssim(a, b, data_range=DATA_RANGE), rmse(a, b))


def rmse(reference: Tensor, test: Tensor) -> float:
    """Root mean square error, in the units of the input."""
    return float((reference.double() - test.double()).square().mean().sqrt())


def psnr(reference: Tensor, test: Tensor, *, data_range: float) -> float:
    """Peak signal-to-noise ratio over all voxels [dB]: 20 log10(data_range / RMSE); infinite if equal."""
    error = rmse(reference, test)
    return math.inf if error == 0 else 20 * math.log10(data_range / error)


def ssim(reference: Tensor, test: Tensor, *, data_range: float, sigma: float = 1.5) -> float:
    """Structural similarity: mean over axial slices, Gaussian window (Wang et al. 2004).

    Windows of 3.5 sigma; those that reach over a slice's edge do not count, as in scikit-image. Slices smaller
    than one window give NaN.
    """
    reach = int(3.5 * sigma + 0.5)
    if min(reference.shape[-2:]) <= 2 * reach:
        return math.nan

    def smooth(x: Tensor) -> Tensor:
        return torch.from_numpy(gaussian_filter(x.numpy(), (0, sigma, sigma), truncate=3.5, mode="reflect"))

    a, b = reference.cpu().double(), test.cpu().double()
    mean_a, mean_b = smooth(a), smooth(b)
    var_a, var_b = smooth(a * a) - mean_a**2, smooth(b * b) - mean_b**2
    covariance = smooth(a * b) - mean_a * mean_b
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similarity = ((2 * mean_a * mean_b + c1) * (2 * covariance + c2)) / (
        (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    )
    return float(similarity[:, reach:-reach, reach:-reach].mean())


def roi_statistics(volume: Volume, mask: Tensor) -> RoiStatistics:
    """Statistics [HU] of the voxels where the bool `mask` (z, y, x) is True."""
    if tuple(mask.shape) != volume.shape or not bool(mask.any()):
        raise ValueError(
            f"the region must be a non-empty mask of shape {volume.shape}, got {tuple(mask.shape)}."
        )
    hu = volume.hu[mask]
    return RoiStatistics(
        float(hu.mean()), float(hu.std(correction=0)), float(hu.min()), float(hu.max()), int(hu.numel())
    )


def contrast_to_noise(volume: Volume, mask: Tensor, background: Tensor) -> float:
    """|mean(mask) - mean(background)| / std(background)."""
    a, b = roi_statistics(volume, mask), roi_statistics(volume, background)
    return abs(a.mean - b.mean) / b.std if b.std > 0 else math.inf
