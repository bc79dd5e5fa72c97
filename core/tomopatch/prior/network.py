"""Denoising network F: a 3D U-Net on patches with their neighbourhood, global context and position.

Input channels, all on the patch's grid (z, y, x): the noisy patch and its neighbourhoods averaged over 2 and
4 voxels; the same of the condition, if the network has one; the least-squares image; the whole noisy volume
averaged to the patch's grid, and the whole condition; three coordinates; the patch smoothed by total
variation at several strengths. The global context (the whole volume) and the coordinates follow Yang et al.
2025 (arXiv 2512.18161).

The condition is the best image available at low cost: the total-variation reconstruction of a measurement,
or an upsampled coarser volume. The least-squares image holds streaks and noise, but also detail that
regularisation has removed. (Jin et al. 2017, FBPConvNet, learn from such an image alone)

The network has three parts. The trunk, a U-Net behind a space-to-depth stem that moves 2 x 2 x 2 voxels into
channels, has a large receptive field. Space-to-depth makes it blind to shifts by one voxel, so a few thin
layers at full resolution, which share their weights over all voxels, compute the output from its features.
Direct paths add the smoothed patches: an untrained network returns their mean, so it only has to learn the
improvement over total variation.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from tomopatch.volume import Shape, finite

ABLATIONS = ("context", "neighbourhoods", "least_squares", "coordinates")
"""Inputs that can be switched off."""

SWITCHES = tuple(f"use_{name}" for name in ABLATIONS)
POINT = (1, 1, 1)  # kernel of a pointwise convolution
NUM_NUMBERS = 5  # log sigma, log sigma of the context, log voxel size (z, y, x)
NUM_CONDITION_NUMBERS = 3  # whether there is a condition, log of its error, log of the sampling ratio
NUM_WAVES = 5
NUM_FEATURES = 8  # channels that the trunk passes to the layers at full resolution


_LIMITS: dict[str, tuple[float, float]] = {
    "patch_size": (2, 512),
    "channels": (1, 8192),
    "blocks": (0, 64),
    "fine_channels": (1, 4096),
    "fine_blocks": (0, 64),
    "smoothings": (1e-6, 1e3),
    "embed": (1, 4096),
    "sigma_data": (1e-6, 1e6),
    "mean": (-1e6, 1e6),
}
"""Bounds of a config from a file: far beyond any trained network, and far below the memory of a machine."""
_MOST_LEVELS = 8


@dataclass(frozen=True)
class NetworkConfig:
    """Everything needed to build the network of a checkpoint."""

    patch_size: int = 32  # edge of a tile, in training and in use
    two_d: bool = False  # tiles are single slices and kernels are 2D: a slice prior
    channels: tuple[int, ...] = (32, 64, 128)  # per level of the trunk, at 1/2, 1/4, 1/8 of the resolution
    blocks: tuple[int, ...] = (1, 2, 2)  # residual blocks per level on the way down, and again on the way up
    fine_channels: int = 16  # of the layers at full resolution
    fine_blocks: int = 2
    smoothings: tuple[float, ...] = (0.5, 0.9)  # strengths of total variation, in units of the noise
    embed: int = 128  # width of the embedding
    sigma_data: float = 0.5  # standard deviation of the data, network units
    mean: float = 0.5  # mean of the data, network units
    neighbourhoods: int = 1  # number of neighbourhood scales: at 1/2, 1/4 of the resolution
    least_squares: bool = False  # has a channel for the least-squares image
    conditional: bool = False  # has channels for the condition
    # Inputs that can be switched off: an ablation
    use_context: bool = True
    use_neighbourhoods: bool = True
    use_least_squares: bool = True
    use_coordinates: bool = True

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in ("channels", "blocks", "smoothings"):
                value = tuple(value)
                object.__setattr__(self, f.name, value)
                number = float if f.name == "smoothings" else int
                if not all(
                    finite(n) and isinstance(n, (int, number)) and n is not True and n is not False
                    for n in value
                ):
                    raise ValueError(f"{f.name} must be of type {number.__name__}, got {str(value)[:80]}.")
            elif type(value) is not type(f.default) and not (f.default.__class__ is float and finite(value)):
                kind = type(f.default).__name__
                raise ValueError(f"{f.name} must be of type {kind}, got {str(value)[:80]!r}.")
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            if len(values) > _MOST_LEVELS or not all(low <= n <= high for n in values):
                raise ValueError(f"{name} must lie between {low:g} and {high:g}, got {str(value)[:80]}.")
        if len(self.channels) != len(self.blocks) or not self.channels:
            raise ValueError(f"channels {self.channels} and blocks {self.blocks} must name the same levels.")
        if self.neighbourhoods not in ((0,) if self.two_d else (0, 1, 2)):
            raise ValueError(
                f"neighbourhoods must be 0, 1 or 2, and 0 for a slice prior, got {self.neighbourhoods}."
            )
        if self.patch_size % 2 ** len(self.channels):
            raise ValueError(
                f"patch_size must be a multiple of {2 ** len(self.channels)} for {len(self.channels)} levels,"
                f" got {self.patch_size}."
            )

    @property
    def tile(self) -> Shape:
        """Shape (z, y, x) of a tile in voxels."""
        return (1 if self.two_d else self.patch_size, self.patch_size, self.patch_size)

    @property
    def downsampling(self) -> Shape:
        """Downsampling factor (z, y, x) from level to level."""
        return (1 if self.two_d else 2, 2, 2)

    @property
    def factors(self) -> tuple[int, ...]:
        """Downsampling factors of the neighbourhoods."""
        return tuple(2**k for k in range(1, self.neighbourhoods + 1))

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the input channels in their order."""
        around = [f"neighbourhood {factor}" for factor in self.factors]
        names = ["patch", *around]
        if self.conditional:
            names += ["condition", *(f"condition {name}" for name in around)]
        if self.least_squares:
            names += ["least squares"]
        names += ["context"]
        if self.conditional:
            names += ["condition context"]
        return (*names, "z", "y", "x")

    @property
    def num_inputs(self) -> int:
        return len(self.input_names)

    def channels_of(self, kind: str) -> list[int]:
        """Indices of the input channels of a kind: a name in ABLATIONS, or condition."""
        if kind == "coordinates":
            return [self.num_inputs - 3, self.num_inputs - 2, self.num_inputs - 1]
        word = {"neighbourhoods": "neighbourhood"}.get(kind, kind.replace("_", " "))
        return [i for i, name in enumerate(self.input_names) if word in name]


PRESETS: dict[str, NetworkConfig] = {
    # 4.9 M parameters: for CPUs
    "small": NetworkConfig(neighbourhoods=2, least_squares=True, conditional=True),
    # 27 M parameters: trained on a GPU, used anywhere
    "base": NetworkConfig(
        channels=(64, 128, 256),
        blocks=(2, 2, 3),
        fine_channels=32,
        embed=256,
        neighbourhoods=2,
        least_squares=True,
        conditional=True,
    ),
    # 1.1 M parameters: for experiments, such as ablations
    "tiny": NetworkConfig(
        channels=(16, 32, 64),
        blocks=(1, 1, 2),
        fine_channels=8,
        fine_blocks=1,
        embed=64,
        least_squares=True,
        conditional=True,
    ),
    # 1.7 M parameters: a slice prior as in DiffusionMBIR (Chung et al. 2022) and DDS (2023), for comparison
    "slices": NetworkConfig(
        patch_size=128,
        two_d=True,
        channels=(32, 64, 128),
        blocks=(1, 2, 2),
        neighbourhoods=0,
        use_context=False,
    ),
}


# ---- magnitude-preserving layers (Karras et al. 2024, EDM2, config G) -------------------------------------
# Weights have a fixed norm and activations keep unit variance through every layer, so that high learning
# rates do no harm. Otherwise activations grow from level to level until only the direct paths learn.


def normalize(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """x divided by its root mean square along `dims`, in the precision of x. (EDM2, eq. 30, 66)"""
    power = x.square().mean(dims, keepdim=True, dtype=torch.float32)
    return x * torch.rsqrt(power + 1e-8).to(x.dtype)


def mp_silu(x: Tensor) -> Tensor:
    """SiLU that keeps unit variance. (EDM2, eq. 81)"""
    return functional.silu(x) / 0.596


def mp_sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Blend that keeps unit variance. (EDM2, eq. 88)"""
    return torch.lerp(a, b, t) / math.hypot(1 - t, t)


class MPConv(nn.Module):
    """Convolution, or linear layer without a kernel: unit-norm weights per output, no bias. (EDM2, eq. 47)"""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: tuple[int, ...] = (), stride: Shape = (1, 1, 1)
    ) -> None:
        super().__init__()
        self.stride = stride
        self.padding = tuple(k // 2 if s == 1 else 0 for k, s in zip(kernel, stride, strict=False))
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, *kernel))

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        dims = tuple(range(1, self.weight.ndim))
        weight = (normalize(self.weight, dims) * (gain / self.weight[0].numel() ** 0.5)).to(x.dtype)
        if not self.padding:
            return functional.linear(x, weight)
        return functional.conv3d(x, weight, stride=self.stride, padding=self.padding)


@torch.no_grad()
def renormalize(network: nn.Module) -> None:
    """Restore unit scale of all weights, so that optimiser steps stay comparable. (EDM2, sec. 2.3)"""
    for module in network.modules():
        if isinstance(module, MPConv):
            module.weight.copy_(normalize(module.weight, tuple(range(1, module.weight.ndim))))


class Block(nn.Module):
    """Residual block, modulated by the conditioning. (EDM2, fig. 21)"""

    def __init__(self, channels_in: int, channels: int, embed: int, kernel: Shape) -> None:
        super().__init__()
        self.skip = MPConv(channels_in, channels, POINT) if channels_in != channels else nn.Identity()
        self.conv_in = MPConv(channels, channels, kernel)
        self.conv_out = MPConv(channels, channels, kernel)
        self.modulate = MPConv(embed, channels)
        self.modulate_gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        # per voxel: unlike group norm, independent of the tile's size
        x = normalize(self.skip(x), (1,))
        scale = 1 + self.modulate(embedding, gain=self.modulate_gain)
        h = self.conv_in(mp_silu(x)) * scale[:, :, None, None, None]
        return mp_sum(x, self.conv_out(mp_silu(h)), 0.3)


class PatchUNet(nn.Module):
    """F(inputs, smooth, numbers): (b, c, z, y, x), (b, n, z, y, x), (b, k) -> (b, 1, z, y, x).

    `smooth` holds, for each of the n smoothing strengths, the F for which D is the smoothed patch.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        width, embed, num_smooth = config.channels, config.embed, len(config.smoothings)
        kernel, downsampling = (1 if config.two_d else 3, 3, 3), config.downsampling
        packed = math.prod(downsampling)  # voxels that the stem moves into channels
        self.register_buffer("frequencies", 2.0 ** (torch.arange(NUM_WAVES) - 1) * math.pi, persistent=False)
        numbers = NUM_NUMBERS + NUM_CONDITION_NUMBERS * config.conditional
        features = numbers + 2 * NUM_WAVES + 1  # and a one, instead of a bias
        self.embed_in, self.embed_out = MPConv(features, embed), MPConv(embed, embed)
        # here and below: and a channel of ones, instead of a bias
        self.stem = MPConv(packed * (config.num_inputs + num_smooth) + 1, width[0], kernel)

        self.down, self.up, self.shrink, self.grow = (nn.ModuleList() for _ in range(4))
        for level, (channels, blocks) in enumerate(zip(width, config.blocks, strict=True)):
            last = level == len(width) - 1
            joined = [channels if last else 2 * channels] + [channels] * (blocks - 1)
            self.down.append(nn.ModuleList(Block(channels, channels, embed, kernel) for _ in range(blocks)))
            self.up.append(nn.ModuleList(Block(c, channels, embed, kernel) for c in joined))
            if not last:
                self.shrink.append(MPConv(channels, width[level + 1], downsampling, stride=downsampling))
                self.grow.append(MPConv(width[level + 1], channels, POINT))

        self.spread = MPConv(width[0], packed * NUM_FEATURES, POINT)
        self.fine_in = MPConv(len(_fine_inputs(config)), config.fine_channels, kernel)
        self.fine = nn.ModuleList(
            Block(config.fine_channels, config.fine_channels, embed, kernel)
            for _ in range(config.fine_blocks)
        )
        self.head = MPConv(config.fine_channels, 1, kernel)
        self.head_gain = nn.Parameter(torch.zeros(()))

        # direct paths of the patch and of the smoothed patches; at first their mean is the output
        self.direct_gain = nn.Linear(embed, 1 + num_smooth)
        nn.init.zeros_(self.direct_gain.weight)
        with torch.no_grad():
            self.direct_gain.bias.copy_(torch.tensor([0.0] + [1 / max(1, num_smooth)] * num_smooth))

    def embedding(self, numbers: Tensor) -> Tensor:
        """Embedding (b, embed) of log sigma, log sigma of the context, log voxel sizes, condition numbers."""
        assert isinstance(self.frequencies, Tensor)
        waves = numbers[:, :1] / 4 * self.frequencies
        ones = torch.ones_like(numbers[:, :1])
        features = torch.cat([numbers, waves.sin(), waves.cos(), ones], 1)
        return mp_silu(self.embed_out(mp_silu(self.embed_in(features))))

    def forward(self, inputs: Tensor, smooth: Tensor, numbers: Tensor) -> Tensor:
        embedding = self.embedding(numbers)
        patch = inputs[:, :1]
        images = inputs[:, [self.config.input_names.index(name) for name in _fine_images(self.config)]]
        ones = torch.ones_like(patch)
        features = depth_to_space(
            self.spread(mp_silu(self._trunk(inputs, smooth, embedding))), self.config.downsampling
        )
        x = self.fine_in(channels_last(torch.cat([features, images, smooth, ones], 1)))
        for block in self.fine:
            x = block(x, embedding)
        out = self.head(mp_silu(normalize(x, (1,))), gain=self.head_gain)
        direct = torch.cat([patch, smooth], 1) * self.direct_gain(embedding)[:, :, None, None, None]
        return out + direct.sum(1, keepdim=True)

    def _trunk(self, inputs: Tensor, smooth: Tensor, embedding: Tensor) -> Tensor:
        """Features (b, c, z/2, y/2, x/2); of a slice prior (b, c, 1, y/2, x/2)."""
        packed = space_to_depth(torch.cat([inputs, smooth], 1), self.config.downsampling)
        x = self.stem(torch.cat([packed, torch.ones_like(packed[:, :1])], 1))
        skips = []
        for level, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, embedding)
            if level < len(self.shrink):
                skips.append(x)
                x = self.shrink[level](x)
        for level in reversed(range(len(self.up))):
            for block in self.up[level]:  # type: ignore[attr-defined]
                x = block(x, embedding)
            if level:
                x = functional.interpolate(
                    self.grow[level - 1](x), scale_factor=self.config.downsampling, mode="nearest"
                )
                x = torch.cat([x, skips[level - 1]], 1)
        return normalize(x, (1,))


def inherit(network: PatchUNet, other: PatchUNet) -> None:
    """Copy the weights of a network, which may lack inputs that this one has.

    New inputs are zero-initialised, except those of the condition. These start with the weights of the noisy
    volume's channels, because both show the same object.
    """
    own, theirs = network.config, other.config
    optional = ("neighbourhoods", "least_squares", "conditional")
    options = {name: getattr(own, name) for name in (*SWITCHES, *optional)}
    if replace(theirs, **options) != own or any(getattr(theirs, n) > getattr(own, n) for n in optional):
        differ = (name for name in asdict(own) if getattr(theirs, name) != getattr(own, name))
        listed = "; ".join(f"{name} is {getattr(theirs, name)}, not {getattr(own, name)}" for name in differ)
        raise ValueError(
            f"The prior to start from has another network ({listed}). Choose the network that it has, or"
            " train without --start."
        )
    weights = dict(other.state_dict())
    for name, inputs in (("stem.weight", _stem_inputs), ("fine_in.weight", _fine_inputs)):
        wide = torch.zeros_like(network.state_dict()[name])
        known = inputs(theirs)
        for channel, key in enumerate(inputs(own)):
            source = key if key in known else _counterpart(key)
            if source in known:
                wide[:, channel] = weights[name][:, known.index(source)].to(wide)
        weights[name] = wide
    if own.conditional and not theirs.conditional:
        narrow = weights["embed_in.weight"]
        wide = torch.zeros_like(network.state_dict()["embed_in.weight"])
        wide[:, :NUM_NUMBERS] = narrow[:, :NUM_NUMBERS]
        wide[:, NUM_NUMBERS + NUM_CONDITION_NUMBERS :] = narrow[:, NUM_NUMBERS:]
        weights["embed_in.weight"] = wide
    network.load_state_dict(weights)


def _counterpart(name: str) -> str:
    """The input of the noisy volume that corresponds to one of the condition."""
    if name.startswith("condition "):
        name = name.removeprefix("condition ")
        return name if not name.startswith("of voxel") else f"patch {name}"
    return "patch" if name == "condition" else name


def _stem_inputs(config: NetworkConfig) -> list[str]:
    """Names of the channels of the stem's input."""
    seen = [*config.input_names, *(f"smooth {strength}" for strength in config.smoothings)]
    return [f"{one} of voxel {k}" for one in seen for k in range(math.prod(config.downsampling))] + ["one"]


def _fine_images(config: NetworkConfig) -> list[str]:
    """Input channels that the layers at full resolution see."""
    return ["patch", *["condition"] * config.conditional, *["least squares"] * config.least_squares]


def _fine_inputs(config: NetworkConfig) -> list[str]:
    """Names of the channels of the first layer at full resolution."""
    smooth = [f"smooth {strength}" for strength in config.smoothings]
    return [*map(str, range(NUM_FEATURES)), *_fine_images(config), *smooth, "one"]


def channels_last(x: Tensor) -> Tensor:
    """The same values in the memory order that is fastest for convolutions."""
    return x.contiguous(memory_format=torch.channels_last_3d)


def space_to_depth(x: Tensor, factors: Shape) -> Tensor:
    """(b, c, dz z, dy y, dx x) -> (b, c dz dy dx, z, y, x), channels in that order, channels-last memory."""
    b, c, *sizes = x.shape
    (nz, dz), (ny, dy), (nx, dx) = ((n // d, d) for n, d in zip(sizes, factors, strict=True))
    x = x.reshape(b, c, nz, dz, ny, dy, nx, dx).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return x.reshape(b, nz, ny, nx, dz * dy * dx * c).permute(0, 4, 1, 2, 3)


def depth_to_space(x: Tensor, factors: Shape) -> Tensor:
    """The inverse of `space_to_depth`, also in channels-last memory."""
    b, c, nz, ny, nx = x.shape
    dz, dy, dx = factors
    x = x.permute(0, 2, 3, 4, 1).reshape(b, nz, ny, nx, c // (dz * dy * dx), dz, dy, dx)
    x = x.permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, nz * dz, ny * dy, nx * dx, c // (dz * dy * dx)).permute(0, 4, 1, 2, 3)
