"""Line integrals from measured projections: dark and flat frames, and the logarithm."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tomopatch.io.projections import Projections
from tomopatch.notes import note

GAIN_FRAMES = 5
"""Least number of flat frames for an estimate of the photons per count; fewer give no reliable variance."""


class LineIntegrals(NamedTuple):
    """Line integrals of measured projections.

    Attributes
    ----------
    y : float32 array (v, angle, u)
        Line integrals [dimensionless]; NaN where a pixel has no value. Intensities keep their unit.
    weights : float32 array (v, angle, u) or None
        Inverse variances, if counts were measured.
    photon_count : float or None
        Mean number of photons per ray without object, if counts were measured.
    num_raised : int
        Number of zero and negative transmissions that were replaced before the logarithm.
    """

    y: np.ndarray
    weights: np.ndarray | None
    photon_count: float | None
    num_raised: int


def line_integrals(projections: Projections) -> LineIntegrals:
    """Return the line integrals of measured projections and their inverse variances.

    Counts: y = -log((p - dark) / (flat - dark)) with the means over the frames. (Kak & Slaney, sec. 4.1) A
    pixel whose flat frame is not above its dark frame has no value. Zero and negative transmissions, which
    have no logarithm, are replaced by half of the smallest positive transmission of the scan. To first order
    the variance of y is p / (g (p - dark)^2) plus the same term of the flat frames, with g photons per count;
    see `photons_per_count`.

    Raises
    ------
    ValueError
        If the counts have neither flat frames nor a white level, or no value is above zero.
    """
    p = projections
    if p.quantity == "line_integrals":
        return LineIntegrals(_finite_or_nan(p.data), None, None, 0)
    if p.quantity == "intensity":
        dark = _mean(p.dark)
        return LineIntegrals(_finite_or_nan(p.data - (p.background if dark is None else dark)), None, None, 0)
    if p.quantity == "transmission":
        y, raised = _logarithm(p.data / (1.0 if p.white is None else p.white), p.name)
        return LineIntegrals(y, None, None, raised)
    flat = _mean(p.flat)
    if flat is None and p.white is None:
        raise ValueError(
            f"{p.name} holds counts without flat frames; give a white_level (counts without object) in a"
            " geometry file."
        )
    dark_mean = _mean(p.dark)
    dark = np.full((1, 1, 1), p.background, np.float32) if dark_mean is None else dark_mean
    flat = np.full((1, 1, 1), p.white, np.float32) if flat is None else flat
    open_beam = np.broadcast_to(flat - dark, (p.data.shape[0], 1, p.data.shape[2]))
    open_beam = np.where(np.isfinite(open_beam) & (open_beam > 0), open_beam, np.float32(np.nan))
    y, raised = _logarithm((p.data - dark) / open_beam, p.name)
    g = photons_per_count(p)
    signal = open_beam * np.exp(-y)  # p - dark, after zero and negative values are replaced
    variance = (signal + dark) / (g * signal**2)
    if p.flat is not None:
        variance += (open_beam + dark) / (g * len(p.flat) * open_beam**2)
    weights = np.nan_to_num(1 / variance, nan=0.0, posinf=0.0).astype(np.float32)
    return LineIntegrals(y, weights, float(np.nanmean(open_beam)) * g, raised)


def photons_per_count(projections: Projections) -> float:
    """Photons per detector count, mean / variance of the flat frames; 1 with fewer than GAIN_FRAMES.

    Each frame is scaled to the mean of all frames, so that drift of the beam does not count as noise. (Photon
    transfer, Janesick 2007, sec. 4) Charge sharing between pixels makes the estimate too high.
    """
    p = projections
    if p.flat is None or len(p.flat) < GAIN_FRAMES:
        return 1.0
    dark = _mean(p.dark)
    frames = np.asarray(p.flat, np.float64) - (0.0 if dark is None else dark.transpose(1, 0, 2))
    with np.errstate(all="ignore"):
        levels = np.nanmean(frames, axis=(1, 2), keepdims=True)
        frames = frames * (np.nanmean(levels) / levels)
        ratio = frames.mean(0) / frames.var(0, ddof=1)
    ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
    return float(np.median(ratio)) if ratio.size else 1.0


def _mean(frames: np.ndarray | None) -> np.ndarray | None:
    """Mean over frames (frame, v, u), as (v, 1, u)."""
    return None if frames is None else frames.mean(0, dtype=np.float64).astype(np.float32)[:, None]


def _finite_or_nan(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.float32(np.nan)).astype(np.float32)


def _logarithm(transmission: np.ndarray, name: str) -> tuple[np.ndarray, int]:
    """-log(transmission), and the number of zero and negative values that were replaced; NaN stays."""
    transmission = _finite_or_nan(transmission)
    positive = transmission[transmission > 0]
    if not positive.size:
        raise ValueError(
            f"{name} has no transmission above zero; expected some signal behind the object; check the dark"
            " and flat levels."
        )
    floor = positive.min() / 2
    low = transmission <= 0
    raised = int(low.sum())
    if raised:
        transmission[low] = floor
        note(
            f"{name}: {raised} of {transmission.size} values have a transmission of zero or less; they were"
            f" replaced by {floor:.3g} before the logarithm.",
            stacklevel=3,
        )
    return -np.log(transmission), raised
