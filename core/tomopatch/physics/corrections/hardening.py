"""Water correction of beam hardening: polychromatic line integrals become monochromatic."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from tomopatch.physics.effects import Tube
from tomopatch.physics.measurement import Measurement
from tomopatch.physics.source.spectrum import tube_spectrum
from tomopatch.physics.transmission.polychromatic import Beam
from tomopatch.volume import MU_WATER

LONGEST = 1000.0
"""Longest path through water in the table [mm]; longer ones are extrapolated linearly."""
NUM_POINTS = 1001


def water_curve(tube: Tube) -> tuple[np.ndarray, np.ndarray]:
    """Return polychromatic and monochromatic line integrals through water, each (thickness,).

    For a thin layer, both correspond to the attenuation MU_WATER.
    """
    beam = Beam(("water",), tube_spectrum(tube), tube.detector)
    thickness = torch.linspace(0, LONGEST, NUM_POINTS, dtype=torch.float64)
    signal = beam([thickness.view(1, 1, -1)], slice(None))[0].flatten()
    measured = -torch.log(signal.clamp(min=1e-300)) * beam.water_factor
    return measured.numpy(), (MU_WATER * thickness).numpy()


def linearise_water(measurement: Measurement, tube: Tube) -> Measurement:
    """Replace each line integral by the monochromatic one of the same water path. (Herman 1979, PMB 24, 81)

    This removes the cupping of water. Bone and metal harden the beam more than water does, so a part of their
    artefacts remains. The weights are divided by the squared slope of the curve. The curve holds for the
    central ray; a bowtie is ignored.
    """
    measured, ideal = water_curve(tube)
    slope = np.gradient(ideal, measured)
    y = measurement.projections.double().cpu().numpy()
    out = np.interp(y, measured, ideal)
    out = np.where(y > measured[-1], ideal[-1] + slope[-1] * (y - measured[-1]), out)
    out = np.where(y < 0, slope[0] * y, out)
    weights = measurement.weights
    if weights is not None:
        derivative = torch.from_numpy(np.interp(y, measured, slope)).to(weights)
        weights = weights / derivative.square()
    projections = torch.from_numpy(out).to(measurement.projections)
    return replace(measurement, projections=projections, weights=weights)
