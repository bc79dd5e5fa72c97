"""Blur of intensities by the detector's point spread function and by the focal spot."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch
from scipy.special import ive
from torch import Tensor

from tomopatch.geometry.views import Views

FWHM = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian, divided by its standard deviation."""
WIDE = 20.0
"""Standard deviation [pixels] above which the kernel is a sampled Gaussian; the kernels differ by < 4e-4."""
MOST_SOURCES = 61
"""Largest number of points of a focal spot; a very wide spot is therefore sampled coarsely."""


def smeared(signal: Tensor, sigma: float, *, aspect: float = 1.0, padding: str = "edge") -> Tensor:
    """Return the signal (v, angle, u) convolved with a Gaussian along v and u.

    The kernel is the discrete analogue exp(-t) I_n(t) with t = sigma^2 and modified Bessel functions I_n
    (Lindeberg, IEEE PAMI 12:234, 1990). Its variance is exactly sigma^2, even for a narrow kernel.

    Parameters
    ----------
    sigma : float
        Standard deviation [columns].
    aspect : float
        Height of a row over the width of a column: the kernel spans `sigma` / `aspect` rows.
    padding : "edge" or "zero"
        Signal beyond the detector: equal to the outermost pixels, or zero.
    """
    if sigma <= 0:
        return signal
    return _along(_along(signal, sigma / aspect, 0, padding), sigma, 2, padding)


def _along(signal: Tensor, sigma: float, axis: int, padding: str) -> Tensor:
    n = signal.shape[axis]
    if n == 1:  # one row of a wider detector
        return signal
    # the convolution as a matrix product, for wide and narrow kernels
    kernel = _kernel(sigma, n)
    index = torch.arange(n)
    matrix = kernel[(index[:, None] - index).abs()]
    if padding == "edge":
        # one-sided sum of the kernel beyond each distance
        beyond = ((1 + kernel[0]) / 2 - kernel.cumsum(0)).clamp(min=0)
        matrix[:, 0] += beyond
        matrix[:, -1] += beyond.flip(0)
    matrix = matrix.to(signal)
    if axis == 2:
        return signal @ matrix.T
    return torch.tensordot(matrix, signal, dims=1)


def _kernel(sigma: float, n: int) -> Tensor:
    """Kernel at the distances 0 to n - 1 [pixels]; the two-sided kernel sums to 1."""
    distance = np.arange(n, dtype=float)
    if sigma > WIDE:
        values = np.exp(-((distance / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
    else:
        values = ive(distance, sigma**2)
    return torch.from_numpy(values)


def focal_spot(views: Views, diameter: float) -> list[tuple[float, Views]]:
    """Return weights and views of the points of a focal spot: a uniform disc parallel to the detector.

    Seven points integrate polynomials of degree 5 over the disc exactly (Radon's rule). They suffice
    for a penumbra of up to two pixels. A wider penumbra gets points of equal weight on a spiral, one per
    square pixel, at most MOST_SOURCES. With a single detector row the points lie in the plane of the fan,
    because the height of the spot blurs only across rows.

    Raises
    ------
    ValueError
        If the beam is parallel.
    """
    if not views.cone:
        raise ValueError("a parallel beam has no focal spot; set its size to 0 or use a cone beam.")
    along_u, along_v = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (views.det_u, views.det_v))
    pixel = float(np.linalg.norm(views.det_u, axis=1).min())
    shadow = diameter * _shadow(views) / pixel
    weights, points = _disc(shadow)
    points = points * diameter / 2
    if views.det_shape[0] == 1:
        points[:, 1] = 0
    return [
        (float(w), replace(views, source=views.source + u * along_u + v * along_v))
        for w, (u, v) in zip(weights, points, strict=True)
    ]


def _shadow(views: Views) -> float:
    """Width of the penumbra on the detector over the diameter of the focal spot, for an edge on the axis."""
    to_detector = np.linalg.norm(views.det_pos[0] - views.source[0])
    to_axis = float(np.hypot(*views.source[0, 1:]))
    return max(float(to_detector) / to_axis - 1, 0.0)


def _disc(pixels: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights and points (n, 2) that sample the unit disc, for a penumbra of this width [pixels]."""
    if pixels <= 2:
        angle = np.arange(6) * np.pi / 3
        ring = math.sqrt(2 / 3) * np.stack([np.cos(angle), np.sin(angle)], 1)
        return np.array([1 / 4, *[1 / 8] * 6]), np.concatenate([np.zeros((1, 2)), ring])
    n = min(MOST_SOURCES, math.ceil(math.pi / 4 * max(pixels, 4) ** 2))
    i = np.arange(n)
    radius, turn = np.sqrt((i + 0.5) / n), i * math.pi * (3 - math.sqrt(5))
    return np.full(n, 1 / n), radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], 1)
