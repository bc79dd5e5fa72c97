"""Image quality metrics, fixed for comparability: on the reconstruction grid, clipped to [-1000, 1000] HU."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from scipy.ndimage import gaussian_filter
from torch import Tensor

from tomopatch.volume import Volume, as_tensor

HU_RANGE = (-1000.0, 1000.0)
DATA_RANGE = HU_RANGE[1] - HU_RANGE[0]


MetricValue = Annotated[float, Field(allow_inf_nan=True)]
"""A metric; it may be infinite, or NaN where it is undefined."""


@dataclass(frozen=True)
class Quality:
    """Similarity of a reconstruction to its reference: PSNR in dB, RMSE in HU."""

    psnr: MetricValue  # infinite for an exact match
    ssim: MetricValue  # NaN for slices without contrast
    rmse_hu: MetricValue

    def __str__(self) -> str:
        return f"PSNR {self.psnr:.2f} dB, SSIM {self.ssim:.3f}, RMSE {self.rmse_hu:.0f} HU"


@dataclass(frozen=True)
class RoiStatistics:
    """Values within a region [HU]."""

    mean: float
    std: float
    minimum: float
    maximum: float
    num_voxels: int


def quality(reference: Volume, test: Volume, *, inside: Tensor | None = None) -> Quality:
    """All metrics of `test` against `reference`, on the same grid.

    Parameters
    ----------
    inside : bool tensor (z, y, x) or None
        Voxels that count, for example those in the field of view; of SSIM the windows centred on them. None
        = all voxels.

    Raises
    ------
    ValueError
        If the grids differ, a voxel is NaN or infinite, or no voxel is inside.
    """
    for volume in (reference, test):
        if not isinstance(volume, Volume):
            raise TypeError(
                f"quality compares two volumes, got {type(volume).__name__}; reference.with_data(...) makes"
                " one."
            )
        volume.check_finite("to be compared")
    if reference.shape != test.shape:
        raise ValueError(
            f"the reference has shape {reference.shape} but the volume {test.shape}; resample one to the"
            " other's grid."
        )
    sizes = zip(reference.geometry.voxel_size, test.geometry.voxel_size, strict=True)
    if not all(math.isclose(a, b, rel_tol=1e-3) for a, b in sizes):
        raise ValueError(
            f"the reference has voxels of {reference.geometry.voxel_size} mm but the volume of "
            f"{test.geometry.voxel_size}; resample one to the other's grid."
        )
    a, b = (v.hu.cpu().clip(*HU_RANGE) for v in (reference, test))
    if inside is None:
        return Quality(psnr(a, b, data_range=DATA_RANGE), ssim(a, b, data_range=DATA_RANGE), rmse(a, b))
    if tuple(inside.shape) != reference.shape or not bool(inside.any()):
        raise ValueError(
            f"the voxels that count must be a non-empty mask of shape {reference.shape}, got "
            f"{tuple(inside.shape)} with {int(inside.sum())} voxels."
        )
    inside = inside.cpu()
    similarity = ssim(a, b, data_range=DATA_RANGE, inside=inside)
    return Quality(psnr(a[inside], b[inside], data_range=DATA_RANGE), similarity, rmse(a[inside], b[inside]))


def rmse(reference: Any, test: Any) -> float:
    """Root mean square error of two arrays (torch or numpy) of one shape, in their units."""
    reference, test = _pair(reference, test)
    return float((reference.double() - test.double()).square().mean().sqrt())


def psnr(reference: Any, test: Any, *, data_range: float) -> float:
    """Peak signal-to-noise ratio over all voxels [dB]: 20 log10(data_range / RMSE); infinite if equal.

    Arrays are torch or numpy, of one shape.
    """
    error = rmse(reference, test)
    return math.inf if error == 0 else 20 * math.log10(data_range / error)


def ssim(
    reference: Any, test: Any, *, data_range: float, sigma: float = 1.5, inside: Tensor | None = None
) -> float:
    """Structural similarity: mean over axial slices (..., y, x), Gaussian window (Wang et al. 2004).

    Arrays are torch or numpy, of one shape (z, y, x). Windows reach 3.5 sigma; windows that extend over a
    slice's edge do not count, as in scikit-image. Slices smaller than one window give NaN. With a bool mask
    `inside` (z, y, x), only windows centred on its voxels count; NaN if there are none.
    """
    reference, test = _pair(reference, test)
    if reference.ndim != 3:
        raise ValueError(f"ssim takes volumes (z, y, x), got arrays of shape {tuple(reference.shape)}.")
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
    similarity = similarity[:, reach:-reach, reach:-reach]
    if inside is not None:
        similarity = similarity[inside[:, reach:-reach, reach:-reach]]
    return float(similarity.mean())


def _pair(reference: Any, test: Any) -> tuple[Tensor, Tensor]:
    """Two tensors of one shape; float64 is kept."""
    a, b = (x if isinstance(x, Tensor) else as_tensor(x, "an array") for x in (reference, test))
    if a.shape != b.shape:
        raise ValueError(f"the arrays have shapes {tuple(a.shape)} and {tuple(b.shape)}; expected one shape.")
    return a, b


def roi_statistics(volume: Volume, mask: Any) -> RoiStatistics:
    """Statistics [HU] of the voxels where the bool `mask` (z, y, x), a torch or numpy array, is True."""
    mask = torch.as_tensor(mask).bool()
    if tuple(mask.shape) != volume.shape or not bool(mask.any()):
        raise ValueError(
            f"the region must be a non-empty mask of shape {volume.shape}, got {tuple(mask.shape)}."
        )
    hu = volume.hu[mask]
    return RoiStatistics(
        float(hu.mean()), float(hu.std(correction=0)), float(hu.min()), float(hu.max()), int(hu.numel())
    )


def contrast_to_noise(volume: Volume, mask: Any, background: Any) -> float:
    """|mean(mask) - mean(background)| / std(background)."""
    a, b = roi_statistics(volume, mask), roi_statistics(volume, background)
    return abs(a.mean - b.mean) / b.std if b.std > 0 else math.inf
