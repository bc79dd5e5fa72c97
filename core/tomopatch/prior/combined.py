"""D(x, sigma | c) of whole volumes from a denoiser that restores reconstructions."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from tomopatch.prior.denoiser import Denoiser

NEGLIGIBLE = 0.1
"""White noise below this share of the condition's error adds at most 0.5 % to the combined image's error."""


@dataclass(eq=False)
class CombinedDenoiser:
    """D(x, sigma | c): combine the noisy volume with the condition, then restore the combined image.

    The combined image holds all that x and c say about the clean volume, if the error of c is white. Its own
    error has two parts: the error of c, which is structured (streaks, blur), and white noise. A denoiser that
    was trained on degraded reconstructions with added white noise removes both. At high sigma D restores c;
    at low sigma it denoises x. If the denoiser returns its input, D is the posterior mean of the Gaussian
    model in `combine`.

    While the combined image is still the condition (see NEGLIGIBLE), the restored condition is computed once.

    Attributes
    ----------
    restoring : R(image, sigma)
        Denoiser trained on degraded reconstructions.
    image : Tensor (z, y, x)
        The condition c, network units.
    error : float
        Its expected RMS error s, network units.
    restoration_sigma : float
        Noise level at which R restores c alone, network units.
    generator : torch.Generator or None
        Source of R's random tiling. The restored condition does not depend on its state.
    """

    restoring: Denoiser
    image: Tensor
    error: float
    restoration_sigma: float
    generator: torch.Generator | None = None
    _restored: Tensor | None = field(default=None, init=False)

    def is_known(self, sigma: float) -> bool:
        """Whether D at this noise level is the restored condition."""
        return self.error * sigma / (sigma**2 + self.error**2) < NEGLIGIBLE and sigma > self.error

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """Denoise x (z, y, x), which has white noise of deviation `sigma`, network units."""
        if self.is_known(sigma):
            if self._restored is None:
                self._restored = self._restore()
            return self._restored
        white = torch.tensor(sigma, dtype=torch.float32)
        combined, combined_sigma = combine(x, white, self.image, self.error, self.restoration_sigma)
        return self.restoring(combined, float(combined_sigma))

    def _restore(self) -> Tensor:
        if self.generator is None:
            return self.restoring(self.image, self.restoration_sigma)
        kept = self.generator.get_state()
        try:  # with the same tiling whenever it is computed, so that a resumed run has the same volumes
            self.generator.manual_seed(0)
            return self.restoring(self.image, self.restoration_sigma)
        finally:
            self.generator.set_state(kept)


def combine(
    x: Tensor, sigma: Tensor, image: Tensor, error: float, restoration_sigma: float
) -> tuple[Tensor, Tensor]:
    """Mean of the clean volume given x and the condition, and the noise level at which to restore it.

    The clean volume given the condition is modelled as N(image, error^2), so that

        combined = image + c_skip (x - image),   c_skip = error^2 / (sigma^2 + error^2)

    The noise level adds up both parts of its error: `restoration_sigma` stands for that of the condition,
    sigma for the white noise.

    Parameters
    ----------
    x, image : Tensor (z, y, x)
        Noisy volume and condition, network units.
    sigma : Tensor ()
        Deviation of the white noise of x.
    error, restoration_sigma : float
        As in `CombinedDenoiser`.
    """
    c_skip = (error**2 / (sigma**2 + error**2)).to(x.device)
    combined = image + c_skip * (x - image)
    return combined, torch.hypot((1 - c_skip) * restoration_sigma, c_skip * sigma.to(x.device))
