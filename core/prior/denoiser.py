"""From the network F to the denoiser D(x, sigma | c) of whole volumes.

Network space is attenuation relative to water, x = mu / MU_WATER: air 0, water 1, 1000 HU a unit. It exists
in `core.prior` and in the calls of D alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Protocol

import torch
from torch import Tensor, nn

from core.prior.network import ABLATIONS, NetworkConfig, PatchUNet
from core.prior.patches import (
    PatchGrid,
    Starts,
    context_noise_factor,
    coordinates,
    cut,
    global_context,
    neighbourhood,
    paste,
    reduced,
)
from core.prior.ranges import TrainedRanges
from core.prior.rof import rof
from core.volume import MU_WATER, Shape, Triple

AIR = 0.1
"""Network space: a voxel below this value counts as air."""

LEAST_SQUARES_ERROR = 0.3
"""Typical RMS error of a least-squares image, network space. The network sees the image divided by the root of the sum
of squares of this and of the data's deviation."""

TYPICAL_ERROR, TYPICAL_RATIO = 0.08, 0.1
"""A condition's error (network space) and a sampling ratio in the middle of the trained ranges: the network sees logarithms
of the ratios to them."""


class Denoiser(Protocol):
    """D(x, sigma): the posterior mean of the clean volume (z, y, x) given x, which has white noise of deviation sigma."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Condition:
    """What is known of the object apart from the noisy volume. Images (z, y, x) in network space.

    Attributes
    ----------
    image : Tensor or None
        The best image that is cheap to have: a total-variation reconstruction, or a coarser volume, upsampled.
    error : float
        Its expected RMS error s, network units.
    least_squares : Tensor or None
        The least-squares image of the scan.
    sampling_ratio : float
        Views of the scan over those of a full scan at this grid; 1 if the image comes from no scan.
    """

    image: Tensor | None = None
    error: float = TYPICAL_ERROR
    least_squares: Tensor | None = None
    sampling_ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.image is not None and not self.error > 0:
            raise ValueError(f"the error of a conditioning image must be above 0, got {self.error}.")


@dataclass(frozen=True, eq=False)
class Multiscale:
    """A padded volume (z, y, x), its averages over cubes of 2 and 4 voxels, and its average on the tile's grid."""

    padded: Tensor
    coarse: dict[int, Tensor]
    whole: Tensor

    @classmethod
    def of(cls, padded: Tensor, config: NetworkConfig) -> Multiscale:
        coarse = {factor: reduced(padded, factor) for factor in config.factors}
        return cls(padded, coarse, global_context(padded, config.tile))

    def near(self, starts: Starts, tile: Shape) -> list[Tensor]:
        """The tiles (n, *tile) and their neighbourhoods."""
        around = [neighbourhood(coarse, starts, tile, factor) for factor, coarse in self.coarse.items()]
        return [cut(self.padded, starts, tile), *around]


@dataclass(frozen=True, eq=False)
class Context:
    """What all tiles of one pass share: the noisy volume and the conditioning images on the padded grid.

    `condition` and `least_squares` are None where the network has no channel for them.
    """

    noisy: Multiscale
    condition: Multiscale | None
    least_squares: Tensor | None

    @classmethod
    def of(cls, noisy: Tensor, config: NetworkConfig, condition: Condition | None = None) -> Context:
        """`noisy` and the images of `condition` lie on the padded grid. A missing image is replaced by the data's mean."""
        condition = condition or Condition()
        absent = torch.full_like(noisy, config.mean)

        def shown(image: Tensor | None) -> Tensor:
            return absent if image is None else image

        return cls(
            Multiscale.of(noisy, config),
            Multiscale.of(shown(condition.image), config) if config.conditional else None,
            shown(condition.least_squares) if config.least_squares else None,
        )

    def near(self, starts: Starts, tile: Shape) -> Tensor:
        """The channels (n, c, *tile) that differ from tile to tile."""
        parts = self.noisy.near(starts, tile)
        if self.condition is not None:
            parts += self.condition.near(starts, tile)
        if self.least_squares is not None:
            parts.append(cut(self.least_squares, starts, tile))
        return torch.stack(parts, 1)

    @property
    def whole(self) -> Tensor:
        """The global context (c, *tile)."""
        wholes = [self.noisy.whole] + ([] if self.condition is None else [self.condition.whole])
        return torch.stack(wholes)


def network_inputs(context: Context, starts: Starts, tile: Shape) -> Tensor:
    """The network's input channels (n, c, *tile) of the tiles that start there."""
    padded = context.noisy.padded
    place = coordinates(padded.shape, starts, tile, padded.device)
    return joined_inputs(context.near(starts, tile), context.whole, place)


def joined_inputs(near: Tensor, whole: Tensor, place: Tensor) -> Tensor:
    """`Context.near` with the global context (c, *tile) and the tiles' coordinates (n, 3, *tile)."""
    return torch.cat([near, whole.expand(len(near), *whole.shape), place], 1)


@dataclass(frozen=True, eq=False)
class Numbers:
    """What the network knows of each patch (b,) besides its images.

    Attributes
    ----------
    sigma : noise level, network units
    factor : by how much the global context lowers white noise
    voxel_size : (b, 3) [mm]
    error : RMS error of the condition, network units; 0 = no condition
    sampling_ratio : of the scan
    """

    sigma: Tensor
    factor: Tensor
    voxel_size: Tensor
    error: Tensor
    sampling_ratio: Tensor


class Precond(nn.Module):
    """D(x, sigma | c) of patches: EDM's preconditioning (Karras et al. 2022, table 1) about the condition.

    Where a patch has a condition c of RMS error s, its clean value is modelled as N(c, s^2), else as
    N(mean, sigma_data^2). With m and s for either,

        c_skip = s^2 / (sigma^2 + s^2),  c_out = sigma s / sqrt(sigma^2 + s^2),  c_in = 1 / sqrt(sigma^2 + s^2)
        D = m + c_skip (x - m) + c_out F(c_in (x - m), c, ..., c_noise)

    With F = 0 this is the exact posterior mean of the Gaussian model given x and c: c at high sigma, x at low sigma.
    c_noise stands for the numbers that F is modulated by: log sigma, log s, log sampling ratio, log voxel size.
    """

    smoothing: Callable[..., Tensor] = staticmethod(rof)  # replaced by a compiled one in compiled training

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.network = PatchUNet(config)

    def forward(self, inputs: Tensor, numbers: Numbers) -> Tensor:
        """Denoised patches (b, 1, z, y, x) from input channels (b, c, z, y, x) in network space."""
        config = self.config
        sigma, factor, error = (
            t.to(inputs)[:, None, None, None, None] for t in (numbers.sigma, numbers.factor, numbers.error)
        )
        conditional = (error > 0) & config.conditional
        s = torch.where(conditional, error, config.sigma_data)
        c_skip = s**2 / (sigma**2 + s**2)
        c_out = sigma * s * (sigma**2 + s**2).rsqrt()
        noisy = inputs[:, :1]
        if config.conditional:
            centre = torch.where(conditional, inputs[:, self._condition_channels[:1]], config.mean)
        else:
            centre = torch.full_like(noisy, config.mean)
        plain = centre + c_skip * (noisy - centre)
        F_x = self.network(
            self._seen(inputs, sigma, factor, s, conditional),
            self._smooth(noisy, plain, sigma, c_out, conditional, numbers.voxel_size.to(inputs)),
            self._c_noise(inputs, numbers, conditional, s),
        )
        return plain + c_out * F_x.to(inputs.dtype)

    @property
    def _noisy_channels(self) -> list[int]:
        names = self.config.input_names
        return [i for i, n in enumerate(names) if n in ("patch", "context") or n.startswith("neighbourhood")]

    @property
    def _condition_channels(self) -> list[int]:
        return self.config.channels_of("condition")

    def _seen(self, inputs: Tensor, sigma: Tensor, factor: Tensor, s: Tensor, conditional: Tensor) -> Tensor:
        """The input channels at unit variance: the noisy volume about its centre, the condition, the rest."""
        config = self.config
        seen = inputs - config.mean
        ones = torch.ones_like(sigma)
        levels = torch.cat([ones, *(ones * f**-1.5 for f in config.factors), factor], 1) * sigma
        noisy = self._noisy_channels
        if config.conditional:
            condition = self._condition_channels
            centre = seen[:, condition] * conditional
            seen[:, noisy] = seen[:, noisy] - centre
            seen[:, condition] = centre / config.sigma_data
        seen[:, noisy] = seen[:, noisy] * (levels**2 + s**2).rsqrt()
        if config.least_squares:
            scale = math.hypot(LEAST_SQUARES_ERROR, config.sigma_data)
            seen[:, config.channels_of("least_squares")] /= scale
        seen[:, -3:] = inputs[:, -3:]
        for kind in ABLATIONS:
            if not getattr(config, f"use_{kind}"):
                seen[:, config.channels_of(kind)] = 0
        return seen

    @torch.no_grad()
    def _smooth(
        self,
        noisy: Tensor,
        plain: Tensor,
        sigma: Tensor,
        c_out: Tensor,
        conditional: Tensor,
        voxel_size: Tensor,
    ) -> Tensor:
        """For each smoothing strength the F for which D is the smoothed patch (b, n, z, y, x).

        The combined image is smoothed at its own expected error: at high sigma the noisy patch alone shows nothing.
        """
        strengths = self.config.smoothings
        if not strengths:
            return noisy[:, :0]
        image, level = torch.where(conditional, plain, noisy), torch.where(conditional, c_out, sigma)
        smooth = [self.smoothing(image, k * level.flatten(), voxel_size) for k in strengths]
        return torch.cat([(v - plain) / c_out for v in smooth], 1)

    def _c_noise(self, inputs: Tensor, numbers: Numbers, conditional: Tensor, s: Tensor) -> Tensor:
        """The numbers (b, k) that modulate the network."""
        sigma, factor = numbers.sigma.to(inputs)[:, None], numbers.factor.to(inputs)[:, None]
        known = [sigma.log(), (sigma * factor).log() / 4, numbers.voxel_size.to(inputs).log()]
        if self.config.conditional:
            flag = conditional.flatten(1).to(inputs)
            ratio = numbers.sampling_ratio.to(inputs)[:, None]
            known += [
                flag,
                flag * (s.flatten(1) / TYPICAL_ERROR).log(),
                flag * (ratio / TYPICAL_RATIO).log(),
            ]
        return torch.cat(known, 1)


@dataclass(eq=False)
class PatchPrior:
    """A trained prior: the patch denoiser, what it was trained for, and how it computes.

    `bind` gives the denoiser D(x, sigma) of volumes on one grid.

    Attributes
    ----------
    model : Precond
        The patch denoiser.
    trained : TrainedRanges
        The range of every conditioning number; `bind` clamps to it.
    tile_batch : int
        Tiles per call of the network: bounds the memory. 0 = 8 on a CPU, 128 (about 6 GB) on a GPU.
    bf16 : bool or None
        Compute in bfloat16; None = where that is faster. Its error is below a hundredth of sigma.
    info : dict
        What the checkpoint records (name, training, digest).
    num_passes : int
        Passes over a volume since it was made.
    """

    model: Precond
    trained: TrainedRanges = field(default_factory=TrainedRanges)
    tile_batch: int = 0
    bf16: bool | None = None
    info: dict = field(default_factory=dict)
    num_passes: int = 0

    def __post_init__(self) -> None:
        self.model.eval()
        self.tile_batch = self.tile_batch or (8 if self.device.type == "cpu" else 128)

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
            Where the volume may differ from air. Tiles without such a voxel are set to 0 (air) instead of being computed.
        generator : torch.Generator or None
            Draws the offset of the tiling; None = the torch default.
        grid : PatchGrid or None
            A fixed tiling, instead of a random one in each pass.
        on_tiles : f(done, total) or None
            Called after each batch of tiles; may raise StopIteration, which D passes on.
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
            return self.model(inputs.to(device), numbers)[:, 0]

    def denoise_batches(
        self, context: Context, batches: list[list[Shape]], numbers: Numbers
    ) -> Iterator[tuple[list[Shape], Tensor]]:
        """Yield the starts of tiles and the denoised tiles (n, *tile), a batch at a time, in any order.

        `numbers` holds a single row, which is the same for all tiles.
        """
        for starts in batches:
            inputs = network_inputs(context, starts, self.config.tile)
            yield starts, self.denoise_tiles(inputs, repeated(numbers, len(starts)))


@dataclass(eq=False)
class VolumeDenoiser:
    """D(x, sigma) of whole volumes on one grid, in network space. See `PatchPrior.bind`.

    Attributes
    ----------
    voxel_size : (z, y, x) [mm], clamped to the trained range
    remarks : sentences on what was clamped
    tiling : PatchGrid or None
        Of the pass at hand, or of the last one.
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

    @torch.no_grad()
    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Denoise x (z, y, x), which has white noise of deviation `sigma`, network units."""
        if not sigma > 0:
            raise ValueError(f"the noise level sigma must be above 0, got {sigma}.")
        prior, device = self.prior, self.prior.device
        shape = (x.shape[0], x.shape[1], x.shape[2])
        tile = prior.config.tile
        grid = self.grid or PatchGrid.random(shape, tile, generator=self.generator)
        self.tiling = grid

        def padded(image: Tensor | None) -> Tensor | None:
            return None if image is None else grid.pad(image.to(device, torch.float32))

        known = replace(
            self.condition,
            image=padded(self.condition.image),
            least_squares=padded(self.condition.least_squares),
        )
        context = Context.of(grid.pad(x.to(device, torch.float32)), prior.config, known)
        denoised = torch.zeros_like(context.noisy.padded)
        batches = list(grid.batches(prior.tile_batch, None if self.mask is None else grid.pad(self.mask)))
        done, total = 0, sum(len(starts) for starts in batches)
        for starts, tiles in prior.denoise_batches(context, batches, self._numbers(sigma, grid)):
            paste(denoised, tiles, starts)
            done += len(starts)
            if self.on_tiles is not None:
                self.on_tiles(done, total)
        prior.num_passes += 1
        return grid.crop(denoised).to(x.device)

    def _numbers(self, sigma: float, grid: PatchGrid) -> Numbers:
        """A single row."""
        factor = context_noise_factor(grid.padded_shape, grid.tile)
        error = 0.0 if self.condition.image is None else self.condition.error
        row = (sigma, factor, self.voxel_size, error, self.condition.sampling_ratio)
        return Numbers(*(torch.tensor([value], device=self.prior.device) for value in row))


def repeated(numbers: Numbers, n: int) -> Numbers:
    """A single row, n times."""
    return Numbers(*(t.expand(n, *t.shape[1:]) for t in vars(numbers).values()))


def bf16_pays(device: torch.device | str) -> bool:
    """Whether bfloat16 is faster than float32 here: on GPUs, and on CPUs with instructions for it."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))
