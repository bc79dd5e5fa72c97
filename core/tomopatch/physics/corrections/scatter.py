"""Scatter: a constant per view is subtracted from the signal."""

from __future__ import annotations

from dataclasses import replace

import torch

from tomopatch.physics.measurement import Measurement

SMALLEST_SHARE = 0.02
"""At least this share of a pixel's signal counts as primary, so that the logarithm stays finite."""


def subtract_scatter(measurement: Measurement, ratio: float, *, water_factor: float = 1.0) -> Measurement:
    """Subtract the same scatter from all pixels of a view.

    Scatter changes slowly over the detector. Its sum is `ratio` times that of the primary signal; it is
    spread evenly. (Glover 1982, Med. Phys. 9, 860)

    Parameters
    ----------
    ratio : float
        Scatter over primary signal of a view, at least 0.
    water_factor : float
        Factor of the line integrals that gave water MU_WATER (see `tomopatch.physics.polychromatic`).

    Raises
    ------
    ValueError
        For a negative ratio.
    """
    if not ratio >= 0:
        raise ValueError(f"the ratio of scatter to primary must be at least 0, got {ratio}.")
    signal = torch.exp(-measurement.projections.double() / water_factor)
    scatter = ratio / (1 + ratio) * signal.mean((0, 2), keepdim=True)
    primary = torch.maximum(signal - scatter, SMALLEST_SHARE * signal)
    weights = measurement.weights
    if weights is not None:
        weights = weights * (primary / signal).square().to(weights)
    y = (-water_factor * torch.log(primary)).to(measurement.projections)
    return replace(measurement, projections=y, weights=weights)
