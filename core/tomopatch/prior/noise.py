"""Adding white noise to a volume, and denoising it in one pass of the prior."""

from __future__ import annotations

from collections.abc import Callable

import torch

from tomopatch.notes import note
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.volume import Volume


def add_noise(volume: Volume, sigma: float, *, seed: int = 0) -> Volume:
    """Return the volume with white noise of deviation `sigma`, network units."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(volume.shape, generator=generator, dtype=torch.float32)
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
    """Denoise a volume with white noise of deviation `sigma`, network units; `seed` selects the tiling."""
    denoiser = prior.bind(
        noisy.geometry.voxel_size, generator=torch.Generator().manual_seed(seed), on_tiles=on_tiles
    )
    for remark in denoiser.remarks:
        note(remark)
    x = denoiser(PatchPrior.to_network(noisy.data), sigma)
    return Volume(PatchPrior.from_network(x), noisy.geometry, f"{noisy.name}, denoised")
