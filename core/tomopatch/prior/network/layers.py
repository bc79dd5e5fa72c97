"""Magnitude-preserving layers (Karras et al. 2024, EDM2, config G), and space-to-depth.

Weights have a fixed norm and activations keep unit variance through every layer, so that high learning rates
do no harm. Otherwise activations grow from level to level until only the direct paths learn.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from tomopatch.volume import Shape

POINT = (1, 1, 1)  # kernel of a pointwise convolution


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
        """(b, c, z, y, x) -> (b, channels, z, y, x); without a kernel (b, c) -> (b, channels)."""
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
        """(b, c, z, y, x) and the embedding (b, embed) -> (b, channels, z, y, x)."""
        # per voxel: unlike group norm, independent of the tile's size
        x = normalize(self.skip(x), (1,))
        scale = 1 + self.modulate(embedding, gain=self.modulate_gain)
        h = self.conv_in(mp_silu(x)) * scale[:, :, None, None, None]
        return mp_sum(x, self.conv_out(mp_silu(h)), 0.3)


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
