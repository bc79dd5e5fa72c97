"""How good a prior is on held-out volumes: its denoising errors on fixed patches with fixed noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.prior.data import Batch, Draft
from core.prior.denoiser import Context, PatchPrior, Precond, network_inputs
from core.prior.network import NetworkConfig
from core.prior.patches import PatchGrid, cut
from core.volume import Shape, Triple, Volume, resample

VALIDATION_SIGMAS = (0.02, 0.05, 0.1, 0.3, 1.0, 3.0)


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """Fixed patches of held-out volumes: with fixed white noise, per noise level; and of drafts of them."""

    batches: dict[float, list[Batch]]
    drafts: list[Batch]

    @classmethod
    def of(
        cls,
        volumes: Sequence[Volume],
        network: NetworkConfig,
        *,
        drafts: Sequence[Draft] = (),
        grid: Shape = (64, 128, 128),
        patches: int = 8,
    ) -> ValidationSet:
        """`patches` patches of each volume, resampled to `grid`, and of each draft, of those with something in them."""
        batches: dict[float, list[Batch]] = {sigma: [] for sigma in VALIDATION_SIGMAS}
        for volume in volumes:
            coarse = resample(volume, grid)
            clean, voxel_size = PatchPrior.to_network(coarse.data), coarse.geometry.voxel_size
            for i, sigma in enumerate(VALIDATION_SIGMAS):
                generator = torch.Generator().manual_seed(i)
                noisy = clean + sigma * torch.randn(clean.shape, generator=generator)
                batches[sigma].append(_patches(clean, noisy, sigma, voxel_size, network, patches))
        spoilt = []
        for draft in drafts:
            clean, rough, guide = (
                torch.from_numpy(hu).to(torch.float32) / 1000 + 1
                for hu in (draft.clean_hu, draft.hu[-1], draft.guide_hu)
            )
            level = float((rough - clean).square().mean().sqrt())
            spoilt.append(_patches(clean, rough, level, draft.voxel_size, network, patches, guide))
        return cls(batches, spoilt)

    def rmse(self, model: Precond) -> dict[float, float]:
        """Root mean square error of D per noise level, network units (1000 HU)."""
        return {
            sigma: float(torch.stack([_error(model, b) for b in batches]).mean().sqrt())
            for sigma, batches in self.batches.items()
        }

    def left_of_drafts(self, model: Precond) -> float | None:
        """Root mean square over the drafts of what D leaves of their error: 1 = all of it, 0 = nothing."""
        if not self.drafts:
            return None
        shares = [_error(model, b) / (b.inputs[:, :1] - b.clean).square().mean() for b in self.drafts]
        return float(torch.stack(shares).mean().sqrt())

    @torch.no_grad()
    def picture(self, model: Precond, sigmas: Sequence[float] = (0.1, 0.3, 1.0)) -> Tensor:
        """Middle slices of one patch per volume, network space: rows of (noisy, denoised, clean) per sigma."""
        device = next(model.parameters()).device
        rows = []
        for volume in range(len(next(iter(self.batches.values())))):
            row = []
            for sigma in sigmas:
                b = self.batches[sigma][volume]
                D_x = model(*(t[:1].to(device) for t in (b.inputs, b.sigma, b.factor, b.voxel_size))).cpu()
                middle = b.clean.shape[-3] // 2
                row += [b.inputs[0, 0, middle], D_x[0, 0, middle], b.clean[0, 0, middle]]
            rows.append(torch.cat(row, 1))
        return torch.cat(rows, 0)


@torch.no_grad()
def _error(model: Precond, batch: Batch) -> Tensor:
    """Mean square error of D on a batch, ()."""
    device = next(model.parameters()).device
    D_x = model(*(t.to(device) for t in (batch.inputs, batch.sigma, batch.factor, batch.voxel_size)))
    return (D_x.cpu() - batch.clean).square().mean()


def _patches(
    clean: Tensor,
    noisy: Tensor,
    sigma: float,
    voxel_size: Triple,
    network: NetworkConfig,
    count: int,
    guide: Tensor | None = None,
) -> Batch:
    """Every other one of the patches with most in them, of two volumes and the guide (z, y, x) in network space."""
    tile = network.tile
    z, y, x = (size // 8 * 4 for size in tile)
    tiles = PatchGrid((clean.shape[0], clean.shape[1], clean.shape[2]), tile, (z, y, x))
    guide = None if guide is None else tiles.pad(guide)
    padded, context = tiles.pad(clean), Context.of(tiles.pad(noisy), network, guide)
    spread = cut(padded, tiles.starts, tile).flatten(1).std(1)
    starts = [tiles.starts[i] for i in spread.argsort(descending=True)[: 2 * count : 2]]
    n = len(starts)
    return Batch(
        network_inputs(context, starts, tile),
        torch.full((n,), sigma),
        torch.full((n,), context.factor),
        torch.tensor(voxel_size).expand(n, 3),
        cut(padded, starts, tile)[:, None],
        torch.full((n,), sigma),
    )
