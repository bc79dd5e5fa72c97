"""The denoising network F: a 3D U-Net on patches that knows where it is and what surrounds it.

Channels of the input, all on the patch's grid (P, P, P): the noisy patch; its surround at half resolution; the
whole noisy volume averaged to the patch's grid; three coordinates. The first two lie concentric, the third is
the global context of Yang et al. 2025 (arXiv 2512.18161), the coordinates are its positions.

A space-to-depth stem moves 2 x 2 x 2 voxels into channels, so that all convolutions run at half resolution. The
noise must not have to squeeze through that: two direct paths carry the patch from input to output, voxel by
voxel and through a small bank of linear filters, each with gains that depend on the noise level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

NUM_INPUTS = 6
NUM_CONDITIONS = 5
NUM_WAVES = 5


@dataclass(frozen=True)
class NetworkConfig:
    """What a checkpoint needs to build its network again."""

    patch_size: int = 32  # edge of a tile in training and in use
    channels: tuple[int, ...] = (32, 96, 160)  # per level, at 1/2, 1/4, 1/8 of the resolution
    blocks: tuple[int, ...] = (1, 2, 2)  # residual blocks per level on the way down; as many on the way up
    embed: int = 128  # width of the conditioning
    filters: int = 32  # linear filters of the direct path
    sigma_data: float = 0.5  # standard deviation of the data, network units
    mean: float = 0.5  # mean of the data, network units
    use_context: bool = True  # False: an ablation
    use_surround: bool = True
    use_coordinates: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if len(self.channels) != len(self.blocks) or not self.channels:
            raise ValueError(f"channels {self.channels} and blocks {self.blocks} must name the same levels.")
        if self.patch_size % 2 ** len(self.channels):
            raise ValueError(
                f"patch_size must be a multiple of {2 ** len(self.channels)} for {len(self.channels)} levels, "
                f"got {self.patch_size}."
            )


PRESETS: dict[str, NetworkConfig] = {
    "small": NetworkConfig(),  # 8.5 M parameters: a laptop's
    "base": NetworkConfig(channels=(96, 192, 256), blocks=(2, 2, 3), embed=256),  # 27 M: a GPU's
}


# ---- magnitude-preserving layers (Karras et al. 2024, EDM2, config G) ---------------------------------------
# Weights have a fixed norm and activations keep unit variance through every layer, so that high learning rates
# do no harm: without this, activations grow from level to level until nothing but the direct paths learns.


def normalize(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """x over its root mean square along `dims`. (EDM2, eq. 30, 66)"""
    return x * torch.rsqrt(x.square().mean(dims, keepdim=True) + 1e-8)


def mp_silu(x: Tensor) -> Tensor:
    """SiLU that keeps unit variance. (EDM2, eq. 81)"""
    return functional.silu(x) / 0.596


def mp_sum(a: Tensor, b: Tensor, t: float) -> Tensor:
    """Blend that keeps unit variance. (EDM2, eq. 88)"""
    return torch.lerp(a, b, t) / math.hypot(1 - t, t)


class MPConv(nn.Module):
    """Convolution (or linear layer: kernel 0) with weights of unit norm per output and no bias. (EDM2, eq. 47)"""

    def __init__(self, channels_in: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride
        self.weight = nn.Parameter(torch.randn(channels_out, channels_in, *[kernel] * (3 if kernel else 0)))

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        dims = tuple(range(1, self.weight.ndim))
        if self.training:
            with torch.no_grad():  # the optimiser sees weights of unit scale whatever it did to them
                self.weight.copy_(normalize(self.weight, dims))
        weight = (normalize(self.weight, dims) * (gain / self.weight[0].numel() ** 0.5)).to(x.dtype)
        if self.kernel == 0:
            return functional.linear(x, weight)
        padding = self.kernel // 2 if self.stride == 1 else 0
        return functional.conv3d(x, weight, stride=self.stride, padding=padding)


class Block(nn.Module):
    """Residual block, modulated by the conditioning. (EDM2, fig. 21)"""

    def __init__(self, channels_in: int, channels: int, embed: int) -> None:
        super().__init__()
        self.skip = MPConv(channels_in, channels, 1) if channels_in != channels else nn.Identity()
        self.conv_in = MPConv(channels, channels, 3)
        self.conv_out = MPConv(channels, channels, 3)
        self.modulate = MPConv(embed, channels, 0)
        self.modulate_gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        # per voxel: unlike group norm it does not depend on the tile's size
        x = normalize(self.skip(x), (1,))
        scale = 1 + self.modulate(embedding, gain=self.modulate_gain)
        h = self.conv_in(mp_silu(x)) * scale[:, :, None, None, None]
        return mp_sum(x, self.conv_out(mp_silu(h)), 0.3)


class PatchUNet(nn.Module):
    """F(inputs, conditions): (b, 6, P, P, P), (b, 5) -> (b, 1, P, P, P)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        width, embed = config.channels, config.embed
        self.register_buffer("frequencies", 2.0 ** (torch.arange(NUM_WAVES) - 1) * math.pi, persistent=False)
        features = NUM_CONDITIONS + 2 * NUM_WAVES + 1  # and a one, instead of a bias
        self.embed_in, self.embed_out = MPConv(features, embed, 0), MPConv(embed, embed, 0)
        self.stem = MPConv(8 * NUM_INPUTS + 1, width[0], 3)  # and a channel of ones, instead of a bias

        self.down, self.up, self.shrink, self.grow = (nn.ModuleList() for _ in range(4))
        for level, (channels, blocks) in enumerate(zip(width, config.blocks, strict=True)):
            last = level == len(width) - 1
            joined = [channels if last else 2 * channels] + [channels] * (blocks - 1)
            self.down.append(nn.ModuleList(Block(channels, channels, embed) for _ in range(blocks)))
            self.up.append(nn.ModuleList(Block(c, channels, embed) for c in joined))
            if not last:
                self.shrink.append(MPConv(channels, width[level + 1], 2, stride=2))
                self.grow.append(MPConv(width[level + 1], channels, 1))
        self.head = MPConv(width[0], 8, 3)
        self.head_gain = nn.Parameter(torch.zeros(()))

        # direct paths: the patch's own voxels (8 after the stem), and linear filters of them
        self.voxel_gain = nn.Linear(embed, 8)
        self.filter_in, self.filter_out = MPConv(8, config.filters, 3), MPConv(config.filters, 8, 3)
        self.filter_gain = nn.Linear(embed, config.filters)
        for layer in (self.voxel_gain, self.filter_gain):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def condition(self, conditions: Tensor) -> Tensor:
        """Embedding (b, embed) of (log sigma, log sigma of the context, log voxel sizes)."""
        assert isinstance(self.frequencies, Tensor)
        waves = conditions[:, :1] / 4 * self.frequencies
        ones = torch.ones_like(conditions[:, :1])
        features = torch.cat([conditions, waves.sin(), waves.cos(), ones], 1)
        return mp_silu(self.embed_out(mp_silu(self.embed_in(features))))

    def forward(self, inputs: Tensor, conditions: Tensor) -> Tensor:
        embedding = self.condition(conditions)
        packed = space_to_depth(inputs)  # (b, 8 * 6, P/2, P/2, P/2)
        patch = packed[:, :8]
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
                x = functional.interpolate(self.grow[level - 1](x), scale_factor=2, mode="nearest")
                x = torch.cat([x, skips[level - 1]], 1)
        out = self.head(mp_silu(normalize(x, (1,))), gain=self.head_gain)
        out = out + self.filter_out(
            self.filter_in(patch) * self.filter_gain(embedding)[:, :, None, None, None]
        )
        out = out + patch * self.voxel_gain(embedding)[:, :, None, None, None]
        return depth_to_space(out)


def space_to_depth(x: Tensor) -> Tensor:
    """(b, c, 2z, 2y, 2x) -> (b, 8c, z, y, x), in channels-last memory; channel = 8 c + 4 z + 2 y + x."""
    b, c, z, y, w = x.shape
    x = x.view(b, c, z // 2, 2, y // 2, 2, w // 2, 2).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return x.reshape(b, z // 2, y // 2, w // 2, 8 * c).permute(0, 4, 1, 2, 3)


def depth_to_space(x: Tensor) -> Tensor:
    """The inverse of `space_to_depth`."""
    b, c, z, y, w = x.shape
    x = x.reshape(b, c // 8, 2, 2, 2, z, y, w).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c // 8, 2 * z, 2 * y, 2 * w)
