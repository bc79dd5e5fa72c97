"""Volumes from the prior alone: drawn from noise, and denoised."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from core.prior.denoiser import PatchPrior
from core.prior.patches import PatchGrid
from core.prior.sampler import karras_sigmas, sample
from core.progress import Callback, State, Step, nested, state_of
from core.volume import Volume, VolumeGeometry


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


def draw(
    prior: PatchPrior,
    geometry: VolumeGeometry,
    *,
    num_steps: int = 40,
    sigma_max: float = 40.0,
    sigma_min: float = 0.01,
    churn: float = 0.5,
    seed: int = 0,
    callback: Callback | None = None,
    resume: State | None = None,
) -> Volume:
    """Sample a volume from noise alone.

    Parameters
    ----------
    num_steps : int
        Passes over the volume.
    sigma_max, sigma_min : float
        First and last noise level, network units.
    churn : float
        See `core.prior.sampler.sample`.
    callback : f(Step) or None
        Gets volumes in mu [1/mm].
    resume : State or None
        The `state` of an earlier step, to go on from.
    """
    prior = prior.at(geometry.voxel_size)
    generator = torch.Generator().manual_seed(seed)
    tiling = PatchGrid(geometry.shape, prior.config.patch_size)

    def by_tiles(x: Tensor, sigma: float) -> Tensor:
        nonlocal tiling
        tiling = PatchGrid.random(geometry.shape, prior.config.patch_size, generator=generator)
        return prior(x, sigma, grid=tiling)

    def tell(step: Step) -> None:
        assert callback is not None
        assert step.noisy is not None
        assert step.denoised is not None
        x, noisy, denoised = (PatchPrior.from_network(part) for part in (step.x, step.noisy, step.denoised))
        callback(
            replace(step, x=x, noisy=noisy, denoised=denoised, tiles=tiling.used(), state=lambda: state(step))
        )

    def state(step: Step) -> State:
        assert step.state is not None
        return {"generator": generator.get_state()} | nested("sample", step.state())

    x = prior.config.mean + sigma_max * torch.randn(geometry.shape, generator=generator)
    if resume is not None:
        generator.set_state(resume["generator"].cpu())
    x = sample(
        by_tiles,
        x,
        karras_sigmas(num_steps, sigma_min, sigma_max),
        order=1,
        churn=churn,
        generator=generator,
        callback=None if callback is None else tell,
        resume=state_of("sample", resume),
    )
    return Volume(PatchPrior.from_network(x).cpu(), geometry, "sample of the prior")
