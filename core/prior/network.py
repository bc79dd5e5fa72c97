"""The denoising network F: a 3D U-Net on patches that knows where it is and what surrounds it.

Channels of the input, all on the patch's grid (z, y, x): the noisy patch; its surroundings at half the resolution, and
at a quarter; the guide, where there is one; the whole noisy volume averaged to the patch's grid; three coordinates; the
patch smoothed by total variation at several strengths. Patch and surroundings lie concentric, the whole volume is the
global context of Yang et al. 2025 (arXiv 2512.18161), the coordinates are its positions.

The guide is a least-squares reconstruction of the scan, streaks, noise and all: what every ray through a voxel says of
it, which a start that is regularised has given up in part. (Jin et al. 2017, FBPConvNet, learn from such alone)

Three parts, each for what it is cheap at. The trunk, a U-Net behind a space-to-depth stem that moves 2 x 2 x 2 voxels
into channels, sees far. It is blind to the difference between a pattern and the same pattern one voxel further, so
a few thin layers at full resolution, which share their weights over all voxels, make the output from its features.
And a fresh network begins as the mean of the smoothed patches, not as nothing: it has to learn only what is better
than total variation.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.volume import Shape

CONTEXTS = ("area", "trilinear")
INPUT_OPTIONS = ("use_context", "use_surround", "use_guide", "use_coordinates", "context_by")
POINT = (1, 1, 1)  # a kernel
NUM_CONDITIONS = 5
NUM_WAVES = 5
NUM_SPREAD = 8  # channels that the trunk hands to the layers at full resolution


@dataclass(frozen=True)
class NetworkConfig:
    """What a checkpoint needs to build its network again."""

    patch_size: int = 32  # edge of a tile in training and in use
    flat: bool = False  # tiles are single slices, and so are the kernels: a prior of 2D images
    channels: tuple[int, ...] = (32, 64, 128)  # per level of the trunk, at 1/2, 1/4, 1/8 of the resolution
    blocks: tuple[int, ...] = (1, 2, 2)  # residual blocks per level on the way down; as many on the way up
    fine_channels: int = 16  # of the layers at full resolution
    fine_blocks: int = 2
    smoothings: tuple[float, ...] = (0.5, 0.9)  # strengths of total variation, in units of sigma
    embed: int = 128  # width of the conditioning
    sigma_data: float = 0.5  # standard deviation of the data, network units
    mean: float = 0.5  # mean of the data, network units
    surrounds: int = 1  # surroundings shown: at 1/2, 1/4 of the resolution
    guided: bool = False  # has a channel for the guide
    # below: the paper's choices, other values are ablations
    use_context: bool = True
    use_surround: bool = True
    use_guide: bool = True
    use_coordinates: bool = True
    context_by: str = "area"  # how the whole volume is reduced for the context: "area" or "trilinear"

    def __post_init__(self) -> None:
        for name in ("channels", "blocks", "smoothings"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        if len(self.channels) != len(self.blocks) or not self.channels:
            raise ValueError(f"channels {self.channels} and blocks {self.blocks} must name the same levels.")
        if self.context_by not in CONTEXTS:
            raise ValueError(f"context_by must be one of {', '.join(CONTEXTS)}, got {self.context_by!r}.")
        if self.surrounds not in ((0,) if self.flat else (0, 1, 2)):
            raise ValueError(f"surrounds must be 0, 1 or 2, and 0 of single slices, got {self.surrounds}.")
        if self.patch_size % 2 ** len(self.channels):
            raise ValueError(
                f"patch_size must be a multiple of {2 ** len(self.channels)} for {len(self.channels)} levels, "
                f"got {self.patch_size}."
            )

    @property
    def tile(self) -> Shape:
        """A tile's shape (z, y, x) in voxels."""
        return (1 if self.flat else self.patch_size, self.patch_size, self.patch_size)

    @property
    def cell(self) -> Shape:
        """How many voxels (z, y, x) become one from level to level."""
        return (1 if self.flat else 2, 2, 2)

    @property
    def factors(self) -> tuple[int, ...]:
        """By how much each of the surroundings is coarser than the patch."""
        return tuple(2**k for k in range(1, self.surrounds + 1))

    @property
    def num_inputs(self) -> int:
        """Channels: patch, surroundings, guide, whole volume, three coordinates."""
        return 1 + self.surrounds + self.guided + 1 + 3

    @property
    def channel(self) -> dict[str, slice]:
        """Where the inputs that can be switched off lie among the channels."""
        around, guided = 1 + self.surrounds, 1 + self.surrounds + self.guided
        return {
            "surround": slice(1, around),
            "guide": slice(around, guided),
            "context": slice(guided, guided + 1),
            "coordinates": slice(guided + 1, None),
        }


PRESETS: dict[str, NetworkConfig] = {
    "small": NetworkConfig(surrounds=2, guided=True),  # 4.9 M parameters: a laptop's
    "base": NetworkConfig(  # 27 M parameters: trained on a GPU, used anywhere
        channels=(64, 128, 256), blocks=(2, 2, 3), fine_channels=32, embed=256, surrounds=2, guided=True
    ),
    "tiny": NetworkConfig(  # 1.1 M parameters: for experiments, such as what an input is worth
        channels=(16, 32, 64), blocks=(1, 1, 2), fine_channels=8, fine_blocks=1, embed=64, guided=True
    ),
    "slices": NetworkConfig(  # 1.7 M parameters: of single slices, as Chung et al. 2022 (DiffusionMBIR) and 2023 (DDS) take: to compare with
        patch_size=128, flat=True, channels=(32, 64, 128), blocks=(1, 2, 2), surrounds=0, use_context=False
    ),
    "coarse": NetworkConfig(  # 4.4 M parameters: for voxels of more than a centimetre, of which a tile holds a body
        patch_size=16, channels=(32, 64, 128), blocks=(1, 1, 2), fine_channels=8, fine_blocks=1, smoothings=()
    ),
}


# ---- magnitude-preserving layers (Karras et al. 2024, EDM2, config G) ---------------------------------------
# Weights have a fixed norm and activations keep unit variance through every layer, so that high learning rates
# do no harm: without this, activations grow from level to level until nothing but the direct paths learns.


def normalize(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """x over its root mean square along `dims`, in the precision of x. (EDM2, eq. 30, 66)"""
    power = x.square().mean(dims, keepdim=True, dtype=torch.float32)
    return x * torch.rsqrt(power + 1e-8).to(x.dtype)


def mp_silu(x: Tensor) -> Tensor:
    """SiLU that keeps unit variance. (EDM2, eq. 81)"""
    return functional.silu(x) / 0.596


def mp_sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Blend that keeps unit variance. (EDM2, eq. 88)"""
    return torch.lerp(a, b, t) / math.hypot(1 - t, t)


class MPConv(nn.Module):
    """Convolution (or linear layer, without a kernel) with weights of unit norm per output and no bias. (EDM2, eq. 47)"""

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
    """Give all weights unit scale again, after the optimiser moved them: its steps then stay comparable. (EDM2, sec. 2.3)"""
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
        # per voxel: unlike group norm it does not depend on the tile's size
        x = normalize(self.skip(x), (1,))
        scale = 1 + self.modulate(embedding, gain=self.modulate_gain)
        h = self.conv_in(mp_silu(x)) * scale[:, :, None, None, None]
        return mp_sum(x, self.conv_out(mp_silu(h)), 0.3)


class PatchUNet(nn.Module):
    """F(inputs, smooth, conditions): (b, c, z, y, x), (b, n, z, y, x), (b, 5) -> (b, 1, z, y, x).

    `smooth` is what F would have to be for D to be the smoothed patches, of which there are n.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        width, embed, num_smooth = config.channels, config.embed, len(config.smoothings)
        kernel, cell = (1 if config.flat else 3, 3, 3), config.cell
        packed = math.prod(cell)  # voxels that the stem moves into channels
        self.register_buffer("frequencies", 2.0 ** (torch.arange(NUM_WAVES) - 1) * math.pi, persistent=False)
        features = NUM_CONDITIONS + 2 * NUM_WAVES + 1  # and a one, instead of a bias
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
                self.shrink.append(MPConv(channels, width[level + 1], cell, stride=cell))
                self.grow.append(MPConv(width[level + 1], channels, POINT))

        self.spread = MPConv(width[0], packed * NUM_SPREAD, POINT)
        self.fine_in = MPConv(NUM_SPREAD + 1 + config.guided + num_smooth + 1, config.fine_channels, kernel)
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

    def condition(self, conditions: Tensor) -> Tensor:
        """Embedding (b, embed) of (log sigma, log sigma of the context, log voxel sizes)."""
        assert isinstance(self.frequencies, Tensor)
        waves = conditions[:, :1] / 4 * self.frequencies
        ones = torch.ones_like(conditions[:, :1])
        features = torch.cat([conditions, waves.sin(), waves.cos(), ones], 1)
        return mp_silu(self.embed_out(mp_silu(self.embed_in(features))))

    def forward(self, inputs: Tensor, smooth: Tensor, conditions: Tensor) -> Tensor:
        embedding = self.condition(conditions)
        patch, guide = inputs[:, :1], inputs[:, self.config.channel["guide"]]
        ones = torch.ones_like(patch)
        features = depth_to_space(
            self.spread(mp_silu(self._trunk(inputs, smooth, embedding))), self.config.cell
        )
        x = self.fine_in(channels_last(torch.cat([features, patch, guide, smooth, ones], 1)))
        for block in self.fine:
            x = block(x, embedding)
        out = self.head(mp_silu(normalize(x, (1,))), gain=self.head_gain)
        direct = torch.cat([patch, smooth], 1) * self.direct_gain(embedding)[:, :, None, None, None]
        return out + direct.sum(1, keepdim=True)

    def _trunk(self, inputs: Tensor, smooth: Tensor, embedding: Tensor) -> Tensor:
        """Features (b, c, z/2, y/2, x/2); of single slices (b, c, 1, y/2, x/2)."""
        packed = space_to_depth(torch.cat([inputs, smooth], 1), self.config.cell)
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
                    self.grow[level - 1](x), scale_factor=self.config.cell, mode="nearest"
                )
                x = torch.cat([x, skips[level - 1]], 1)
        return normalize(x, (1,))


def inherit(network: PatchUNet, other: PatchUNet) -> None:
    """Give a network the weights of another, which may lack its guide or surroundings: those begin with no say, so that
    both make the same of the same patch. The inputs that are switched off may differ, too."""
    own, theirs = network.config, other.config
    options = {name: getattr(own, name) for name in (*INPUT_OPTIONS, "surrounds", "guided")}
    if replace(theirs, **options) != own or theirs.surrounds > own.surrounds or theirs.guided > own.guided:
        differ = (name for name in asdict(own) if getattr(theirs, name) != getattr(own, name))
        told = "; ".join(f"{name} is {getattr(theirs, name)}, not {getattr(own, name)}" for name in differ)
        raise ValueError(
            f"The prior to start from has another network ({told}). Train the network that it has, or begin without it."
        )
    weights = dict(other.state_dict())
    for name, inputs in (("stem.weight", _stem_inputs), ("fine_in.weight", _fine_inputs)):
        wide = torch.zeros_like(network.state_dict()[name])
        wide[:, [inputs(own).index(one) for one in inputs(theirs)]] = weights[name].to(wide)
        weights[name] = wide
    network.load_state_dict(weights)


def _stem_inputs(config: NetworkConfig) -> list[str]:
    """What the channels of the stem's input are."""
    around = [f"surroundings at 1/{factor}" for factor in config.factors]
    seen = ["patch", *around, *["guide"] * config.guided, "whole volume", "z", "y", "x"]
    seen += [f"smooth {strength}" for strength in config.smoothings]
    return [f"{one} of voxel {k}" for one in seen for k in range(math.prod(config.cell))] + ["one"]


def _fine_inputs(config: NetworkConfig) -> list[str]:
    """What the channels of the first layer at full resolution see."""
    smooth = [f"smooth {strength}" for strength in config.smoothings]
    return [*map(str, range(NUM_SPREAD)), "patch", *["guide"] * config.guided, *smooth, "one"]


def channels_last(x: Tensor) -> Tensor:
    """The same values in the memory order in which convolutions are quickest."""
    return x.contiguous(memory_format=torch.channels_last_3d)


def space_to_depth(x: Tensor, cell: Shape) -> Tensor:
    """(b, c, dz z, dy y, dx x) -> (b, c dz dy dx, z, y, x), in channels-last memory; channels in that order."""
    b, c, *sizes = x.shape
    (nz, dz), (ny, dy), (nx, dx) = ((n // d, d) for n, d in zip(sizes, cell, strict=True))
    x = x.reshape(b, c, nz, dz, ny, dy, nx, dx).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return x.reshape(b, nz, ny, nx, dz * dy * dx * c).permute(0, 4, 1, 2, 3)


def depth_to_space(x: Tensor, cell: Shape) -> Tensor:
    """The inverse of `space_to_depth`, also in channels-last memory."""
    b, c, nz, ny, nx = x.shape
    dz, dy, dx = cell
    x = x.permute(0, 2, 3, 4, 1).reshape(b, nz, ny, nx, c // (dz * dy * dx), dz, dy, dx)
    x = x.permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, nz * dz, ny * dy, nx * dx, c // (dz * dy * dx)).permute(0, 4, 1, 2, 3)
