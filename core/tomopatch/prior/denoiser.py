"""Denoiser D(x, sigma | c) of whole volumes, built from a patch denoiser.

Network space is attenuation relative to water, x = mu / MU_WATER: air 0, water 1, 1000 HU per unit. It is
used only in `tomopatch.prior` and in the calls of D.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tomopatch.prior.conditions import Condition, Context, mirror, network_inputs
from tomopatch.prior.network import NetworkConfig
from tomopatch.prior.patches import PatchGrid, paste
from tomopatch.prior.precond import Numbers, Precond
from tomopatch.prior.ranges import TrainedRanges
from tomopatch.prior.tile_threads import for_each
from tomopatch.progress import Interrupted
from tomopatch.volume import MU_WATER, Shape, Triple

AIR = 0.1
"""A voxel below this value in network space counts as air."""


class Denoiser(Protocol):
    """D(x, sigma): posterior mean of the clean volume (z, y, x); x has white noise of deviation sigma."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor: ...


@dataclass(eq=False)
class PatchPrior:
    """A trained prior: the patch denoiser, its trained ranges, and its computation settings.

    `bind` gives the denoiser D(x, sigma) of volumes on one grid.

    Attributes
    ----------
    model : Precond
        The patch denoiser.
    trained : TrainedRanges
        The range of every conditioning number; `bind` clamps to it.
    tile_batch : int
        Tiles per call of the network: bounds the memory. 0 = 4 on each thread of a CPU (see `tile_threads`),
        128 (about 6 GB) on a GPU.
    bf16 : bool or None
        Compute in bfloat16; None = where that is faster. Its error is below a hundredth of sigma.
    info : dict
        The checkpoint's record (name, training, digest).
    num_passes : int
        Passes over a volume since creation.
    """

    model: Precond
    trained: TrainedRanges = field(default_factory=TrainedRanges)
    tile_batch: int = 0
    bf16: bool | None = None
    info: dict[str, Any] = field(default_factory=dict)
    num_passes: int = 0

    def __post_init__(self) -> None:
        self.model.eval()
        self.tile_batch = self.tile_batch or (4 if self.device.type == "cpu" else 128)

    def __repr__(self) -> str:
        millions = sum(p.numel() for p in self.model.parameters()) / 1e6
        tile = " x ".join(map(str, self.config.tile))
        name = self.info.get("name", "")
        return f"PatchPrior({name!r}, {millions:.1f} million weights, patches of {tile}, on {self.device})"

    @property
    def config(self) -> NetworkConfig:
        return self.model.config

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def without(self, **inputs: bool) -> PatchPrior:
        """The same weights with inputs switched off: context, neighbourhoods, least_squares, coordinates."""
        off = {f"use_{name}": False for name, switched in inputs.items() if switched}
        model = Precond.__new__(Precond)
        nn.Module.__init__(model)
        model.config, model.network = replace(self.config, **off), self.model.network  # type: ignore[arg-type]
        return replace(self, model=model)

    @staticmethod
    def to_network(mu: Tensor) -> Tensor:
        """Network space from mu [1/mm]."""
        return mu / MU_WATER

    @staticmethod
    def from_network(x: Tensor) -> Tensor:
        """mu [1/mm] from network space."""
        return x * MU_WATER

    def bind(
        self,
        voxel_size: Triple,
        *,
        condition: Condition | None = None,
        mask: Tensor | None = None,
        generator: torch.Generator | None = None,
        grid: PatchGrid | None = None,
        on_tiles: Callable[[int, int], None] | None = None,
    ) -> VolumeDenoiser:
        """The denoiser D(x, sigma) of volumes with this voxel size.

        Parameters
        ----------
        voxel_size : (z, y, x) [mm]
        condition : Condition or None
            None = the unconditional prior.
        mask : bool Tensor (z, y, x) or None
            True where the volume may differ from air. Tiles without such a voxel are set to 0 (air) instead
            of being computed.
        generator : torch.Generator or None
            Source of the tiling's offset; None = the torch default.
        grid : PatchGrid or None
            A fixed tiling, instead of a random one in each pass.
        on_tiles : f(done, total) or None
            Called after each batch of tiles. If it raises StopIteration, D raises Interrupted.
        """
        voxel_size, remarks = self.trained.clamp_voxels(voxel_size)
        condition = condition or Condition()
        if condition.image is not None and self.config.conditional:
            error, ratio, more = self.trained.clamp_condition(condition.error, condition.sampling_ratio)
            condition = replace(condition, error=error, sampling_ratio=ratio)
            remarks += more
        return VolumeDenoiser(self, voxel_size, condition, mask, generator, grid, on_tiles, remarks)

    @torch.no_grad()
    def denoise_tiles(self, inputs: Tensor, numbers: Numbers) -> Tensor:
        """Denoised tiles (n, *tile) from the network's inputs (n, c, *tile)."""
        device = self.device
        bf16 = bf16_pays(device) if self.bf16 is None else self.bf16
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            return self.model(inputs.to(device, torch.float32), numbers)[:, 0]


@dataclass(eq=False)
class VolumeDenoiser:
    """D(x, sigma) of whole volumes on one grid, in network space. See `PatchPrior.bind`.

    Attributes
    ----------
    voxel_size : (z, y, x) [mm], clamped to the trained range
    remarks : sentences about clamped values
    tiling : PatchGrid or None
        The tiling of the current pass, or of the last one.
    mirrored : bool
        Whether the prior sees the volume mirrored left to right. Its training data were mirrored at random.
    """

    prior: PatchPrior
    voxel_size: Triple
    condition: Condition
    mask: Tensor | None
    generator: torch.Generator | None
    grid: PatchGrid | None
    on_tiles: Callable[[int, int], None] | None
    remarks: tuple[str, ...] = ()
    tiling: PatchGrid | None = None
    mirrored: bool = False

    @torch.no_grad()
    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Denoise x (z, y, x), which has white noise of deviation `sigma`, network units."""
        prior, tiles = self.prior, self.tiles(x, sigma)
        denoised = torch.zeros_like(tiles.context.noisy.padded)
        batches = list(tiles.batches(prior.tile_batch, self.mask))
        done, total = 0, sum(len(starts) for starts in batches)

        def denoise(starts: list[Shape]) -> Tensor:
            return tiles.denoised(starts, prior.denoise_tiles)

        for starts, found in zip(batches, for_each(denoise, batches, prior.device), strict=True):
            paste(denoised, found, starts)
            done += len(starts)
            if self.on_tiles is not None:
                try:
                    self.on_tiles(done, total)
                except StopIteration as stop:
                    raise Interrupted from stop
        prior.num_passes += 1
        return tiles.grid.crop(denoised).to(x.device)

    @torch.no_grad()
    def tiles(self, x: Tensor, sigma: float) -> VolumeTiles:
        """The tiles of a pass over x (z, y, x) with a new tiling, or with the fixed one."""
        if not sigma > 0:
            raise ValueError(f"the noise level sigma must be above 0, got {sigma}.")
        prior, device = self.prior, self.prior.device
        shape = (x.shape[0], x.shape[1], x.shape[2])
        grid = self.grid or PatchGrid.random(shape, prior.config.tile, generator=self.generator)
        self.tiling = grid
        condition = self.condition.on(grid, device)
        context = Context.of(grid.pad(x.to(device, torch.float32)), prior.config, condition)
        noise_level = torch.tensor(sigma, dtype=torch.float32, device=device)
        return VolumeTiles(grid, context, condition, noise_level, self.voxel_size, self.mirrored)


@dataclass(frozen=True, eq=False)
class VolumeTiles:
    """The tiles of one pass over a volume.

    Attributes
    ----------
    grid : PatchGrid
    context : Context
        Images that the tiles are cut from.
    condition : Condition
        Its images on the padded grid.
    sigma : Tensor ()
        Noise level, network units.
    voxel_size : (z, y, x) [mm]
    mirrored : bool
        As in `VolumeDenoiser`.
    """

    grid: PatchGrid
    context: Context
    condition: Condition
    sigma: Tensor
    voxel_size: Triple
    mirrored: bool

    def batches(self, size: int, mask: Tensor | None) -> Iterator[list[Shape]]:
        """Starts of the tiles, `size` at a time; only of those with a voxel of the mask (z, y, x)."""
        return self.grid.batches(size, None if mask is None else self.grid.pad(mask))

    def denoised(self, starts: list[Shape], network: Callable[[Tensor, Numbers], Tensor]) -> Tensor:
        """Denoised tiles (n, *tile) at `starts`.

        network : f(inputs (n, c, *tile), numbers) -> denoised tiles (n, *tile)
        """
        numbers = self.condition.numbers(len(starts), self.sigma, self.grid, self.voxel_size)
        inputs = network_inputs(self.context, starts, self.grid.tile)
        if self.mirrored:
            return network(mirror(inputs), numbers).flip(-1)
        return network(inputs, numbers)


def alternately_mirrored(denoiser: Denoiser, bound: VolumeDenoiser, mirrored: Iterable[float]) -> Denoiser:
    """D(x, sigma) that sees the volume mirrored left to right at some noise levels.

    The prior makes other errors in a mirrored volume. If passes alternate, part of the errors cancels.

    denoiser : Denoiser
        `bound`, or one that calls it.
    mirrored : noise levels of the passes that are mirrored
    """
    levels = frozenset(mirrored)

    def denoise(x: Tensor, sigma: float) -> Tensor:
        bound.mirrored = sigma in levels
        return denoiser(x, sigma)

    return denoise


def bf16_pays(device: torch.device | str) -> bool:
    """Whether bfloat16 is faster than float32 here: on GPUs, and on CPUs with instructions for it."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
