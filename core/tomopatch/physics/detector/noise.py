"""Photon noise of a detector: Poisson, or compound Poisson for an energy-integrating detector."""

from __future__ import annotations

import torch
from torch import Tensor


def photon_noise(mean: Tensor, gain: Tensor | None, generator: torch.Generator) -> Tensor:
    """Return noisy signals with this mean and variance gain * mean, on the generator's device.

    The signal of a detector that integrates energy is a compound Poisson variable, the sum of the energies of
    a Poisson number of photons (Whiting et al., Medical Physics 33:3290, 2006). It is approximated by
    gain times a Poisson variable of mean / gain, which has the same mean and variance. With many photons both
    are nearly Gaussian. With few photons both can be zero; for the compound variable, the probability is
    exp(-number of photons). A gain of 1 (one energy, or a counting detector) is exact.
    """
    mean = mean.to(generator.device)
    if gain is None:
        return torch.poisson(mean, generator=generator)
    gain = gain.to(generator.device)
    return gain * torch.poisson(mean / gain, generator=generator)
