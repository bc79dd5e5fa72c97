"""From the network F to the denoiser D(x, sigma) of whole volumes.

Network space is attenuation relative to water, x = mu / MU_WATER: air 0, water 1, 1000 HU a unit. It exists
in `core.prior` and in the calls of D alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from core.prior.network import NetworkConfig, PatchUNet
from core.prior.patches import (
    PatchGrid,
    Starts,
    context_noise_factor,
    coordinates,
    cut,
    global_context,
    paste,
    reduced,
    surround,
)
from core.prior.rof import rof
from core.volume import MU_WATER, Shape, Triple

AIR = 0.1
"""Network space: a voxel below it counts as air."""

GUIDE_ERROR = 0.3
"""About how far a guide is off, root mean square, network space: the network sees it divided by that and the data's spread."""


class Denoiser(Protocol):
    """D(x, sigma): the expected clean x (z, y, x) given x with white noise of deviation sigma."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Context:
    """What all tiles of one pass share: the noisy volume, seen from further away.

    padded (z, y, x): the volume; coarse: by how much it is reduced, and its average over cubes of so many voxels; whole
    (z, y, x): its average on the tile's grid; factor: by how much that average lowers the noise; guide (z, y, x): None
    where the network has no channel for it.
    """

    padded: Tensor
    coarse: dict[int, Tensor]
    whole: Tensor
    factor: float
    guide: Tensor | None = None

    @classmethod
    def of(cls, padded: Tensor, config: NetworkConfig, guide: Tensor | None = None) -> Context:
        """guide (z, y, x), padded too; None = there is none, of which the network is told."""
        if not config.guided:
            guide = None
        elif guide is None:
            guide = torch.full_like(padded, config.mean)
        shape = (padded.shape[0], padded.shape[1], padded.shape[2])
        tile, by = config.tile, config.context_by
        whole, factor = global_context(padded, tile, by), context_noise_factor(shape, tile, by)
        return cls(padded, {f: reduced(padded, f) for f in config.factors}, whole, factor, guide)


class Precond(nn.Module):
    """D(x, sigma) of patches: EDM's preconditioning (Karras et al. 2022, table 1) about the data's mean.

    D = mean + c_skip (x - mean) + c_out F(c_in (x - mean), ...). With F = 0 that is the exact denoiser of white
    Gaussian data N(mean, sigma_data^2). A fresh network is total variation: see `core.prior.network`.
    """

    smoothing: Callable[..., Tensor] = staticmethod(rof)  # a compiled one, where training is compiled

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.network = PatchUNet(config)

    def forward(self, inputs: Tensor, sigma: Tensor, factor: Tensor, voxel_size: Tensor) -> Tensor:
        """Denoised patches.

        inputs (b, c, z, y, x) in network space; sigma, factor (b,); voxel_size (b, 3) [mm]
        -> (b, 1, z, y, x).
        """
        config = self.config
        sd, sigma = config.sigma_data, sigma.to(inputs)[:, None, None, None, None]
        factor = factor.to(inputs)[:, None, None, None, None]
        c_skip = sd**2 / (sigma**2 + sd**2)
        c_out = sigma * sd * (sigma**2 + sd**2).rsqrt()
        centred = inputs[:, :-3] - config.mean
        guide = [torch.full_like(sigma, GUIDE_ERROR)] * config.guided
        noise = torch.cat([sigma, *(sigma * f**-1.5 for f in config.factors), *guide, sigma * factor], 1)
        seen = centred * (noise**2 + sd**2).rsqrt()
        for name in ("surround", "guide", "context"):
            if not getattr(config, f"use_{name}"):
                seen[:, config.channel[name]] = 0
        place = inputs[:, -3:] if config.use_coordinates else torch.zeros_like(inputs[:, -3:])
        conditions = torch.cat(
            [sigma.flatten(1).log(), (sigma * factor).flatten(1).log() / 4, voxel_size.to(inputs).log()], 1
        )
        plain = config.mean + c_skip * centred[:, :1]
        with torch.no_grad():
            smooth = [
                (self.smoothing(inputs[:, :1], strength * sigma.flatten(), voxel_size) - plain) / c_out
                for strength in config.smoothings
            ]
        F_x = self.network(
            torch.cat([seen, place], 1),
            torch.cat(smooth, 1) if smooth else inputs[:, :0],
            conditions,
        )
        return plain + c_out * F_x.to(inputs.dtype)


def network_inputs(context: Context, starts: Starts, tile: Shape) -> Tensor:
    """The network's input channels (n, c, *tile) of the tiles that start there."""
    place = coordinates(context.padded.shape, starts, tile, context.padded.device)
    return joined_inputs(near(context, starts, tile), context.whole, place)


def near(context: Context, starts: Starts, tile: Shape) -> Tensor:
    """Each tile, its surroundings and its guide (n, c, *tile): what no other tile has."""
    around = [surround(coarse, starts, tile, factor) for factor, coarse in context.coarse.items()]
    guide = [] if context.guide is None else [cut(context.guide, starts, tile)]
    return torch.stack([cut(context.padded, starts, tile), *around, *guide], 1)


def joined_inputs(parts: Tensor, whole: Tensor, place: Tensor) -> Tensor:
    """`near` with the whole volume (*tile) and the tiles' coordinates (n, 3, *tile)."""
    return torch.cat([parts, whole.expand(len(parts), 1, *whole.shape), place], 1)


class PatchPrior:
    """A trained prior as a denoiser D(x, sigma) of whole volumes of any shape, in network space.

    Parameters
    ----------
    model : Precond
        The patch denoiser.
    voxel_size : (z, y, x)
        Voxel size [mm] of the volumes that it is given; `at` sets it.
    tile_batch : int
        Tiles per call of the network: bounds the memory. None = 8 on a CPU, 128 (about 6 GB) on a GPU.
    bf16 : bool or None
        Compute in bfloat16; None = where that is quicker. The error it makes is below a hundredth of sigma.
    info : dict
        What the checkpoint says of itself (name, training, digest).
    """

    def __init__(
        self,
        model: Precond,
        *,
        voxel_size: Triple = (2.0, 2.0, 2.0),
        tile_batch: int | None = None,
        bf16: bool | None = None,
        info: dict | None = None,
    ) -> None:
        self.model = model.eval()
        self.bf16 = bf16
        self.config = model.config
        self.voxel_size = voxel_size
        self.tile_batch = tile_batch or (8 if self.device.type == "cpu" else 128)
        self.info = info or {}
        self.num_passes = 0  # passes over a volume since it was made

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def at(self, voxel_size: Triple) -> PatchPrior:
        """The same prior for volumes of this voxel size [mm]."""
        return self._with(self.model, voxel_size)

    def without(
        self, *, context: bool = False, surround: bool = False, guide: bool = False, coordinates: bool = False
    ) -> PatchPrior:
        """The same weights with inputs switched off: shows what each is worth."""
        config = replace(
            self.config,
            use_context=self.config.use_context and not context,
            use_surround=self.config.use_surround and not surround,
            use_guide=self.config.use_guide and not guide,
            use_coordinates=self.config.use_coordinates and not coordinates,
        )
        model = Precond.__new__(Precond)
        nn.Module.__init__(model)
        model.config, model.network = config, self.model.network
        return self._with(model, self.voxel_size)

    def _with(self, model: Precond, voxel_size: Triple) -> PatchPrior:
        return PatchPrior(
            model, voxel_size=voxel_size, tile_batch=self.tile_batch, bf16=self.bf16, info=self.info
        )

    @staticmethod
    def to_network(mu: Tensor) -> Tensor:
        """Network space from mu [1/mm]."""
        return mu / MU_WATER

    @staticmethod
    def from_network(x: Tensor) -> Tensor:
        """mu [1/mm] from network space."""
        return x * MU_WATER

    @torch.no_grad()
    def __call__(
        self,
        x: Tensor,
        sigma: float,
        *,
        generator: torch.Generator | None = None,
        keep: Tensor | None = None,
        on_tiles: Callable[[int, int], None] | None = None,
        grid: PatchGrid | None = None,
        guide: Tensor | None = None,
    ) -> Tensor:
        """Denoise a whole volume.

        Parameters
        ----------
        x : Tensor (z, y, x)
            The noisy volume, network space.
        sigma : float
            Its noise level.
        generator : torch.Generator or None
            Draws the offset of the tiling; None = the torch default.
        keep : bool Tensor (z, y, x) or None
            Where the volume may differ from air; tiles without such a voxel are not computed but set to 0 (air).
        on_tiles : f(done, total) or None
            Told after each batch of tiles; may raise StopIteration, which is passed on.
        grid : PatchGrid or None
            The tiling, instead of a random one.
        guide : Tensor (z, y, x) or None
            A least-squares reconstruction of the scan that x comes from, network space; see `core.prior.network`.
        """
        if not sigma > 0:
            raise ValueError(f"the noise level sigma must be above 0, got {sigma}.")
        shape = (x.shape[0], x.shape[1], x.shape[2])
        grid = grid or PatchGrid.random(shape, self.config.tile, generator=generator)
        guide = None if guide is None else grid.pad(guide.to(self.device, torch.float32))
        context = Context.of(grid.pad(x.to(self.device, torch.float32)), self.config, guide)
        denoised = torch.zeros_like(context.padded)
        batches = list(grid.batches(self.tile_batch, None if keep is None else grid.pad(keep)))
        done, total = 0, sum(len(starts) for starts in batches)
        for starts, tiles in self._denoised(context, batches, sigma):
            paste(denoised, tiles, starts)
            done += len(starts)
            if on_tiles is not None:
                on_tiles(done, total)
        self.num_passes += 1
        return grid.crop(denoised).to(x.device)

    def _denoised(
        self, context: Context, batches: list[list[Shape]], sigma: float
    ) -> Iterator[tuple[list[Shape], Tensor]]:
        """The starts of tiles and the tiles, denoised (n, *tile), a batch at a time in any order."""
        for starts in batches:
            inputs = network_inputs(context, starts, self.config.tile)
            yield starts, self.denoise_tiles(inputs, sigma, context.factor)

    @torch.no_grad()
    def denoise_tiles(self, inputs: Tensor, sigma: float, factor: float) -> Tensor:
        """Denoised tiles (n, *tile) from the network's inputs (n, c, *tile); factor: see `Context`."""
        n, device = len(inputs), self.device
        bf16 = bf16_pays(device) if self.bf16 is None else self.bf16
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            D_x = self.model(
                inputs.to(device),
                torch.full((n,), sigma, device=device),
                torch.full((n,), factor, device=device),
                torch.tensor(self.voxel_size, device=device).expand(n, 3),
            )
        return D_x[:, 0]


def bf16_pays(device: torch.device | str) -> bool:
    """Whether bfloat16 is quicker than float32 here: on GPUs, and on CPUs with instructions for it."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
