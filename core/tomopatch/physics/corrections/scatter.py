"""Scatter correction: the smooth scattered signal is estimated from the measurement and subtracted."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from tomopatch.physics.effects import Scatter
from tomopatch.physics.measurement import Measurement
from tomopatch.physics.transmission.scatter import scattered

SMALLEST_SHARE = 0.1
"""At least this share of a pixel's signal counts as primary, so that the logarithm stays finite."""
NUM_ITERATIONS = 6
"""Each iteration reduces the error of the estimate by a factor of about the scatter ratio."""


def subtract_scatter(
    measurement: Measurement,
    scatter: Scatter,
    *,
    water_factor: float | Tensor = 1.0,
    unattenuated: Tensor | None = None,
) -> Measurement:
    """Estimate the scatter of each view and subtract it.

    Each iteration applies the ratio-and-blur model of `tomopatch.physics.transmission.scatter` to the current
    estimate of the primary signal and subtracts the result from the measured signal. Ratio and kernel do not
    depend on the object. (Ohnesorge, Flohr, Klingenbeck-Regn 1999, Eur. Radiol. 9, 563)

    Parameters
    ----------
    scatter : Scatter
        Ratio and kernel from a calibration of the scanner.
    water_factor : float or Tensor (1, angle, u)
        Factor that the line integrals were multiplied by; see
        `tomopatch.physics.transmission.polychromatic`.
    unattenuated : Tensor or None
        The signal without an object, which broadcasts to (v, angle, u); None = 1.
    """
    open_beam = torch.ones(()) if unattenuated is None else unattenuated
    signal = open_beam * torch.exp(-measurement.projections / water_factor)
    primary = signal
    for _ in range(NUM_ITERATIONS):
        scatter_now = scattered(primary, scatter, unattenuated)
        primary = torch.maximum(signal - scatter_now, SMALLEST_SHARE * signal)
    weights = measurement.weights
    if weights is not None:
        weights = weights * (primary / signal).square()
    projections = -water_factor * torch.log(primary / open_beam)
    return replace(measurement, projections=projections, weights=weights)
