"""Simulation of a scan from the source to the detector: effects and expected signal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.beams import Geometry
from tomopatch.physics.detector.blur import FWHM, focal_spot, smeared
from tomopatch.physics.effects import Effects
from tomopatch.physics.rays.misalignment import misaligned
from tomopatch.physics.rays.motion import moving_rays
from tomopatch.physics.rays.pixels import Rays, Transmit, beer, transmissions
from tomopatch.physics.transmission.polychromatic import beam_of, material_volumes
from tomopatch.physics.transmission.scatter import scattered
from tomopatch.volume import Volume, VolumeGeometry


@dataclass(frozen=True, eq=False)
class Signal:
    """Expected signal of a scan, relative to the unattenuated beam at the central ray.

    Attributes
    ----------
    mean : Tensor (v, angle, u)
    unattenuated : Tensor, broadcasts to the same shape
        The signal without an object; below 1 behind a bowtie.
    gain : Tensor (v, angle, u) or None
        Variance over mean of the signal of one photon per ray; None = 1 (Poisson).
    water_factor : float or Tensor (1, angle, u)
        Factor on the line integrals that gives a thin layer of water the attenuation MU_WATER.
    """

    mean: Tensor
    unattenuated: Tensor
    gain: Tensor | None = None
    water_factor: float | Tensor = 1.0


def switched_on(effects: Effects | None) -> Effects:
    """Return the effects; an effect of zero strength becomes None."""
    if effects is None:
        return Effects()
    scatter, blur, faults = effects.scatter, effects.blur, effects.faults
    misalignment, motion = effects.misalignment, effects.motion
    if scatter is not None and scatter.ratio == 0:
        scatter = None
    if blur is not None and blur.detector == blur.focal_spot == 0:
        blur = None
    if misalignment is not None and replace(misalignment, seed=0) == type(misalignment)():
        misalignment = None
    if motion is not None and not any(motion.amplitude[: 1 if motion.kind == "breathing" else 3]):
        motion = None
    if faults is not None and replace(faults, seed=0) == type(faults)():
        faults = None
    return replace(
        effects, scatter=scatter, blur=blur, misalignment=misalignment, motion=motion, faults=faults
    )


def measured_rays(pg: Geometry, effects: Effects, vg: VolumeGeometry) -> Rays:
    """Return the rays that are measured when the reconstruction assumes `pg`."""
    if effects.misalignment is not None:
        pg = misaligned(pg, effects.misalignment)
    if effects.motion is not None:
        return moving_rays(pg.views(), effects.motion, vg)
    return Rays(pg)


def expected_signal(volume: Volume, rays: Rays, effects: Effects, supersample: int, backend: str) -> Signal:
    """Return the signal before noise and detector faults: tube, focal spot, detector blur and scatter.

    Parameters
    ----------
    volume : Volume
        Attenuation at the reference energy. With a tube, the inserts are added here. Without a tube, the
        volume must already contain them (`plant_inserts`).
    """
    tube, views = effects.tube, rays.views
    volumes: list[Volume] = [volume]
    factor: float | Tensor = 1.0
    transmit: Transmit = beer
    unattenuated = volume.data.new_ones((1, 1, 1))
    excess = None
    if tube is not None:
        materials = material_volumes(volume, effects.inserts)
        beam = beam_of(tube, tuple(materials), views)
        volumes, transmit, factor, excess = list(materials.values()), beam, beam.water_factor, beam.excess
        if beam.unattenuated is not None:
            unattenuated = beam.unattenuated.to(volume.data)

    def signals(source: Rays) -> Tensor:
        return transmissions(volumes, source, supersample, backend, transmit)

    out = _over_focal_spot(rays, effects, signals)
    if effects.blur is not None and effects.blur.detector:
        out = torch.stack([smeared(part, effects.blur.detector / FWHM) for part in out])
    mean = out[0]
    # for one photon per ray; scattered photons get the energies of the primary photons of their pixel
    gain = None if excess is None else excess * out[1] / mean.clamp(min=torch.finfo(mean.dtype).tiny)
    if effects.scatter is not None:
        height, width = (float(np.linalg.norm(a[0])) for a in (views.det_v, views.det_u))
        mean = mean + scattered(mean, effects.scatter, unattenuated, aspect=height / width)
    return Signal(mean, unattenuated, gain, factor)


def _over_focal_spot(rays: Rays, effects: Effects, signals: Callable[[Rays], Tensor]) -> Tensor:
    """Signals averaged over the points of the focal spot."""
    if effects.blur is None or not effects.blur.focal_spot:
        return signals(rays)
    total: Tensor | None = None
    for weight, views in focal_spot(rays.views, effects.blur.focal_spot):
        part = weight * signals(Rays(views, rays.stretch))
        total = part if total is None else total.add_(part)
    assert total is not None
    return total
