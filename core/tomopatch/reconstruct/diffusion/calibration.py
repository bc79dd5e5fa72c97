"""Expected error of a reconstruction: the calibrated deviation of its samples.

All samples of one scan may be wrong in the same way, so their deviation is smaller than the error of their
mean. Two other quantities predict the error without the truth: it is large at edges, and everywhere larger
the less the scan measured. A calibration weights the three so that the errors of scans with known truth are
most likely (after Kendall and Gal 2017, heteroscedastic likelihood). It then scales the deviation, so that
the shares of errors within one and two deviations are as near to those of a normal distribution as one number
allows. It is stored in the prior's checkpoint, one for each mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from tomopatch.prior.denoiser import AIR

_LEAST = 1e-3  # smallest deviation: 1 HU
NORMAL = {1.0: 0.683, 2.0: 0.954}
"""Shares of normal errors within one and two deviations."""


@dataclass(frozen=True)
class Calibration:
    """Variance of the error = spread * s^2 + edges * |grad x|^2 + level * L^2; the last term not in air.

    x, s : mean and deviation of the samples; L : expected RMS error of the initial reconstruction; network
    space, differences per voxel. The default keeps the samples' deviation.
    """

    spread: float = 1.0
    edges: float = 0.0
    level: float = 0.0

    def __post_init__(self) -> None:
        weights = tuple(asdict(self).values())
        if not all(isinstance(w, int | float) and math.isfinite(w) and w >= 0 for w in weights):
            raise ValueError(
                f"a calibration needs three finite weights of at least 0, got {weights}; calibrate the prior"
                " again."
            )

    @classmethod
    def of(cls, info: dict[str, Any], mode: str) -> Calibration:
        """Calibration of a mode from a prior's checkpoint; without one, the samples' deviation is kept."""
        stored = (info.get("calibrations") or {}).get(mode) or {}
        try:
            return cls(**stored)
        except TypeError as error:
            raise ValueError(
                f"the prior's calibration is malformed ({error}); calibrate the prior again."
            ) from error

    def scaled(self, factor: float) -> Calibration:
        """The calibration with all deviations multiplied by a factor."""
        return Calibration(*(weight * factor**2 for weight in asdict(self).values()))

    def deviation(self, mean: Tensor, std: Tensor, expected_error: float) -> Tensor:
        """Expected error of each voxel of the mean (z, y, x), network space."""
        weights = mean.new_tensor([self.spread, self.edges, self.level])
        return torch.einsum("k,kzyx->zyx", weights, _parts(mean, std, expected_error)).sqrt()


@dataclass(frozen=True, eq=False)
class Known:
    """Case with known truth, network space: mean, deviation of samples, truth (z, y, x), expected error."""

    mean: Tensor
    std: Tensor
    truth: Tensor
    expected_error: float


def fit(cases: Sequence[Known], *, num_steps: int = 400) -> Calibration:
    """Calibration with the highest likelihood of the errors of all voxels that are not air, scaled.

    For the likelihood each error is normal with its own variance. Real errors have heavier tails, so the
    deviation is scaled afterwards: the larger difference to the shares NORMAL is least. Every case has the
    same weight.
    """
    parts, squares = [], []
    for case in cases:
        body = case.mean > AIR
        parts.append(_parts(case.mean, case.std, case.expected_error)[:, body])
        squares.append((case.mean - case.truth)[body].square())
    weights = torch.zeros(3, requires_grad=True)  # logarithms
    optimizer = torch.optim.Adam([weights], lr=0.05)
    for _ in range(num_steps):
        optimizer.zero_grad()
        loss = torch.zeros(())
        for part, square in zip(parts, squares, strict=True):
            variance = torch.einsum("k,kn->n", weights.exp(), part) + _LEAST**2
            loss = loss + (variance.log() + square / variance).mean()
        loss.backward()
        optimizer.step()
    found = Calibration(*weights.detach().exp().tolist())
    return found.scaled(_scale([_relative_errors(case, found) for case in cases]))


def _relative_errors(case: Known, calibration: Calibration) -> Tensor:
    """Absolute errors of the non-air voxels (n,) over their deviation."""
    deviation = calibration.deviation(case.mean, case.std, case.expected_error).clamp(min=_LEAST)
    return ((case.mean - case.truth).abs() / deviation)[case.mean > AIR]


def _scale(relative_errors: Sequence[Tensor]) -> float:
    """Factor of the deviation for which the larger difference to the shares NORMAL is least."""

    def departure(scale: float) -> float:
        return max(
            abs(
                float(torch.stack([(z <= reach * scale).float().mean() for z in relative_errors]).mean())
                - share
            )
            for reach, share in NORMAL.items()
        )

    return min((k / 100 for k in range(50, 151)), key=departure)


def interval_coverage(cases: Sequence[Known], calibration: Calibration, *, reach: float = 1.0) -> float:
    """Share of non-air voxels with an error within `reach` deviations; if normal 0.68 for 1, 0.95 for 2."""
    within = [(_relative_errors(case, calibration) <= reach).float().mean() for case in cases]
    return float(torch.stack(within).mean())


def _parts(mean: Tensor, std: Tensor, expected_error: float) -> Tensor:
    """The three terms of the variance (3, z, y, x)."""
    steep = torch.zeros_like(mean)
    for axis, n in enumerate(mean.shape):
        index = torch.arange(n, device=mean.device)
        after, before = (mean.index_select(axis, (index + step).clamp(0, n - 1)) for step in (1, -1))
        steep += ((after - before) / 2).square()
    return torch.stack([std.square(), steep, expected_error**2 * (mean > AIR)])
