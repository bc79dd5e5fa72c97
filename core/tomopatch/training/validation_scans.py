"""Validation of a prior by whole reconstructions of simulated scans of held-out volumes.

Errors of single patches do not predict them: a reconstruction applies D several times, with data consistency
between, and a pass that helps a degraded image may harm one that has been restored already.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tomopatch.analysis.metrics import quality
from tomopatch.geometry.beams import ParallelBeam
from tomopatch.physics.measurement import Measurement, simulate
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.progress import last
from tomopatch.projector import Projector
from tomopatch.reconstruct.diffusion.initial import INITIALIZERS, Inputs
from tomopatch.reconstruct.diffusion.plan import Problem
from tomopatch.reconstruct.diffusion.sampling import draw_samples
from tomopatch.reconstruct.diffusion.tuned import INITIAL_ITERATIONS
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.volume import Shape, Volume, resample

GRID: Shape = (32, 96, 96)
NUM_VIEWS = 20
POSTERIOR_STEPS, UNCONDITIONAL_STEPS = 8, 12


@dataclass(frozen=True, eq=False)
class ValidationScan:
    """A simulated scan of a held-out volume.

    Attributes
    ----------
    reference : Volume
        The volume on the grid of the reconstruction.
    A, measurement : projector of that grid, and the scan
    initial : Tensor (z, y, x)
        Its reconstruction by total variation [1/mm].
    """

    reference: Volume
    A: Projector
    measurement: Measurement
    initial: Tensor

    @classmethod
    def of(cls, volume: Volume, grid: Shape = GRID) -> ValidationScan:
        """Parallel views over half a turn, without noise, simulated at twice the resolution of the grid."""
        fine = resample(volume, _limited(volume.shape, grid, 2))
        reference = resample(fine, _limited(fine.shape, grid, 1))
        A = Projector(reference.geometry, ParallelBeam.circular(reference.geometry, num_views=NUM_VIEWS))
        measurement = simulate(fine, A)
        steps = INITIALIZERS["tv"](Inputs(A, measurement.projections, None, INITIAL_ITERATIONS))
        return cls(reference, A, measurement, last(steps).x.clone())

    def gain(self, prior: PatchPrior, mode: str) -> float:
        """PSNR of a reconstruction with the prior less that of its initial reconstruction [dB].

        mode : "restore"; "posterior": one sample in a few steps; "unconditional": the same without a
        condition.
        """
        options = {
            "restore": DiffusionParams(),
            "posterior": DiffusionParams(mode="posterior", num_steps=POSTERIOR_STEPS),
            "unconditional": DiffusionParams(
                mode="posterior", condition="none", num_steps=UNCONDITIONAL_STEPS
            ),
        }[mode]
        problem = Problem(self.A, self.measurement.projections, None, prior, options)
        initial = None if mode == "unconditional" else self.initial
        steps = draw_samples(problem, initial, None, torch.Generator().manual_seed(0), {})
        return self._psnr(last(steps).x) - self._psnr(self.initial)

    def _psnr(self, x: Tensor) -> float:
        return quality(self.reference, Volume(x, self.reference.geometry)).psnr


def _limited(shape: Shape, grid: Shape, factor: int) -> Shape:
    """`factor` times the grid, but no finer than the volume."""
    z, y, x = (min(n, factor * m) for n, m in zip(shape, grid, strict=True))
    return z, y, x
