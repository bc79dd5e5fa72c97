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


class PixelNorm(nn.Module):
    """Each voxel's channels to unit mean square: unlike group norm it does not depend on the tile's size."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-4)


class Block(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))) * (1 + scale) + shift)); scale and shift from the conditioning."""

    def __init__(self, channels_in: int, channels: int, embed: int) -> None:
        super().__init__()
        self.norm = PixelNorm()
        self.conv_in = nn.Conv3d(channels_in, channels, 3, padding=1)
        self.modulate = nn.Linear(embed, 2 * channels)
        self.conv_out = nn.Conv3d(channels, channels, 3, padding=1)
        self.skip = nn.Conv3d(channels_in, channels, 1) if channels_in != channels else nn.Identity()
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)
        nn.init.zeros_(self.conv_out.weight)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulate(embedding)[:, :, None, None, None].chunk(2, 1)
        h = self.conv_in(functional.silu(self.norm(x)))
        h = torch.addcmul(shift, self.norm(h), 1 + scale)
        return self.skip(x) + self.conv_out(functional.silu(h))


class PatchUNet(nn.Module):
    """F(inputs, conditions): (b, 6, P, P, P), (b, 5) -> (b, 1, P, P, P)."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        width, embed = config.channels, config.embed
        self.register_buffer("frequencies", 2.0 ** torch.arange(-1, 4) * math.pi, persistent=False)
        features = NUM_CONDITIONS + 2 * len(self.frequencies)  # type: ignore[arg-type]
        self.embed = nn.Sequential(nn.Linear(features, embed), nn.SiLU(), nn.Linear(embed, embed), nn.SiLU())
        self.stem = nn.Conv3d(8 * NUM_INPUTS, width[0], 3, padding=1)

        self.down, self.up, self.shrink, self.grow = (nn.ModuleList() for _ in range(4))
        for level, (channels, blocks) in enumerate(zip(width, config.blocks, strict=True)):
            self.down.append(nn.ModuleList(Block(channels, channels, embed) for _ in range(blocks)))
            joined = [2 * channels] + [channels] * (blocks - 1)
            last = level == len(width) - 1
            self.up.append(nn.ModuleList(Block(channels if last else c, channels, embed) for c in joined))
            if not last:
                self.shrink.append(nn.Conv3d(channels, width[level + 1], 2, stride=2))
                self.grow.append(nn.Conv3d(width[level + 1], channels, 1))
        self.head = nn.Conv3d(width[0], 8, 3, padding=1)
        self.norm = PixelNorm()

        # direct paths: the patch's own voxels (8 after the stem), and linear filters of them
        self.voxel_gain = nn.Linear(embed, 8)
        self.filter_in = nn.Conv3d(8, config.filters, 3, padding=1, bias=False)
        self.filter_gain = nn.Linear(embed, config.filters)
        self.filter_out = nn.Conv3d(config.filters, 8, 3, padding=1, bias=False)
        for layer in (self.head, self.voxel_gain, self.filter_gain):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def condition(self, conditions: Tensor) -> Tensor:
        """Embedding (b, embed) of (log sigma, log sigma of the context, log voxel sizes)."""
        assert isinstance(self.frequencies, Tensor)
        waves = conditions[:, :1] / 4 * self.frequencies
        return self.embed(torch.cat([conditions, waves.sin(), waves.cos()], 1))

    def forward(self, inputs: Tensor, conditions: Tensor) -> Tensor:
        embedding = self.condition(conditions)
        packed = space_to_depth(inputs)  # (b, 8 * 6, P/2, P/2, P/2)
        patch = packed[:, :8]
        x = self.stem(packed)
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
        out = self.head(functional.silu(self.norm(x)))
        gain = self.filter_gain(embedding)[:, :, None, None, None]
        out = out + self.filter_out(self.filter_in(patch) * gain)
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
