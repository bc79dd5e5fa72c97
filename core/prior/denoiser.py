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

from core.prior.network import NUM_INPUTS, NetworkConfig, PatchUNet
from core.prior.patches import (
    PatchGrid,
    context_noise_factor,
    coordinates,
    cut,
    global_context,
    halved,
    paste,
    surround,
)
from core.prior.rof import rof
from core.volume import MU_WATER, Shape, Triple

AIR = 0.1
"""Network space: a voxel below it counts as air."""


class Denoiser(Protocol):
    """D(x, sigma): the expected clean x (z, y, x) given x with white noise of deviation sigma."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Context:
    """What all tiles of one pass share: the noisy volume, seen from further away.

    padded (z, y, x), half: the volume and its average over 2 x 2 x 2 voxels; whole (P, P, P): its average on the
    tile's grid; factor: by how much that average lowers the noise.
    """

    padded: Tensor
    half: Tensor
    whole: Tensor
    factor: float

    @classmethod
    def of(cls, padded: Tensor, config: NetworkConfig) -> Context:
        shape = (padded.shape[0], padded.shape[1], padded.shape[2])
        size, by = config.patch_size, config.context_by
        whole, factor = global_context(padded, size, by), context_noise_factor(shape, size, by)
        return cls(padded, halved(padded), whole, factor)


class Precond(nn.Module):
    """D(x, sigma) of patches: EDM's preconditioning (Karras et al. 2022, table 1) about the data's mean.

    D = mean + c_skip (x - mean) + c_out F(c_in (x - mean), ...). With F = 0 that is the exact denoiser of white
    Gaussian data N(mean, sigma_data^2). A fresh network is total variation: see `core.prior.network`.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.network = PatchUNet(config)

    def forward(self, inputs: Tensor, sigma: Tensor, factor: Tensor, voxel_size: Tensor) -> Tensor:
        """Denoised patches.

        inputs (b, 6, P, P, P) in network space; sigma, factor (b,); voxel_size (b, 3) [mm]
        -> (b, 1, P, P, P).
        """
        config = self.config
        sd, sigma = config.sigma_data, sigma.to(inputs)[:, None, None, None, None]
        factor = factor.to(inputs)[:, None, None, None, None]
        c_skip = sd**2 / (sigma**2 + sd**2)
        c_out = sigma * sd * (sigma**2 + sd**2).rsqrt()
        centred = inputs[:, :3] - config.mean
        noise = torch.cat([sigma, sigma * 8**-0.5, sigma * factor], 1)  # of patch, surround, whole
        seen = centred * (noise**2 + sd**2).rsqrt()
        usable = torch.tensor([1.0, config.use_surround, config.use_context], device=inputs.device)
        place = inputs[:, 3:] if config.use_coordinates else torch.zeros_like(inputs[:, 3:])
        conditions = torch.cat(
            [sigma.flatten(1).log(), (sigma * factor).flatten(1).log() / 4, voxel_size.to(inputs).log()], 1
        )
        plain = config.mean + c_skip * centred[:, :1]
        with torch.no_grad():
            smooth = [
                (rof(inputs[:, :1], strength * sigma.flatten(), voxel_size) - plain) / c_out
                for strength in config.smoothings
            ]
        F_x = self.network(
            torch.cat([seen * usable[:, None, None, None], place], 1),
            torch.cat(smooth, 1) if smooth else inputs[:, :0],
            conditions,
        )
        return plain + c_out * F_x.to(inputs.dtype)


def network_inputs(context: Context, starts: list[Shape], patch_size: int) -> Tensor:
    """The network's input channels (n, 6, P, P, P) of the tiles that start at `starts`."""
    shape = (context.padded.shape[0], context.padded.shape[1], context.padded.shape[2])
    return joined_inputs(near(context, starts, patch_size), context.whole, shape, starts)


def near(context: Context, starts: list[Shape], patch_size: int) -> Tensor:
    """Each tile and its surround (n, 2, P, P, P): what no other tile has."""
    parts = context.padded.new_empty((len(starts), 2, patch_size, patch_size, patch_size))
    for part, start in zip(parts, starts, strict=True):
        part[0] = cut(context.padded, start, patch_size)
        part[1] = surround(context.half, start, patch_size)
    return parts


def joined_inputs(parts: Tensor, whole: Tensor, shape: Shape, starts: list[Shape]) -> Tensor:
    """`near` with what goes without saying: the whole volume, and where the tiles are in one of that shape."""
    size = parts.shape[-1]
    inputs = parts.new_empty((len(parts), NUM_INPUTS, size, size, size))
    inputs[:, :2] = parts
    inputs[:, 2] = whole
    for row, start in zip(inputs, starts, strict=True):
        row[3:] = coordinates(shape, start, size)
    return inputs


class PatchPrior:
    """A trained prior as a denoiser D(x, sigma) of whole volumes of any shape, in network space.

    Parameters
    ----------
    model : Precond
        The patch denoiser.
    voxel_size : (z, y, x)
        Voxel size [mm] of the volumes that it is given; `at` sets it.
    tile_batch : int
        Tiles per call of the network: bounds the memory.
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
        tile_batch: int = 8,
        bf16: bool | None = None,
        info: dict | None = None,
    ) -> None:
        self.model = model.eval()
        self.bf16 = bf16
        self.config = model.config
        self.voxel_size = voxel_size
        self.tile_batch = tile_batch
        self.info = info or {}
        self.num_passes = 0  # passes over a volume since it was made

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def at(self, voxel_size: Triple) -> PatchPrior:
        """The same prior for volumes of this voxel size [mm]."""
        return self._with(self.model, voxel_size)

    def without(
        self, *, context: bool = False, surround: bool = False, coordinates: bool = False
    ) -> PatchPrior:
        """The same weights with inputs switched off: shows what each is worth."""
        config = replace(
            self.config,
            use_context=self.config.use_context and not context,
            use_surround=self.config.use_surround and not surround,
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
        """
        if not sigma > 0:
            raise ValueError(f"the noise level sigma must be above 0, got {sigma}.")
        size = self.config.patch_size
        shape = (x.shape[0], x.shape[1], x.shape[2])
        grid = grid or PatchGrid.random(shape, size, generator=generator)
        context = Context.of(grid.pad(x.to(self.device, torch.float32)), self.config)
        denoised = torch.zeros_like(context.padded)
        batches = list(grid.batches(self.tile_batch, None if keep is None else grid.pad(keep)))
        done, total = 0, sum(len(starts) for starts in batches)
        for starts, tiles in self._denoised(context, batches, sigma):
            for tile, start in zip(tiles, starts, strict=True):
                paste(denoised, tile, start)
            done += len(starts)
            if on_tiles is not None:
                on_tiles(done, total)
        self.num_passes += 1
        return grid.crop(denoised).to(x.device)

    def _denoised(
        self, context: Context, batches: list[list[Shape]], sigma: float
    ) -> Iterator[tuple[list[Shape], Tensor]]:
        """The starts of tiles and the tiles, denoised (n, P, P, P), a batch at a time in any order."""
        for starts in batches:
            inputs = network_inputs(context, starts, self.config.patch_size)
            yield starts, self.denoise_tiles(inputs, sigma, context.factor)

    @torch.no_grad()
    def denoise_tiles(self, inputs: Tensor, sigma: float, factor: float) -> Tensor:
        """Denoised tiles (n, P, P, P) from the network's inputs (n, 6, P, P, P); factor: see `Context`."""
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
