"""Metal artefact reduction: rays through metal are interpolated from their neighbours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from tomopatch.physics.measurement import Measurement
from tomopatch.projector import Projector
from tomopatch.volume import MU_WATER, Volume, hu_from_mu

METAL_HU = 2500.0
"""Voxels above this value are metal; the densest bone has about 2000 HU."""
AIR_HU, BONE_HU = -400.0, 350.0
"""Limits [HU] between air and water, and between water and bone, in the prior image of NMAR."""
SMOOTHING = 1.0
"""Standard deviation [voxels] of the Gaussian filter before tissue classification."""
LEAST_PATH = 0.02
"""Values of the normalising sinogram below this share of its maximum are raised to that limit."""


def reduce_metal(
    measurement: Measurement,
    A: Projector,
    reconstruct: Callable[[Measurement], Volume],
    *,
    normalised: bool = True,
) -> tuple[Measurement, float]:
    """Replace the line integrals of rays through metal.

    The metal is segmented in a first image by a threshold. In the metal trace each detector row is
    interpolated linearly (LI; Kalender, Hebel, Ebersberger 1987, Radiology 164, 576). The normalised method
    (NMAR) first divides the sinogram by the sinogram of a prior image with air, water and bone, so that it
    becomes flat, and multiplies by the same sinogram afterwards (Meyer, Raupach, Lell, Schmidt, Kachelriess
    2010, Med. Phys. 37, 5482).

    Parameters
    ----------
    A : Projector
        On the grid of the image, with the geometry of the measurement.
    reconstruct : f(measurement) -> Volume
        Reconstruction of the images, for example with FBP.

    Returns
    -------
    measurement : Measurement
        With the metal as its `metal`; unchanged if there is none.
    share : float
        Share of the rays that were replaced.
    """
    image = reconstruct(measurement)
    is_metal = hu_from_mu(image.data) > METAL_HU
    metal = image.with_data(torch.where(is_metal, image.data, torch.zeros_like(image.data)))
    shadow = _widened(A(is_metal.to(image.data)) > 0)
    if not bool(shadow.any()):
        return measurement, 0.0
    y = interpolated(measurement.projections, shadow)
    if normalised:
        tissue = _tissue(reconstruct(replace(measurement, projections=y)), is_metal)
        prior = A(tissue)
        prior = prior.clamp(min=LEAST_PATH * float(prior.max()))
        y = torch.where(shadow, interpolated(measurement.projections / prior, shadow) * prior, y)
    return replace(measurement, projections=y, metal=metal), float(shadow.float().mean())


def _widened(shadow: Tensor) -> Tensor:
    """Widen the metal trace (v, angle, u) by one pixel, because the edge of metal covers pixels in part."""
    out = shadow.clone()
    out[..., 1:] |= shadow[..., :-1]
    out[..., :-1] |= shadow[..., 1:]
    return out


def interpolated(y: Tensor, shadow: Tensor) -> Tensor:
    """Interpolate the values of (v, angle, u) linearly along u where `shadow` is true.

    At the end of a row the nearest known value is repeated. A row without known values is not changed.
    """
    out = y.clone().cpu().numpy()
    hidden = shadow.cpu().numpy()
    columns = np.arange(y.shape[2])
    for v, angle in np.argwhere(hidden.any(2) & ~hidden.all(2)):
        row, gap = out[v, angle], hidden[v, angle]
        row[gap] = np.interp(columns[gap], columns[~gap], row[~gap])
    return torch.from_numpy(out).to(y)


def _tissue(image: Volume, is_metal: Tensor) -> Tensor:
    """Attenuation of air, water and bone (z, y, x) [1/mm]; metal becomes water."""
    hu = gaussian_filter(hu_from_mu(image.data).cpu().numpy(), SMOOTHING)
    water = np.where(hu < AIR_HU, 0.0, MU_WATER)
    tissue = np.where(hu > BONE_HU, image.data.cpu().numpy(), water).astype(np.float32)
    known = torch.from_numpy(tissue).to(image.data)
    return torch.where(is_metal, torch.full_like(known, MU_WATER), known)
