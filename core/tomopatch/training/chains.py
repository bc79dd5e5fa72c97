"""Reconstructions of simulated scans by the network in training.

Errors of single patches do not predict whole reconstructions: the network has to work on its own estimates,
and data consistency corrects part of its errors anyway. In a chain it works on its own estimates (DAgger,
Ross et al. 2011), and its loss is the error that data consistency leaves, as in unrolled networks (MoDL,
Aggarwal et al. 2019). Each pass is a step of the training: gradients do not flow from pass to pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tomopatch.prior.combined import CombinedDenoiser
from tomopatch.prior.conditions import Condition
from tomopatch.prior.denoiser import Denoiser, PatchPrior, VolumeDenoiser, VolumeTiles
from tomopatch.prior.patches import cut, paste
from tomopatch.prior.precond import Numbers
from tomopatch.prior.sampler import karras_sigmas, sample
from tomopatch.projector import Projector
from tomopatch.reconstruct.diffusion import tuned
from tomopatch.reconstruct.diffusion.consistency import (
    DataConsistency,
    posterior_consistency,
    restoration_consistency,
)
from tomopatch.reconstruct.diffusion.expected_error import expected_error
from tomopatch.reconstruct.diffusion.sampling import expecting_streaks, not_air
from tomopatch.training.data_config import DataConfig
from tomopatch.training.pairs import Pair
from tomopatch.volume import Shape, mu_from_hu

RUNNING = 6
"""Chains in progress. Each step continues one at random, so that successive steps differ."""

LOWERED = (-0.7, 0.2)
"""Range of the logarithm of a chain's noise level relative to the usual one. Restoration lowers the level for
some objects.
"""

SAMPLE_STEPS = (6, 8, 12)
"""Steps of a sample. The first of them reuse the restored condition (see `CombinedDenoiser`)."""

UNCONDITIONAL_STEPS = (8, 12, 20)
"""Steps of a sample without a condition. Reconstructions take more, but their passes differ little."""

KEPT_TILES = 24
"""Tiles of a pass whose graphs are kept until the loss is known. The others are computed a second time."""

DENOISED_WEIGHT = 0.2
"""Weight of the error before data consistency, so that D remains a denoiser."""


@dataclass(frozen=True)
class ChainStep:
    """A pass of a chain: loss relative to the error expected without the network, and the number of tiles."""

    loss: float
    tiles: int


@dataclass(frozen=True, eq=False)
class _Scan:
    """A pair on the training device; images (z, y, x) in network space."""

    A: Projector
    y: Tensor
    weights: Tensor | None
    clean: Tensor
    condition: Condition | None
    image: Tensor
    error: float


class Chains:
    """Restorations, posterior samples, and samples without a condition in progress.

    Parameters
    ----------
    prior : PatchPrior
        The network in training.
    config : DataConfig
    seed : int
    bf16 : bool
        Compute in bfloat16 (autocast).
    """

    def __init__(self, prior: PatchPrior, config: DataConfig, *, seed: int = 0, bf16: bool = False) -> None:
        self.prior, self.config, self.bf16 = prior, config, bf16
        self.rng = np.random.default_rng([seed, 4])
        self.generator = torch.Generator().manual_seed(seed)
        self._pairs: list[Pair] = []
        self._running: list[Iterator[ChainStep]] = []

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, pair: Pair) -> None:
        """Add a pair whose scan is reconstructed in later chains; a pair of air alone is left out."""
        if bool(not_air(_network_space(pair.tv)).any()):
            self._pairs.append(pair)

    def step(self) -> ChainStep:
        """Continue a chain by a pass, and add the gradients of its loss to those of the network."""
        while True:
            while len(self._running) < RUNNING:
                self._running.append(self._begin())
            i = int(self.rng.integers(len(self._running)))
            for done in self._running[i]:
                return done
            del self._running[i]

    def _begin(self) -> Iterator[ChainStep]:
        scan = self._scan(self._pairs[int(self.rng.integers(len(self._pairs)))])
        if self.rng.random() < self.config.unconditional:
            return self._unconditional(scan)
        level = math.exp(float(self.rng.uniform(*LOWERED)))
        first = level * tuned.WIDER * scan.error
        if self.rng.random() >= self.config.samples:
            consistency = restoration_consistency(
                scan.A, scan.y, scan.weights, PatchPrior.from_network(scan.image)
            )
            chain = _Chain(self, scan, consistency)
            sigmas = karras_sigmas(tuned.RESTORE_STEPS, first / tuned.RESTORE_SPAN, first, tuned.RESTORE_RHO)
            return chain.run(chain.denoise, scan.image, sigmas, order=2, eta=0.0)
        consistency = posterior_consistency(scan.A, scan.y, scan.weights, spread=level * scan.error)
        chain = _Chain(self, scan, consistency)
        denoiser = CombinedDenoiser(chain.denoise, scan.image, level * scan.error, first)
        num_steps = int(self.rng.choice(SAMPLE_STEPS))
        sigmas = karras_sigmas(
            num_steps, tuned.POSTERIOR_SIGMA_MIN, tuned.POSTERIOR_SIGMA_MAX, tuned.POSTERIOR_RHO
        )
        noise = torch.randn(scan.image.shape, generator=self.generator).to(scan.image)
        return chain.run(denoiser, scan.image + sigmas[0] * noise, sigmas, order=1, eta=1.0)

    def _unconditional(self, scan: _Scan) -> Iterator[ChainStep]:
        """A sample that the measurement alone guides: the network sees no image of the scan."""
        scan = replace(scan, condition=None)
        spread = self.prior.config.sigma_data
        chain = _Chain(self, scan, posterior_consistency(scan.A, scan.y, scan.weights, spread=spread))
        sigmas = karras_sigmas(
            int(self.rng.choice(UNCONDITIONAL_STEPS)),
            tuned.POSTERIOR_SIGMA_MIN,
            tuned.UNCONDITIONAL_SIGMA_MAX,
            tuned.POSTERIOR_RHO,
        )
        noise = torch.randn(scan.image.shape, generator=self.generator).to(scan.image)
        x = self.prior.config.mean + sigmas[0] * noise
        return chain.run(expecting_streaks(chain.denoise), x, sigmas, order=1, eta=1.0)

    def _scan(self, pair: Pair) -> _Scan:
        device, config = self.prior.device, self.prior.config
        clean, tv, ls = (_network_space(hu).to(device) for hu in (pair.clean, pair.tv, pair.least_squares))
        error = expected_error(pair.figures, pair.voxel_size)
        shown = config.conditional or pair.geometry.num_views >= tuned.LEAST_SQUARES_VIEWS
        condition = Condition(
            tv if config.conditional else None,
            error,
            ls if config.least_squares and shown else None,
            pair.figures.sampling_ratio,
        )
        y = torch.from_numpy(pair.projections).to(device)
        weights = None if pair.weights is None else torch.from_numpy(pair.weights).to(device)
        return _Scan(Projector(pair.grid, pair.geometry), y, weights, clean, condition, tv, error)


def _network_space(hu: np.ndarray) -> Tensor:
    return PatchPrior.to_network(mu_from_hu(torch.from_numpy(hu).to(torch.float32)))


class _Chain:
    """One reconstruction. `denoise` keeps the graph of a pass until `correct` has computed its gradients."""

    def __init__(self, chains: Chains, scan: _Scan, consistency: DataConsistency) -> None:
        self.chains, self.scan, self.consistency = chains, scan, consistency
        self.mask = None if scan.condition is None else not_air(scan.image)
        self.bound: VolumeDenoiser = chains.prior.bind(
            scan.A.vg.voxel_size, condition=scan.condition, generator=chains.generator
        )
        self.usual = self._squared_error(scan.image)
        self.tiles: VolumeTiles | None = None
        self.outputs: list[tuple[list[Shape], Tensor | None]] = []
        self.done: list[ChainStep] = []

    def run(
        self, denoiser: Denoiser, x: Tensor, sigmas: list[float], *, order: int, eta: float
    ) -> Iterator[ChainStep]:
        """Sample from x; passes that need no network are left out."""
        generator = self.chains.generator
        for _ in sample(denoiser, x, sigmas, order=order, eta=eta, correct=self.correct, generator=generator):
            if self.done:
                yield self.done.pop()

    def denoise(self, x: Tensor, sigma: float) -> Tensor:
        """D(x, sigma); keeps the denoised tiles with their graph."""
        bound, size = self.bound, self.chains.prior.tile_batch
        if self.scan.condition is None:  # c_out^2 of `Precond`: the error of the Gaussian model given x alone
            noise, data = self._squared_error(x), self.chains.prior.config.sigma_data**2
            self.usual = noise * data / (noise + data)
        bound.mirrored = bool(self.chains.rng.random() < 0.5)
        tiles = self.tiles = bound.tiles(x, sigma)
        denoised = torch.zeros_like(tiles.context.noisy.padded)
        for starts in tiles.batches(size, self.mask):
            kept = len(self.outputs) * size < KEPT_TILES
            with torch.set_grad_enabled(kept):
                found = self._denoised(tiles, starts)
            paste(denoised, found.detach().to(denoised), starts)
            self.outputs.append((starts, found if kept else None))
        return tiles.grid.crop(denoised)

    def _squared_error(self, x: Tensor) -> float:
        return float((x - self.scan.clean).square().mean().clamp(min=1e-8))

    def _denoised(self, tiles: VolumeTiles, starts: list[Shape]) -> Tensor:
        """Denoised tiles (n, *tile). The last batch is filled: a compiled network takes one size."""
        filled = starts + starts[-1:] * (self.chains.prior.tile_batch - len(starts))
        return tiles.denoised(filled, self._network)[: len(starts)]

    def _network(self, inputs: Tensor, numbers: Numbers) -> Tensor:
        device = self.chains.prior.device
        with torch.autocast(device.type, torch.bfloat16, enabled=self.chains.bf16):
            found: Tensor = self.chains.prior.model(inputs, numbers)[:, 0]
        return found

    def correct(self, denoised: Tensor, sigma: float) -> Tensor:
        """Data consistency, and the gradients of the loss if the network was used since the last call."""
        clean = self.scan.clean
        corrected = self.consistency(denoised, sigma)
        if not self.outputs:
            return corrected
        error, before = corrected - clean, denoised - clean
        loss = error.square().mean() + DENOISED_WEIGHT * before.square().mean()
        gradient = self.consistency.pull_back(error, sigma) + DENOISED_WEIGHT * before
        gradient *= 2 / (clean.numel() * self.usual)
        self._backward(gradient)
        self.done.append(ChainStep(float(loss) / self.usual, sum(len(starts) for starts, _ in self.outputs)))
        self.tiles, self.outputs = None, []
        return corrected

    def _backward(self, gradient: Tensor) -> None:
        """Add the gradients of the network, given that of the denoised volume (z, y, x)."""
        tiles = self.tiles
        assert tiles is not None
        padded = torch.zeros_like(tiles.context.noisy.padded)
        tiles.grid.crop(padded).copy_(gradient)
        for starts, kept in self.outputs:
            found = self._denoised(tiles, starts) if kept is None else kept
            torch.autograd.backward([found], [cut(padded, starts, tiles.grid.tile).to(found)])
