"""Data consistency: correction of the prior's estimates towards the measurement."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from tomopatch.prior.denoiser import PatchPrior
from tomopatch.projector import Projector
from tomopatch.reconstruct.classical.iterative import relative_weights
from tomopatch.reconstruct.diffusion.tuned import (
    CG_TOLERANCE,
    MAX_CG,
    POSTERIOR_MISMATCH,
    RESTORE_CG,
    RESTORED_ERROR,
)
from tomopatch.volume import MU_WATER


class DataConsistency:
    """correct(denoised, sigma) for `sample`.

    argmin_x |A x - y|^2 / variance + |x - denoised|^2 / error(sigma)^2 by conjugate gradients from the
    denoised estimate. If both errors are Gaussian, this is the posterior mean given the denoised estimate and
    the measurement.

    Parameters
    ----------
    y : Tensor (v, angle, u)
        Line integrals.
    variance : Tensor (v, angle, u)
        Variance of each line integral. See `photon_and_grid_variance` and `fitted_variance`.
    error : f(sigma) -> float
        Expected RMS error of the denoised estimate, network units.
    max_iterations, tolerance
        Conjugate gradients stop after `max_iterations`, or when the residual of the normal equations has
        fallen to this share of the first one.

    Attributes
    ----------
    residual : float
        |A x - y| of the last denoised estimate.
    """

    def __init__(
        self,
        A: Projector,
        y: Tensor,
        *,
        variance: Tensor,
        error: Callable[[float], float],
        max_iterations: int,
        tolerance: float = 0.0,
    ) -> None:
        self.A, self.y, self.error = A, y, error
        self.max_iterations, self.tolerance = max_iterations, tolerance
        self.scale = float(variance.mean())
        self.W = self.scale / variance  # of order 1, so that nothing below overflows
        self.residual = math.nan

    def __call__(self, denoised: Tensor, sigma: float) -> Tensor:
        """The corrected estimate, network space."""
        x0 = PatchPrior.from_network(denoised)
        misfit = self.y - self.A(x0)
        self.residual = float(torch.linalg.vector_norm(misfit))
        return PatchPrior.to_network(x0 + self._change(misfit, sigma))

    def pull_back(self, gradient: Tensor, sigma: float) -> Tensor:
        """Gradient of a loss by the denoised estimate (z, y, x), given that by the corrected one.

        The solution of the normal equations is affine in the estimate, with a symmetric matrix. It takes the
        same conjugate gradients; where they stop early, the gradient is approximate.
        """
        return gradient + self._change(-self.A(gradient), sigma)

    def _change(self, misfit: Tensor, sigma: float) -> Tensor:
        """Change (z, y, x) of an estimate with this misfit (v, angle, u)."""
        A, W = self.A, self.W
        gamma = self.scale / (MU_WATER * self.error(sigma)) ** 2
        r = A.T(W * misfit)
        d, rr = r.clone(), float(r.flatten() @ r.flatten())
        x, enough = torch.zeros_like(r), self.tolerance**2 * rr
        for _ in range(self.max_iterations):
            if rr <= enough:
                break
            q = A.T(W * A(d)) + gamma * d
            curvature = float(d.flatten() @ q.flatten())
            if not curvature > 0:  # below float32 precision: nothing is left to correct
                break
            step = rr / curvature
            x.add_(d, alpha=step)
            r.sub_(q, alpha=step)
            rr, before = float(r.flatten() @ r.flatten()), rr
            d = r + d * (rr / before)
        return x


def restoration_consistency(
    A: Projector,
    y: Tensor,
    weights: Tensor | None,
    x: Tensor,
    *,
    data_weight: float = 1.0,
    relative_error: float = RESTORED_ERROR,
) -> DataConsistency:
    """Data consistency for the restoration of x [1/mm]: the misfit of x counts as the noise of the rays.

    relative_error : expected error of a restored estimate over its noise level, which is deliberately high.
    """
    variance = fitted_variance(A, y, weights, x) / data_weight
    error = partial(_restored_error, relative=relative_error)
    return DataConsistency(A, y, variance=variance, error=error, max_iterations=RESTORE_CG)


def posterior_consistency(
    A: Projector, y: Tensor, weights: Tensor | None, *, spread: float, data_weight: float = 1.0
) -> DataConsistency:
    """Data consistency for posterior sampling: the noise model of the measurement, solved to a tolerance.

    spread : float
        RMS error of the condition, or the deviation of the data without one; network units.
    """
    variance = photon_and_grid_variance(y, weights, POSTERIOR_MISMATCH) / data_weight
    error = partial(_posterior_error, spread=spread)
    return DataConsistency(
        A, y, variance=variance, error=error, max_iterations=MAX_CG, tolerance=CG_TOLERANCE
    )


def _restored_error(sigma: float, relative: float) -> float:
    """Expected error of a restored estimate, network units."""
    return relative * sigma / math.sqrt(1 + sigma**2)


def _posterior_error(sigma: float, spread: float) -> float:
    """c_out: the error of the Gaussian model's posterior mean given x and c."""
    return sigma * spread / math.sqrt(sigma**2 + spread**2)


def photon_and_grid_variance(y: Tensor, weights: Tensor | None, mismatch: float) -> Tensor:
    """Variance of the line integrals (v, angle, u): photon noise and discretisation error.

    weights : Tensor or None
        Inverse variances of the photon noise; None = no noise.
    mismatch : float
        Standard deviation of the discretisation error, relative to the mean line integral.
    """
    grid = (mismatch * y.abs().mean()).square().clamp(min=1e-12)
    return grid.expand(y.shape) if weights is None else grid + 1 / weights.clamp(min=1e-12)


def fitted_variance(A: Projector, y: Tensor, weights: Tensor | None, x: Tensor) -> Tensor:
    """Variance of the line integrals (v, angle, u) that matches the misfit of a reconstruction x [1/mm].

    It covers both photon noise and discretisation error. Its distribution over the rays is that of the
    weights.
    """
    W = relative_weights(y, weights)
    misfit = float((W * (A(x) - y).square()).mean())
    photons = 0.0 if weights is None else 1 / float(weights.mean())
    return max(misfit, photons, 1e-12) / W
