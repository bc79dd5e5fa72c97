"""Quality of a reconstruction without a reference: predicted views, and the difference to another volume."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from tomopatch.analysis.metrics import MetricValue
from tomopatch.physics.measurement import Measurement
from tomopatch.projector import Projector
from tomopatch.volume import Volume


@dataclass(frozen=True)
class MeasuredQuality:
    """Figures of a reconstruction of a measured scan.

    Attributes
    ----------
    held_out_rmse : float or None
        Root mean square difference of predicted and measured line integrals; None without held-out views.
    held_out_relative : float or None
        The same, relative to the root mean square of the measured ones.
    difference_hu : float or None
        Root mean square difference to the reconstruction from all views [HU].
    """

    held_out_rmse: MetricValue | None = None
    held_out_relative: MetricValue | None = None
    difference_hu: MetricValue | None = None


def prediction_error(volume: Volume, measured: Measurement) -> tuple[float, float]:
    """RMS difference of predicted and measured line integrals, and the same relative to the measured RMS."""
    predicted = Projector(volume.geometry, measured.geometry)(volume.data)
    rmse = float((predicted - measured.projections).square().mean().sqrt())
    return rmse, rmse / max(float(measured.projections.square().mean().sqrt()), 1e-30)


def difference_hu(volume: Volume, other: Volume) -> float:
    """RMSE [HU] between two volumes within the inscribed cylinder of their grid."""
    vg = volume.geometry
    y, x = vg.axis(1)[:, None] - vg.pos[1], vg.axis(2)[None] - vg.pos[2]
    inside = torch.sqrt(y**2 + x**2) < min(vg.size[1:]) / 2
    return float((volume.hu - other.hu)[:, inside].square().mean().sqrt())
