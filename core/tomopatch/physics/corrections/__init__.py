"""Corrections of measured projections, from detector counts to a `Measurement`."""

from tomopatch.physics.corrections.axis import Axis, estimate_axis
from tomopatch.physics.corrections.geometry import scan_geometry, suggested_grid
from tomopatch.physics.corrections.linear import LineIntegrals, line_integrals
from tomopatch.physics.corrections.pixels import repair_pixels
from tomopatch.physics.corrections.prepare import PreparedScan, prepare_projections
from tomopatch.physics.corrections.roll import Roll, correct_roll, estimate_roll
from tomopatch.physics.corrections.stripes import remove_stripes, stripe_amplitude

__all__ = [
    "Axis",
    "LineIntegrals",
    "PreparedScan",
    "Roll",
    "correct_roll",
    "estimate_axis",
    "estimate_roll",
    "line_integrals",
    "prepare_projections",
    "remove_stripes",
    "repair_pixels",
    "scan_geometry",
    "stripe_amplitude",
    "suggested_grid",
]
