"""Data consistency: what bends the prior's estimates towards the measurement."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from core.prior.denoiser import PatchPrior
from core.projector import Projector
from core.reconstruct.iterative import relative_weights
from core.volume import MU_WATER


class DataConsistency:
    """correct(denoised, sigma) for `sample`: pulls an estimate towards the measurement.

    argmin_x 1/2 |W^(1/2) (A x - y)|^2 / noise^2 + 1/2 |x - denoised|^2 / error(sigma)^2 by conjugate gradients from
    the denoised estimate. W has mean 1. `noise` is what a ray is off by: photons, and the difference between an
    object and its voxels, which is the larger part of a clean measurement; the warm start's own misfit holds
    both. `error` is how far the denoised estimate is expected to be off: about as far as the noise level it was told.
    """

    def __init__(
        self,
        A: Projector,
        y: Tensor,
        *,
        warm: Tensor | None = None,
        weights: Tensor | None = None,
        trust: float = 1.0,
        num_iterations: int = 6,
    ) -> None:
        self.A, self.y, self.num_iterations = A, y, num_iterations
        self.W = relative_weights(y, weights)
        x = torch.zeros(A.domain_shape, device=y.device) if warm is None else PatchPrior.from_network(warm)
        misfit = float((self.W * (A(x) - y).square()).mean())
        photons = 0.0 if weights is None else 1 / float(weights.mean())
        self.noise2 = (max(misfit, photons) if warm is not None else max(photons, 1e-4 * misfit)) / trust
        self.residual = math.nan

    def __call__(self, denoised: Tensor, sigma: float) -> Tensor:
        """The corrected estimate, network space."""
        A, W = self.A, self.W
        error = MU_WATER * sigma / math.sqrt(1 + sigma**2)
        gamma = self.noise2 / error**2
        x0 = PatchPrior.from_network(denoised)
        misfit = self.y - A(x0)
        self.residual = float(torch.linalg.vector_norm(misfit))
        r = A.T(W * misfit)
        d, rr = r.clone(), float(r.flatten() @ r.flatten())
        x = torch.zeros_like(x0)
        for _ in range(self.num_iterations):
            if rr == 0:
                break
            q = A.T(W * A(d)) + gamma * d
            step = rr / float(d.flatten() @ q.flatten())
            x.add_(d, alpha=step)
            r.sub_(q, alpha=step)
            rr, before = float(r.flatten() @ r.flatten()), rr
            d = r + d * (rr / before)
        return PatchPrior.to_network(x0 + x)
