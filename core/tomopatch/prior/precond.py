"""Denoiser of patches: the network F with EDM's preconditioning, in network space (see `denoiser`)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tomopatch.prior.network import ABLATIONS, NetworkConfig, PatchUNet
from tomopatch.prior.rof import rof

LEAST_SQUARES_ERROR = 0.3
"""Typical RMS error of a least-squares image, network space. The image is divided by the root of the sum of
squares of this and of the data's deviation.
"""

TYPICAL_ERROR, TYPICAL_RATIO = 0.08, 0.1
"""Error of a condition (network space) and sampling ratio in the middle of the trained ranges. The network
gets the logarithms of the ratios to them.
"""


@dataclass(frozen=True, eq=False)
class Numbers:
    """Numbers (b,) that the network gets with the images of each patch.

    Attributes
    ----------
    sigma : noise level, network units
    factor : ratio of the white noise in the global context to that in the volume
    voxel_size : (b, 3) [mm]
    error : RMS error of the condition, network units; 0 = no condition
    sampling_ratio : of the measurement
    """

    sigma: Tensor
    factor: Tensor
    voxel_size: Tensor
    error: Tensor
    sampling_ratio: Tensor


class Precond(nn.Module):
    """D(x, sigma | c) of patches: EDM's preconditioning (Karras et al. 2022, table 1) about the condition.

    The clean value of a patch with a condition c of RMS error s is modelled as N(c, s^2), without one as
    N(mean, sigma_data^2). With m and s for either,

        c_skip = s^2 / (sigma^2 + s^2),  c_out = sigma s / sqrt(sigma^2 + s^2),
        c_in = 1 / sqrt(sigma^2 + s^2),
        D = m + c_skip (x - m) + c_out F(c_in (x - m), c, ..., c_noise)

    With F = 0 this is the exact posterior mean of the Gaussian model given x and c: c at high sigma, x at low
    sigma. c_noise stands for the numbers that modulate F: log sigma, log s, log sampling ratio, log voxel
    size.
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
        # the casts matter only if torch's default type is not float32
        s = torch.where(conditional, error, config.sigma_data).to(inputs)
        c_skip = s**2 / (sigma**2 + s**2)
        c_out = sigma * s * (sigma**2 + s**2).rsqrt()
        noisy = inputs[:, :1]
        if config.conditional:
            centre = torch.where(conditional, inputs[:, self._condition_channels[:1]], config.mean).to(inputs)
        else:
            centre = torch.full_like(noisy, config.mean)
        plain = centre + c_skip * (noisy - centre)
        F_x = self.network(
            self._seen(inputs, sigma, factor, s, conditional),
            self._smooth(noisy, plain, sigma, c_out, conditional, numbers.voxel_size.to(inputs)),
            self._c_noise(inputs, numbers, conditional, s).to(inputs),
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
        """Input channels at unit variance: the noisy volume about its centre, the condition, the rest."""
        config = self.config
        seen = inputs - config.mean
        ones = torch.ones_like(sigma)
        noise_levels = torch.cat([ones, *(ones * f**-1.5 for f in config.factors), factor], 1) * sigma
        noisy = self._noisy_channels
        if config.conditional:
            condition = self._condition_channels
            centre = seen[:, condition] * conditional
            seen[:, noisy] = seen[:, noisy] - centre
            seen[:, condition] = centre / config.sigma_data
        seen[:, noisy] = seen[:, noisy] * (noise_levels**2 + s**2).rsqrt()
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
        """The F for which D is the smoothed patch, for each smoothing strength: (b, n, z, y, x).

        The combined image is smoothed at its own expected error, because the noisy patch alone shows nothing
        at high sigma.
        """
        strengths = self.config.smoothings
        if not strengths:
            return noisy[:, :0]
        image, noise_level = torch.where(conditional, plain, noisy), torch.where(conditional, c_out, sigma)
        smooth = [self.smoothing(image, k * noise_level.flatten(), voxel_size) for k in strengths]
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
