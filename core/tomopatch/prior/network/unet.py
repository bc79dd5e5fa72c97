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

import torch
from torch import Tensor, nn
from torch.nn import functional

from tomopatch.prior.network.config import NUM_FEATURES, NetworkConfig, fine_images, fine_inputs
from tomopatch.prior.network.layers import (
    POINT,
    Block,
    MPConv,
    channels_last,
    depth_to_space,
    mp_silu,
    normalize,
    space_to_depth,
)

NUM_NUMBERS = 5  # log sigma, log sigma of the context, log voxel size (z, y, x)
NUM_CONDITION_NUMBERS = 3  # whether there is a condition, log of its error, log of the sampling ratio
NUM_WAVES = 5


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
        self.fine_in = MPConv(len(fine_inputs(config)), config.fine_channels, kernel)
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
        images = inputs[:, [self.config.input_names.index(name) for name in fine_images(self.config)]]
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
