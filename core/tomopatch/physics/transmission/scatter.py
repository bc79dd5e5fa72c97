"""Scattered radiation: a smooth signal in addition to the primary."""

from __future__ import annotations

from torch import Tensor

from tomopatch.physics.detector.blur import smeared
from tomopatch.physics.effects import Scatter


def scattered(
    primary: Tensor, scatter: Scatter, unattenuated: Tensor | None = None, *, aspect: float = 1.0
) -> Tensor:
    """Return the scattered signal (v, angle, u) in the unit of the primary.

    A ratio-and-blur model, as in Ohnesorge, Flohr & Klingenbeck-Regn (European Radiology 9:563, 1999). With
    the transmission T, the removed share 1 - T of a ray scatters forward, and the share T of it leaves the
    object. So a ray through air does not scatter. The source T (1 - T) is blurred by a Gaussian of `width`
    times the detector's width. The total over each view is the ratio times the total of the source.

    Parameters
    ----------
    primary : Tensor (v, angle, u)
    scatter : Scatter
    unattenuated : Tensor or None
        The signal without an object, which broadcasts to the shape of the primary; None = 1.
    aspect : float
        Height of a pixel over its width.
    """
    transmission = primary if unattenuated is None else primary / unattenuated
    source = primary * (1 - transmission).clamp(min=0)
    sigma = scatter.width * primary.shape[2]
    smooth = smeared(source, sigma, aspect=aspect, padding="zero")
    # the blur loses signal beyond the detector; rescaling keeps the ratio exact
    total, kept = source.sum((0, 2), keepdim=True), smooth.sum((0, 2), keepdim=True)
    return scatter.ratio * smooth * total / kept.clamp(min=1e-30)
