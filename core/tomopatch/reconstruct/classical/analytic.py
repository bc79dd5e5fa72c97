"""Analytic reconstruction: filtered backprojection (parallel) and Feldkamp-Davis-Kress (cone)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.progress import Step
from tomopatch.projector import Projector
from tomopatch.reconstruct.classical.backprojection import backproject
from tomopatch.reconstruct.classical.redundancy import angular_weights, detector_axes, redundancy_weights
from tomopatch.volume import MU_WATER

Beam = TypeVar("Beam", ParallelBeam, ConeBeam)

EDGE = 5
"""Number of columns to which the extrapolation is fitted; fewer columns would extrapolate their noise."""

FILTERS: dict[str, Callable[[Tensor], Tensor]] = {  # windows over frequency, 0 to 1 = Nyquist
    "ram-lak": torch.ones_like,
    "shepp-logan": lambda f: torch.sinc(f / 2),
    "cosine": lambda f: torch.cos(math.pi / 2 * f),
    "hamming": lambda f: 0.54 + 0.46 * torch.cos(math.pi * f),
    "hann": lambda f: 0.5 + 0.5 * torch.cos(math.pi * f),
    # undoes the ramp: plain backprojection, scaled to agree at the lowest frequency
    "none": lambda f: f[1] / f.clamp(min=float(f[1])),
}


def fbp(A: Projector, y: Tensor, *, filter: str = "ram-lak", extrapolate: bool = False) -> Iterator[Step]:
    """Filtered backprojection of parallel projections over any range of angles. (Kak & Slaney, sec. 3.3)

    Missing angles are taken as zero: a limited angle darkens and smears the image, without correction. For a
    detector that is shifted sideways, opposite views complete each other (see `redundancy_weights`).

    Parameters
    ----------
    y : Tensor (v, angle, u)
        Line integrals.
    filter : str
        A name in FILTERS: the window on the ramp.
    extrapolate : bool
        Extrapolate the projections of a truncated object beyond the detector (see `extrapolated`).
    """
    pg = A.pg
    if not isinstance(pg, ParallelBeam) or pg.tilt:
        raise ValueError("fbp needs a parallel beam without tilt; use fdk for a cone, or sirt, cgls or tv.")
    _check_columns(pg)
    if extrapolate:
        y, pg = extrapolated(y, pg)
    if pg.det_offset[1]:
        angles = torch.from_numpy(angular_weights(pg.angles, 2 * math.pi)).to(y)
        y, pg = _mirrored(y * redundancy_weights(pg).to(y) * angles[:, None], pg)
    else:  # opposite views see the same rays
        y = y * torch.from_numpy(angular_weights(pg.angles, math.pi)).to(y)[:, None]
    yield Step(1, 1, backproject(ramp_filter(y, pg.pixel_size[1], filter), A.vg, pg.views()))


def fdk(A: Projector, y: Tensor, *, filter: str = "ram-lak", extrapolate: bool = False) -> Iterator[Step]:
    """Feldkamp-Davis-Kress for a circular cone-beam or fan-beam scan. (J. Opt. Soc. Am. A 1(6), 1984)

    Rays that are measured twice share their weight smoothly (see `redundancy_weights`), which covers full,
    short and limited scans and detectors shifted sideways.

    Parameters
    ----------
    y : Tensor (v, angle, u)
        Line integrals.
    filter : str
        A name in FILTERS: the window on the ramp.
    extrapolate : bool
        Extrapolate the projections of a truncated object beyond the detector (see `extrapolated`).
    """
    pg = A.pg
    if not isinstance(pg, ConeBeam) or pg.tilt or pg.pitch:
        raise ValueError(
            "fdk needs a circular cone beam (no pitch, no tilt); use sirt, cgls or tv for this scan."
        )
    _check_columns(pg)
    if extrapolate:
        y, pg = extrapolated(y, pg)
    v, u = detector_axes(pg)
    cosine = pg.src_det_dist / torch.sqrt(pg.src_det_dist**2 + u**2 + v[:, None] ** 2)
    angles = torch.from_numpy(angular_weights(pg.angles, 2 * math.pi)).to(y)
    weighted = y * cosine[:, None, :].to(y) * redundancy_weights(pg).to(y) * angles[:, None]
    # the ramp acts on an imaginary detector on the rotation axis
    pixel = pg.pixel_size[1] * pg.src_orig_dist / pg.src_det_dist
    weighted, pg = _mirrored(weighted, pg)
    yield Step(1, 1, backproject(ramp_filter(weighted, pixel, filter), A.vg, pg.views()))


def ramp_filter(y: Tensor, pixel_size: float, filter: str = "ram-lak") -> Tensor:
    """Convolve the detector rows (last axis) with the windowed ramp; `pixel_size` [mm].

    The ramp is made from its band-limited impulse response, so that the mean is preserved.
    (Kak & Slaney, eq. 3.61)
    """
    if filter not in FILTERS:
        raise ValueError(f"unknown filter {filter!r}; known are {sorted(FILTERS)}.")
    num = y.shape[-1]
    length = 2 ** math.ceil(math.log2(2 * num))
    k = torch.arange(length, dtype=torch.float64)
    k = torch.minimum(k, length - k)
    impulse = torch.where(k % 2 == 1, -1 / (math.pi * k.clamp(min=1)) ** 2, 0.0)
    impulse[0] = 0.25
    ramp = torch.fft.rfft(impulse).real / pixel_size
    window = FILTERS[filter](torch.linspace(0, 1, length // 2 + 1, dtype=torch.float64))
    out = torch.empty_like(y)
    for row in range(y.shape[0]):  # row by row: one transform of all rows would need four times y
        spectrum = torch.fft.rfft(y[row], length)
        out[row] = torch.fft.irfft(spectrum * (ramp * window).to(y), length)[..., :num]
    return out


def extrapolated(y: Tensor, pg: Beam) -> tuple[Tensor, Beam]:
    """Extrapolate the rows of a truncated object by half of the detector width on both sides.

    At each end of a row a cylinder of water is fitted to the value and the slope; its projection continues
    the row to the edge of the cylinder. Without this, the truncation causes a bright rim. (Hsieh et al.
    2004, Med. Phys. 31, 2385)

    Parameters
    ----------
    y : Tensor (v, angle, u)
        Line integrals.

    Raises
    ------
    ValueError
        If the detector is shifted along u, because its rows are not truncated on both sides.
    """
    if pg.det_offset[1]:
        raise ValueError(
            "extrapolation needs a detector that is centred on the axis; this one is shifted by"
            f" {pg.det_offset[1]:g} mm; switch it off."
        )
    v, num = pg.det_shape
    extra = math.ceil(num / 2)
    magnification = pg.src_det_dist / pg.src_orig_dist if isinstance(pg, ConeBeam) else 1.0
    pixel = pg.pixel_size[1] / magnification
    right = _beyond(y, pixel, extra)
    left = _beyond(y.flip(2), pixel, extra).flip(2)
    return torch.cat([left, y, right], 2), replace(pg, det_shape=(v, num + 2 * extra))


def _beyond(y: Tensor, pixel: float, count: int) -> Tensor:
    """Extrapolate rows (..., u) to the right by `count` values; `pixel` [mm] is the size at the axis."""
    edge = min(EDGE, y.shape[-1])
    last = y[..., -edge:].double()
    x = pixel * (torch.arange(edge, dtype=torch.float64) - edge + 1)
    slope = ((last - last.mean(-1, keepdim=True)) * (x - x.mean())).sum(-1) / (x - x.mean()).square().sum()
    value = (last.mean(-1) - slope * x.mean()).clamp(min=0)
    # p(x) = 2 mu sqrt(R^2 - x^2), so p p' = -4 mu^2 x; a row that rises outwards ends at the cylinder axis
    place = (-value * slope / (4 * MU_WATER**2)).clamp(min=0)
    radius = (value.square() / (4 * MU_WATER**2) + place.square()).sqrt()
    beyond = place[..., None] + pixel * (torch.arange(count, dtype=torch.float64) + 1)
    return (2 * MU_WATER * (radius[..., None] ** 2 - beyond**2).clamp(min=0).sqrt()).to(y)


def _check_columns(pg: ParallelBeam | ConeBeam) -> None:
    if pg.det_shape[1] < 2:
        raise ValueError(
            "the detector has a single column; FBP and FDK filter along the rows and need at least 2; use"
            " sirt, cgls or tv."
        )


def _mirrored(y: Tensor, pg: Beam) -> tuple[Tensor, Beam]:
    """Projections extended by zeros until the detector reaches equally far on both sides of the axis.

    The ramp spreads the values of a shifted detector beyond its near edge, where the voxels need them.
    """
    v, u = pg.det_shape
    extra = round(2 * abs(pg.det_offset[1]) / pg.pixel_size[1])
    if extra == 0:
        return y, pg
    side = (extra, 0) if pg.det_offset[1] > 0 else (0, extra)
    offset = pg.det_offset[1] - math.copysign(extra * pg.pixel_size[1] / 2, pg.det_offset[1])
    wider = replace(pg, det_shape=(v, u + extra), det_offset=(pg.det_offset[0], offset))
    return torch.nn.functional.pad(y, side), wider
