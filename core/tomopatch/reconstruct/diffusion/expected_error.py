"""Expected error of a total-variation reconstruction, from the measurement alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.projector import Projector
from tomopatch.volume import Triple

ERROR_RANGE = (0.01, 0.4)
"""Expected errors are clipped to this range, network units (1000 HU): the range of the training pairs."""


@dataclass(frozen=True)
class ScanFigures:
    """Figures of a scan that determine the difficulty of its reconstruction.

    Attributes
    ----------
    sampling_ratio : see `sampling_ratio`
    angular_range : range of the views' angles over half a turn, at most 1
    photon_noise : RMS photon noise of the line integrals over their mean; 0 = none
    """

    sampling_ratio: float
    angular_range: float
    photon_noise: float

    @classmethod
    def of(cls, A: Projector, y: Tensor, weights: Tensor | None) -> ScanFigures:
        """Figures of the measurement y (v, angle, u) with inverse variances; None = no photon noise."""
        noise = 0.0
        if weights is not None:
            noise = float((1 / weights.mean()).sqrt() / y.mean().clamp(min=1e-6))
        return cls(sampling_ratio(A), angular_range(A), noise)


def sampling_ratio(A: Projector) -> float:
    """Views over the number that resolves the grid: pi/2 times the voxels across (Kak & Slaney, sec. 5.1).

    A full scan (`full_scan_views`), the unit of dose, resolves the detector instead of the grid.
    """
    return A.pg.num_views / (math.pi / 2 * max(A.vg.shape[1:]))


def angular_range(A: Projector) -> float:
    """Range of the views' angles over half a turn, at most 1."""
    views = A.pg.num_views
    if not isinstance(A.pg, ParallelBeam | ConeBeam) or views < 2:
        return 1.0
    return min(1.0, float(np.ptp(np.asarray(A.pg.angles))) * views / (views - 1) / math.pi)


INTERCEPT, RATIO, RANGE, VOXEL, NOISE = -4.22, -0.38, -1.53, 0.42, 34.0
"""Fitted to 91 simulated scans of training volumes; the log of the error deviates from the model by 0.27."""


def expected_error(figures: ScanFigures, voxel_size: Triple) -> float:
    """Expected RMS error of a total-variation reconstruction, network units (1000 HU).

    A log-linear model in the figures and the in-plane voxel size [mm].
    """
    log_error = (
        INTERCEPT
        + RATIO * math.log(min(1.0, figures.sampling_ratio))
        + RANGE * math.log(max(0.05, figures.angular_range))
        + VOXEL * math.log(voxel_size[2])
        + NOISE * figures.photon_noise
    )
    return min(max(math.exp(min(log_error, 0.0)), ERROR_RANGE[0]), ERROR_RANGE[1])
