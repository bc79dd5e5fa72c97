"""White noise on a volume, and what the prior makes of it in one pass."""

from __future__ import annotations

from collections.abc import Callable

import torch

from core.prior.denoiser import PatchPrior
from core.volume import Volume


def add_noise(volume: Volume, sigma: float, *, seed: int = 0) -> Volume:
    """The volume with white noise of this level [network units]."""
    noise = torch.randn(volume.shape, generator=torch.Generator().manual_seed(seed))
    data = volume.data + PatchPrior.from_network(sigma * noise.to(volume.data.device))
    return Volume(data, volume.geometry, f"{volume.name}, noisy")


def denoise(
    prior: PatchPrior,
    noisy: Volume,
    sigma: float,
    *,
    seed: int = 0,
    on_tiles: Callable[[int, int], None] | None = None,
) -> Volume:
    """The expected clean volume given one with noise of this level: a single pass; `seed` draws its tiling."""
    x = prior.at(noisy.geometry.voxel_size)(
        PatchPrior.to_network(noisy.data),
        sigma,
        generator=torch.Generator().manual_seed(seed),
        on_tiles=on_tiles,
    )
    return Volume(PatchPrior.from_network(x), noisy.geometry, f"{noisy.name}, denoised")
