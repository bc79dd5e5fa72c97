"""Validation of a prior on held-out volumes: RMSE of D on fixed patches with fixed noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

import torch
from torch import Tensor

from tomopatch.prior.combined import combine
from tomopatch.prior.conditions import Condition, Context, network_inputs
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.network import NetworkConfig
from tomopatch.prior.patches import PatchGrid, cut
from tomopatch.prior.precond import Precond
from tomopatch.prior.ranges import MODES
from tomopatch.reconstruct.diffusion.expected_error import expected_error
from tomopatch.reconstruct.diffusion.tuned import WIDER
from tomopatch.training.pairs import Pair
from tomopatch.training.source import Batch
from tomopatch.training.validation_scans import ValidationScan
from tomopatch.volume import Shape, Triple, Volume, resample

SIGMAS = (0.02, 0.05, 0.1, 0.3, 1.0, 3.0)
CONDITIONAL_SIGMAS = (0.05, 0.3, 1.0, 10.0)


@dataclass(frozen=True)
class Scores:
    """Validation of one set of weights.

    Attributes
    ----------
    unconditional : RMSE of D by sigma, network units
    posterior : RMSE of D by sigma over the error of the condition, on held-out pairs (see `prior.combined`)
    restore : the same for the first pass of the restoration
    gains : mean gain of whole reconstructions over total variation by mode [dB]
    """

    unconditional: dict[float, float]
    posterior: dict[float, float]
    restore: float | None
    gains: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """Fixed patches of held-out volumes with fixed white noise, by noise level, and of held-out pairs.

    scans : simulated scans of held-out volumes, to reconstruct
    """

    unconditional: dict[float, list[Batch]]
    posterior: dict[float, list[Batch]]
    restore: list[Batch]
    scans: Sequence[ValidationScan] = ()

    @classmethod
    def of(
        cls,
        volumes: Sequence[Volume],
        network: NetworkConfig,
        *,
        pairs: Sequence[Pair] = (),
        scans: Sequence[ValidationScan] = (),
        grid: Shape = (64, 128, 128),
        patches: int = 8,
    ) -> ValidationSet:
        """`patches` patches per volume, resampled to `grid`, half as many per pair; of large deviation."""
        unconditional: dict[float, list[Batch]] = {sigma: [] for sigma in SIGMAS}
        for volume in volumes:
            coarse = resample(volume, grid)
            clean, voxel_size = PatchPrior.to_network(coarse.data), coarse.geometry.voxel_size
            for i, sigma in enumerate(SIGMAS):
                noisy = clean + sigma * _noise(clean, i)
                batch = _patches(clean, noisy, sigma, voxel_size, Condition(), network, patches)
                unconditional[sigma].append(batch)
        posterior: dict[float, list[Batch]] = {sigma: [] for sigma in CONDITIONAL_SIGMAS}
        restore = []
        for pair in pairs:
            clean, tv, ls = (
                torch.from_numpy(hu).to(torch.float32) / 1000 + 1
                for hu in (pair.clean, pair.tv, pair.least_squares)
            )
            error = expected_error(pair.figures, pair.voxel_size)
            condition = Condition(tv, error, ls, pair.figures.sampling_ratio)
            shared = pair.voxel_size, condition, network, max(1, patches // 2)
            for i, sigma in enumerate(CONDITIONAL_SIGMAS):
                noisy = clean + sigma * _noise(clean, i)
                combined, noise_level = combine(noisy, torch.tensor(sigma), tv, error, WIDER * error)
                posterior[sigma].append(_patches(clean, combined, float(noise_level), *shared))
            restore.append(_patches(clean, tv, 2 * error, *shared))
        return cls(unconditional, posterior, restore, scans)

    def scores(self, model: Precond) -> Scores:
        """RMSE of D on all patches, and gains of whole reconstructions."""
        unconditional = {
            sigma: float(torch.stack([_error(model, b) for b in batches]).mean().sqrt())
            for sigma, batches in self.unconditional.items()
            if batches
        }
        posterior = {
            sigma: _remaining(model, batches, self.restore)
            for sigma, batches in self.posterior.items()
            if batches
        }
        restore = _remaining(model, self.restore, self.restore) if self.restore else None
        return Scores(unconditional, posterior, restore, self._gains(model) if self.scans else {})

    def _gains(self, model: Precond) -> dict[str, float]:
        training, prior = model.training, PatchPrior(model)
        modes = MODES if model.config.conditional else ("restore", "unconditional")
        gains = {mode: fmean(scan.gain(prior, mode) for scan in self.scans) for mode in modes}
        model.train(training)
        return gains

    @torch.no_grad()
    def picture(self, model: Precond, sigmas: Sequence[float] = (0.1, 0.3, 1.0)) -> Tensor:
        """Middle slices of one patch per volume, network space: (noisy, denoised, clean) per sigma."""
        device = next(model.parameters()).device
        rows = []
        for volume in range(len(next(iter(self.unconditional.values())))):
            row = []
            for sigma in sigmas:
                b = self.unconditional[sigma][volume].part(slice(0, 1), device)
                D_x = model(b.inputs, b.numbers)
                middle = b.clean.shape[-3] // 2
                row += [v[0, 0, middle].cpu() for v in (b.inputs, D_x, b.clean)]
            rows.append(torch.cat(row, 1))
        return torch.cat(rows, 0)


def _noise(x: Tensor, seed: int) -> Tensor:
    return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


def _remaining(model: Precond, batches: Sequence[Batch], start: Sequence[Batch]) -> float:
    """RMS over pairs of D's error relative to that of the initial reconstruction, `start`'s noisy patch."""
    shares = [
        _error(model, b) / (s.inputs[:, :1] - s.clean).square().mean()
        for b, s in zip(batches, start, strict=True)
    ]
    return float(torch.stack(shares).mean().sqrt())


@torch.no_grad()
def _error(model: Precond, batch: Batch) -> Tensor:
    """Mean square error of D on a batch, ()."""
    batch = batch.part(slice(None), next(model.parameters()).device)
    return (model(batch.inputs, batch.numbers) - batch.clean).square().mean().cpu()


def _patches(
    clean: Tensor,
    noisy: Tensor,
    sigma: float,
    voxel_size: Triple,
    condition: Condition,
    network: NetworkConfig,
    count: int,
) -> Batch:
    """Every second patch of those with the largest deviation, of volumes (z, y, x) in network space."""
    tile = network.tile
    z, y, x = (size // 8 * 4 for size in tile)
    tiles = PatchGrid((clean.shape[0], clean.shape[1], clean.shape[2]), tile, (z, y, x))
    shown = condition.on(tiles, "cpu")
    padded, context = tiles.pad(clean), Context.of(tiles.pad(noisy), network, shown)
    deviation = cut(padded, tiles.starts, tile).flatten(1).std(1)
    starts = [tiles.starts[i] for i in deviation.argsort(descending=True)[: 2 * count : 2]]
    n = len(starts)
    numbers = condition.numbers(n, torch.tensor(sigma), tiles, voxel_size)
    targets = cut(padded, starts, tile)[:, None]
    return Batch(network_inputs(context, starts, tile), numbers, targets, torch.ones(n))
