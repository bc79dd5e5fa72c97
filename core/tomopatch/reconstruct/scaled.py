"""Reconstruction of objects that attenuate much more or less than water."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from tomopatch.notes import note
from tomopatch.physics.measurement import Measurement
from tomopatch.progress import Callback, Step
from tomopatch.projector import Projector
from tomopatch.reconstruct.methods import METHODS
from tomopatch.reconstruct.run import Result, reconstruct
from tomopatch.volume import MU_WATER, Volume

SCALED = ("tv", "diffusion")
"""Methods whose parameters or prior assume the attenuation of water."""
LIKE_WATER = (0.5, 2.0)
"""Range of the typical attenuation, relative to water, in which these methods need no scaling."""


def water_factor(method: str, typical: float) -> float:
    """Factor by which a method multiplies the line integrals of an object with this attenuation [1/mm].

    1 for methods that are not in SCALED, and for objects within LIKE_WATER.
    """
    if method not in SCALED or not typical > 0 or LIKE_WATER[0] <= typical / MU_WATER <= LIKE_WATER[1]:
        return 1.0
    return MU_WATER / typical


def reconstruct_scaled(
    method: str,
    A: Projector,
    measurement: Measurement,
    *,
    typical: float = MU_WATER,
    callback: Callback | None = None,
    **options: Any,
) -> Result:
    """Reconstruct; for methods in SCALED, an object outside LIKE_WATER is scaled to water and back.

    Parameters
    ----------
    typical : float
        Typical attenuation of the object [1/mm]; see `typical_attenuation`.
    **options
        As for `reconstruct`. The state of a step is that of the scaled reconstruction.
    """
    factor = water_factor(method, typical)
    if factor == 1.0:
        return reconstruct(method, A, measurement, callback=callback, **options)
    note(
        f"{METHODS[method].label} has settings relative to water, but the object attenuates {typical:.3g}"
        f" /mm: the line integrals were multiplied by {factor:.3g}, and the volume was divided by it."
    )
    weights = None if measurement.weights is None else measurement.weights / factor**2
    scaled = replace(measurement, projections=measurement.projections * factor, weights=weights)
    if callback is not None:
        callback = partial(_unscaled, callback, factor)
    result = reconstruct(method, A, scaled, callback=callback, **options)
    volume, std, initial = (
        None if v is None else Volume(v.data / factor, v.geometry, v.name)
        for v in (result.volume, result.std, result.initial)
    )
    assert volume is not None
    return replace(result, volume=volume, std=std, initial=initial)


def _unscaled(callback: Callback, factor: float, step: Step) -> None:
    """Call `callback` with the step's volumes in the units of the object."""

    def divided(volume: Tensor | None) -> Tensor | None:
        return None if volume is None else volume / factor

    callback(
        replace(
            step,
            iterate=lambda: step.x / factor,
            noisy=divided(step.noisy),
            denoised=divided(step.denoised),
            std=divided(step.std),
            initial=divided(step.initial),
        )
    )
