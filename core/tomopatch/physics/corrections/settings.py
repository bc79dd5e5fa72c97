"""Corrections of a simulated scan, as a record, and their application in order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.physics.corrections.axis import estimate_axis
from tomopatch.physics.corrections.hardening import linearise_water
from tomopatch.physics.corrections.metal import reduce_metal
from tomopatch.physics.corrections.pixels import repair_pixels
from tomopatch.physics.corrections.roll import correct_roll, estimate_roll
from tomopatch.physics.corrections.scatter import subtract_scatter
from tomopatch.physics.corrections.stripes import remove_stripes, stripe_amplitude
from tomopatch.physics.detector.faults import pixels_of
from tomopatch.physics.effects import Effects
from tomopatch.physics.measurement import Measurement
from tomopatch.physics.transmission.polychromatic import beam_of
from tomopatch.projector import Projector
from tomopatch.schema import Flag, record
from tomopatch.volume import Volume


@record
class Corrections:
    """Corrections before the reconstruction; none by default.

    Attributes
    ----------
    pixels : bool
        Interpolate dead pixels, which are known from the flat field.
    scatter : bool
        Subtract an estimate of the scatter, with the ratio and kernel of the effect.
    hardening : bool
        Linearise the beam hardening of water for the tube's spectrum.
    stripes : bool
        Remove stripes of the sinogram, which become rings.
    roll : bool
        Estimate the roll of the detector, and rotate the projections back; parallel beam only.
    axis : bool
        Estimate the rotation axis, and use it in the reconstruction.
    metal : "none", "LI" or "NMAR"
        Interpolate the rays through metal; NMAR does so in a normalised sinogram.
    """

    pixels: Flag = False
    scatter: Flag = False
    hardening: Flag = False
    stripes: Flag = False
    roll: Flag = False
    axis: Flag = False
    metal: Literal["none", "LI", "NMAR"] = "none"


@dataclass(frozen=True, eq=False)
class Corrected:
    """A corrected measurement.

    Attributes
    ----------
    measurement : Measurement
        Its geometry differs from the assumed one if the axis was estimated.
    figures : dict
        Numeric results: `stripes_before`, `stripes_after`, `roll_degrees`, `axis_offset_mm`,
        `metal_share`.
    """

    measurement: Measurement
    figures: dict[str, float]


def correct(
    measurement: Measurement,
    A: Projector,
    corrections: Corrections,
    effects: Effects,
    reconstruct: Callable[[Projector, Measurement], Volume],
) -> Corrected:
    """Apply corrections: dead pixels, scatter, hardening, stripes, roll, axis, metal.

    Parameters
    ----------
    A : Projector
        With the geometry that the reconstruction assumes.
    effects : Effects
        Source of calibration data: spectrum, ratio and kernel of the scatter, dead pixels.
    reconstruct : f(A, measurement) -> Volume
        Reconstruction of the images in which metal is segmented.

    Raises
    ------
    ValueError
        If a correction does not suit the scan.
    """
    figures: dict[str, float] = {}
    tube = effects.tube
    factor: float | Tensor = 1.0
    unattenuated = None
    if tube is not None:
        beam = beam_of(tube, ("water",), measurement.geometry.views())
        factor, unattenuated = beam.water_factor, beam.unattenuated
    if corrections.pixels and effects.faults is not None:
        v, _, u = measurement.projections.shape
        measurement = _repaired(measurement, pixels_of(effects.faults, (v, u)).dead.numpy())
    if corrections.scatter and effects.scatter is not None:
        measurement = subtract_scatter(
            measurement, effects.scatter, water_factor=factor, unattenuated=unattenuated
        )
    if corrections.hardening and tube is not None:
        measurement = linearise_water(measurement, tube)
    if corrections.stripes:
        y = measurement.projections.cpu().numpy()
        cleaned = remove_stripes(y)
        figures |= {"stripes_before": stripe_amplitude(y), "stripes_after": stripe_amplitude(cleaned)}
        measurement = replace(measurement, projections=torch.from_numpy(cleaned).to(measurement.projections))
    if corrections.roll:
        measurement, figures["roll_degrees"] = _without_roll(measurement)
    if corrections.axis:
        measurement, figures["axis_offset_mm"] = _on_axis(measurement)
    if corrections.metal != "none":
        on_axis = Projector(A.vg, measurement.geometry, A.backend)
        measurement, figures["metal_share"] = reduce_metal(
            measurement, on_axis, lambda m: reconstruct(on_axis, m), normalised=corrections.metal == "NMAR"
        )
    return Corrected(measurement, figures)


def _repaired(measurement: Measurement, dead: np.ndarray) -> Measurement:
    """Interpolate dead pixels (v, u); their weight is 0."""
    y = measurement.projections.cpu().numpy().copy()
    y.transpose(0, 2, 1)[dead] = np.nan
    repaired, _ = repair_pixels(y)
    weights = measurement.weights
    if weights is not None:
        weights = weights.clone()
        weights.transpose(1, 2)[torch.from_numpy(dead)] = 0
    return replace(
        measurement, projections=torch.from_numpy(repaired).to(measurement.projections), weights=weights
    )


def _without_roll(measurement: Measurement) -> tuple[Measurement, float]:
    """The measurement without the estimated roll of the detector, and the roll [degrees]."""
    pg = measurement.geometry
    if not isinstance(pg, ParallelBeam):
        raise ValueError("the roll can be estimated for a parallel beam only; switch its correction off.")
    y, weights = measurement.projections, measurement.weights
    # a rolled detector sees past the ends of the volume, which shifts the centre of mass of the outer rows
    quarter = pg.det_shape[0] // 4
    inner = replace(pg, det_shape=(pg.det_shape[0] - 2 * quarter, pg.det_shape[1]))
    angle = estimate_roll(y[quarter : pg.det_shape[0] - quarter].cpu().numpy(), inner).angle

    def turned(values: Tensor) -> Tensor:
        return torch.from_numpy(correct_roll(values.cpu().numpy(), angle, pg.pixel_size)).to(values)

    if weights is not None:
        weights = turned(weights).clamp(min=0)  # splines overshoot
    return replace(measurement, projections=turned(y), weights=weights), math.degrees(angle)


def _on_axis(measurement: Measurement) -> tuple[Measurement, float]:
    """The measurement with the estimated axis in its geometry, and the change of the detector shift [mm]."""
    pg = measurement.geometry
    if not isinstance(pg, ParallelBeam | ConeBeam):
        raise ValueError("the axis can be estimated for parallel and cone beams only, not for general views.")
    column = estimate_axis(measurement.projections.cpu().numpy(), pg).column
    offset = ((pg.det_shape[1] - 1) / 2 - column) * pg.pixel_size[1]
    change = offset - pg.det_offset[1]
    return replace(measurement, geometry=replace(pg, det_offset=(pg.det_offset[0], offset))), change
