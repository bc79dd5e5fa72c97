"""Error statistics of a reconstruction: histogram, calibration of the deviation, noise power spectrum.

The error is defined as in the metrics: both volumes on one grid, clipped to [-1000, 1000] HU.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tomopatch.analysis.metrics import HU_RANGE
from tomopatch.volume import Volume


def error(reference: Volume, test: Volume) -> Tensor:
    """test - reference [HU], float64 (z, y, x)."""
    if reference.shape != test.shape:
        raise ValueError(
            f"the reference has shape {reference.shape} but the volume {test.shape}; resample one to the"
            " other's grid."
        )
    a, b = (v.hu.cpu().double().clip(*HU_RANGE) for v in (reference, test))
    return b - a


def histogram(error: Tensor, *, limit: float, num_bins: int) -> tuple[Tensor, Tensor]:
    """Centres [HU] of equal bins over [-limit, limit], and the share of voxels in each.

    Values beyond the limit count in the outermost bins, so the shares sum to 1.
    """
    if not limit > 0 or num_bins < 2:
        raise ValueError(
            f"a histogram needs a limit above 0 HU and two bins or more, got {limit} and {num_bins}."
        )
    width = 2 * limit / num_bins
    index = ((error + limit) / width).floor().clip(0, num_bins - 1).long()
    counts = torch.bincount(index.flatten(), minlength=num_bins)
    centres = (torch.arange(num_bins, dtype=torch.float64) + 0.5) * width - limit
    return centres, counts.double() / error.numel()


@dataclass(frozen=True)
class CalibrationBin:
    """Voxels with similar predicted deviation: root mean square of the deviation and of their error [HU]."""

    predicted: float
    rms: float
    num_voxels: int


def calibration(error: Tensor, predicted: Tensor, *, num_bins: int = 12) -> list[CalibrationBin]:
    """Error against predicted deviation, in bins of equally many voxels, by rising prediction.

    A calibrated deviation has rms = predicted in every bin. Voxels without a prediction (0, as where nothing
    was measured) do not count.

    Parameters
    ----------
    error, predicted : Tensor
        [HU], of one shape.
    """
    if error.shape != predicted.shape:
        raise ValueError(
            f"the error has shape {tuple(error.shape)} but the deviation {tuple(predicted.shape)}; both need"
            " one grid."
        )
    known = predicted > 0
    sigma, order = predicted[known].double().sort()
    squares = error[known].double().square()[order]
    bins = []
    # by rank: no bin is empty if there are enough voxels
    for a, b in zip(sigma.tensor_split(num_bins), squares.tensor_split(num_bins), strict=True):
        if a.numel():
            bins.append(
                CalibrationBin(float(a.square().mean().sqrt()), float(b.mean().sqrt()), int(a.numel()))
            )
    return bins


def noise_power(error: Tensor, pixel_size: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Noise power spectrum of the axial slices, averaged over slices and directions.

    NPS(f) = |FFT(e - mean)|^2 dy dx / (ny nx); its integral over both frequencies is the variance of a slice
    (Siewerdsen et al. 2002). White noise of deviation s is flat at s^2 dy dx.

    Parameters
    ----------
    error : Tensor (z, y, x)
        [HU]
    pixel_size : (y, x)
        [mm]

    Returns
    -------
    frequencies [1/mm], power [HU^2 mm^2] : Tensor
        Frequencies above 0, up to the lower of the two Nyquist frequencies.
    """
    _, ny, nx = error.shape
    dy, dx = pixel_size
    if min(ny, nx) < 4:
        raise ValueError(f"a spectrum needs slices of 4 x 4 pixels or more, got {ny} x {nx}.")
    slices = error.double() - error.double().mean((1, 2), keepdim=True)
    power = torch.fft.fft2(slices).abs().square().mean(0) * (dy * dx / (ny * nx))
    fy, fx = torch.fft.fftfreq(ny, dy, dtype=torch.float64), torch.fft.fftfreq(nx, dx, dtype=torch.float64)
    frequency = torch.hypot(fy[:, None].expand(ny, nx), fx.expand(ny, nx))
    width = max(1 / (ny * dy), 1 / (nx * dx))
    index = (frequency / width).round().long()  # rings one step of the coarser axis wide; the mean is ring 0
    count = int(min(0.5 / dy, 0.5 / dx) / width + 1e-9)
    total = torch.bincount(index.flatten(), power.flatten(), minlength=count + 1)
    number = torch.bincount(index.flatten(), minlength=count + 1)
    rings = torch.arange(1, count + 1)
    return rings * width, total[rings] / number[rings]
