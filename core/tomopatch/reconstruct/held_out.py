"""Quality of a reconstruction without a reference: predicted views, and the difference to another volume."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from tomopatch.analysis.metrics import MetricValue
from tomopatch.physics.measurement import Measurement
from tomopatch.projector import Projector
from tomopatch.reconstruct.run import Result
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


def supported_share(initial: Volume, volume: Volume, held_out: Measurement) -> float:
    """Share, 0 to 1, of the change from `initial` to `volume` that predicts held-out views best."""
    A = Projector(volume.geometry, held_out.geometry)
    start = A(initial.data)
    change, missing = A(volume.data) - start, held_out.projections - start
    share = float((change * missing).sum() / change.square().sum().clamp(min=1e-30))
    return min(1.0, max(0.0, share))


def supported(result: Result, held_out: Measurement | None) -> Result:
    """Take back what a prior changed against the evidence of views that it has not seen.

    The result lies on the line from the initial reconstruction to the volume, where it predicts the held-out
    views best. It therefore never predicts these views worse than the initial reconstruction. The expected
    error of the voxels is not changed. Results of other methods are returned unchanged.
    """
    if held_out is None or result.initial is None or result.plan is None:
        return result
    share = supported_share(result.initial, result.volume, held_out)
    if share > 0.99:
        return result
    remark = (
        f"The held-out views support {100 * share:.0f} % of what the prior changed; only this share of the"
        " change was kept."
    )
    data = torch.lerp(result.initial.data, result.volume.data, share)
    plan = replace(result.plan, remarks=(*result.plan.remarks, remark))
    return replace(result, volume=Volume(data, result.volume.geometry, result.volume.name), plan=plan)
