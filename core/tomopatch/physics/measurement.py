"""Measurements: simulated photon counts, and the line integrals and weights computed from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.geometry.views import Views, difference, view_index
from tomopatch.projector import Projector
from tomopatch.volume import Volume, VolumeGeometry, as_tensor, finite

FULL_DOSE_PHOTONS = 1e5
"""Photons per ray at full dose: a routine diagnostic scan, as in the 2016 Low Dose CT Grand Challenge."""

FEWEST, MOST = 1e-3, 1e12
"""Photons per ray that can be simulated: with fewer nothing is measured, with more float32 has no noise."""


@dataclass(frozen=True, eq=False)
class Measurement:
    """Line integrals measured with a scan geometry.

    Arrays may be given as torch or numpy, of any real type; they are kept as float32 tensors.

    Attributes
    ----------
    projections : Tensor (v, angle, u)
        -log transmission, dimensionless.
    geometry : ParallelBeam, ConeBeam or Views
    weights : Tensor (v, angle, u) or None
        Inverse variance of each line integral; None = no noise.
    photon_count : float or None
        Photons per ray before the object; None = no noise.

    Raises
    ------
    ValueError
        If the shapes do not fit the geometry, or a value is NaN or infinite, or a weight negative.
    """

    projections: Tensor
    geometry: Geometry
    weights: Tensor | None = None
    photon_count: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.geometry, ParallelBeam | ConeBeam | Views):
            raise TypeError(
                f"a measurement needs a ParallelBeam, ConeBeam or Views, got {type(self.geometry).__name__}."
            )
        v, u = self.geometry.det_shape
        expected = (v, self.geometry.num_views, u)
        for name in ("projections", "weights"):
            if getattr(self, name) is None and name == "weights":
                continue
            data = as_tensor(getattr(self, name), name)
            if tuple(data.shape) != expected:
                raise ValueError(
                    f"{name} have shape {tuple(data.shape)} (v, angle, u) but the geometry asks for"
                    f" {expected}; subset the measurement and its geometry with the same angle_index."
                )
            if not bool(torch.isfinite(data).all()):
                raise ValueError(f"{name} hold NaN or infinity; mask or repair those pixels first.")
            object.__setattr__(self, name, data)
        if self.weights is not None and bool((self.weights < 0).any()):
            raise ValueError("weights are inverse variances, at least 0; some are below 0.")

    def check_projector(self, A: Projector) -> None:
        """Refuse a projector whose geometry differs from that of this measurement.

        Raises
        ------
        ValueError
            The message states the difference: the shape, or the positions of source and detector.
        """
        if tuple(self.projections.shape) != A.range_shape:
            raise ValueError(
                f"the measurement has projections {tuple(self.projections.shape)} but the projector makes "
                f"{A.range_shape} (v, angle, u); subset both with the same angle_index."
            )
        if self.geometry is A.pg or self.geometry == A.pg:
            return
        ours, theirs = (g if isinstance(g, Views) else g.views() for g in (self.geometry, A.pg))
        differs = difference(ours, theirs)
        if differs is not None:
            raise ValueError(
                f"the measurement and the projector have different geometries: {differs}; make the projector"
                " with the geometry of the measurement."
            )

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.projections.shape))
        dose = "no noise" if self.photon_count is None else f"{self.photon_count:.3g} photons a ray"
        return (
            f"Measurement({type(self.geometry).__name__}, {shape} (v, angle, u), line integrals "
            f"{float(self.projections.min()):.3g} to {float(self.projections.max()):.3g}, {dose})"
        )

    def subset(self, angle_index: Sequence[int] | slice) -> Measurement:
        """Only these views, in this order."""
        index = torch.from_numpy(view_index(angle_index, self.geometry.num_views))
        weights = None if self.weights is None else self.weights[:, index]
        return Measurement(
            self.projections[:, index], self.geometry.subset(index.tolist()), weights, self.photon_count
        )

    def to(self, device: torch.device | str) -> Measurement:
        weights = None if self.weights is None else self.weights.to(device)
        return Measurement(self.projections.to(device), self.geometry, weights, self.photon_count)


def simulate(
    volume: Volume,
    A: Projector,
    *,
    photon_count: float | None = None,
    electronic_noise: float = 10.0,
    generator: torch.Generator | None = None,
    supersample: int | None = None,
) -> Measurement:
    """Simulate a measurement: Beer's law, finite pixels, photon and electronic noise, and the logarithm.

    The volume is projected on its own grid, whatever the grid of A. Give the finest grid available, so that a
    reconstruction does not profit from a simulation with the same errors.

    Parameters
    ----------
    volume : Volume
    A : Projector
        Gives the scan geometry; its volume grid does not matter.
    photon_count : float or None
        Photons per ray before the object; None = no noise at all.
    electronic_noise : float
        Standard deviation of the read-out, in photons.
    generator : torch.Generator or None
        Source of the noise, on any device; None = a CPU generator with seed 0, so that all devices give the
        same noise.
    supersample : int or None
        Rays per detector pixel and direction, whose intensities are averaged; None = the ratio of pixel to
        voxel size, at most 4.
    """
    if not isinstance(volume, Volume) or not isinstance(A, Projector):
        raise TypeError(
            f"simulate takes a Volume and a Projector, got {type(volume).__name__} and {type(A).__name__}."
        )
    if photon_count is not None and not (finite(photon_count) and FEWEST <= photon_count <= MOST):
        raise ValueError(
            f"photon_count must lie between {FEWEST:g} and {MOST:g} photons a ray, or be None for no noise; "
            f"got {photon_count}."
        )
    if supersample is not None and not (finite(supersample) and int(supersample) == supersample >= 1):
        raise ValueError(f"supersample must be a whole number of at least 1, got {supersample}.")
    volume.check_finite("to be scanned")
    if not (finite(electronic_noise) and electronic_noise >= 0):
        raise ValueError(f"electronic_noise must be at least 0 photons, got {electronic_noise}.")
    pg = A.pg
    if supersample is None:
        supersample = _rays_per_pixel(volume.geometry, pg)
    if volume.geometry == A.vg and supersample == 1:
        line_integrals = A(volume.data)
    else:
        line_integrals = _line_integrals(volume, pg, supersample, A.backend)
    if photon_count is None:
        return Measurement(line_integrals, pg)
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    counts = expected_counts(line_integrals, photon_count).to(generator.device)
    if not float(counts.max()) <= 1e3 * MOST:
        raise ValueError(
            "the volume's negative attenuation gives line integrals down to"
            f" {float(line_integrals.min()):.3g}, more photons than were emitted; expected air (0 /mm, -1000"
            " HU) or denser; clip the volume."
        )
    counts = torch.poisson(counts, generator=generator)
    if electronic_noise:
        counts += electronic_noise * torch.randn(counts.shape, generator=generator, device=counts.device)
    counts = counts.to(line_integrals.device)
    return from_counts(counts, pg, photon_count=photon_count, electronic_noise=electronic_noise)


def expected_counts(line_integrals: Tensor, photon_count: float) -> Tensor:
    """Beer's law: photon_count exp(-line integral)."""
    return photon_count * torch.exp(-line_integrals)


def from_counts(
    counts: Any, pg: Geometry, *, photon_count: float, electronic_noise: float = 0.0
) -> Measurement:
    """Line integrals and weights from photon counts (v, angle, u), a torch or numpy array.

    The logarithm needs a floor: counts below half a photon are raised to half a photon. The weight is the
    inverse variance of the logarithm to first order, counts^2 / (counts + electronic_noise^2).
    """
    if not (finite(photon_count) and photon_count > 0):
        raise ValueError(f"photon_count must be above 0 photons a ray, got {photon_count}.")
    counts = as_tensor(counts, "counts").clamp(min=0.5)
    weights = counts.square() / (counts + electronic_noise**2)
    return Measurement(torch.log(photon_count / counts), pg, weights, photon_count)


def full_scan_views(pg: Geometry) -> int:
    """Views of a full scan with this detector: pi/2 times its columns (Kak & Slaney, sec. 5.1)."""
    return math.ceil(math.pi / 2 * pg.det_shape[1])


def relative_dose(pg: Geometry, photon_count: float | None) -> float:
    """Emitted photons relative to a full scan at full dose; NaN without a photon count."""
    if photon_count is None:
        return math.nan
    return pg.num_views / full_scan_views(pg) * photon_count / FULL_DOSE_PHOTONS


# ---- finite detector pixels ---------------------------------------------------------------------------


def _rays_per_pixel(vg: VolumeGeometry, pg: Geometry) -> int:
    """Number of voxels across a pixel, seen from the rotation axis; from 1 to 4."""
    views = pg if isinstance(pg, Views) else pg.views()
    pixel = float((views.det_u[0] ** 2).sum() ** 0.5)
    if isinstance(pg, ConeBeam):
        pixel *= pg.src_orig_dist / pg.src_det_dist
    elif views.cone:
        source, detector = views.source[0], views.det_pos[0]
        pixel *= float((source**2).sum() ** 0.5 / (((detector - source) ** 2).sum() ** 0.5))
    return max(1, min(4, round(pixel / min(vg.voxel_size[1:]))))


def _line_integrals(volume: Volume, pg: Geometry, supersample: int, backend: str) -> Tensor:
    """Line integrals of finite pixels: -log of the mean transmission over the rays of a pixel."""
    views = pg if isinstance(pg, Views) else pg.views()
    if supersample == 1:
        return Projector(volume.geometry, views, backend)(volume.data)
    n, (v, u) = supersample, views.det_shape
    level = _rows_lie_in_slices(views)
    if level:  # the mean over a pixel's height is then exact, from one row of rays per slice
        finer, per_row = _row_per_slice(views, volume.geometry, n), 1
    else:
        finer, per_row = (
            Views(views.cone, views.source, views.det_pos, views.det_v / n, views.det_u / n, (v * n, u * n)),
            n,
        )
    share = _share_of_slices(views, volume.geometry) if level else torch.empty(0)
    out = []
    # chunks of views bound the memory of the finer projections
    per_chunk = max(1, 2**26 // (n * u * finer.det_shape[0]))
    for start in range(0, views.num_views, per_chunk):
        part = Projector(volume.geometry, finer.subset(slice(start, start + per_chunk)), backend)(volume.data)
        transmission = torch.exp(-part).unflatten(2, (u, n)).unflatten(0, (-1, per_row)).mean((1, 4))
        if level:
            # above and below the volume a row sees air; 1 - 1 + exp(-p) would lose transmissions below 1e-7
            air = (1 - share.sum(1, dtype=torch.float64)).clamp(min=0)
            air = torch.where(air < 1e-6, 0.0, air).to(transmission)
            transmission = torch.tensordot(share.to(transmission), transmission, dims=1) + air[:, None, None]
        out.append(-torch.log(transmission))
    return torch.cat(out, 1)


def _rows_lie_in_slices(views: Views) -> bool:
    """Whether the rays of each detector row stay at one height, equal in all views, to 1e-9 of a row."""
    if views.cone:
        return False
    row = float(np.abs(views.det_v[:, 0]).max())
    still = [
        views.source[:, :1] * row,  # a direction
        views.det_v[:, 1:],
        views.det_u[:, :1],
        np.ptp(views.det_pos[:, 0]),
        np.ptp(views.det_v[:, 0]),
    ]
    return all(bool(np.abs(part).max() <= 1e-9 * row) for part in still)


def _row_per_slice(views: Views, vg: VolumeGeometry, n: int) -> Views:
    """These views with a detector row at the height of each slice, and n columns for each column."""
    det_pos, det_v = views.det_pos.copy(), np.zeros_like(views.det_v)
    det_pos[:, 0], det_v[:, 0] = vg.pos[0], vg.voxel_size[0]
    return Views(False, views.source, det_pos, det_v, views.det_u / n, (vg.shape[0], views.det_shape[1] * n))


def _share_of_slices(views: Views, vg: VolumeGeometry) -> Tensor:
    """Matrix (v, z): share of each detector row's height that each slice covers."""
    num_v, height = views.det_shape[0], float(views.det_v[0, 0])
    rows = views.det_pos[0, 0] + (np.arange(num_v) - (num_v - 1) / 2) * height
    slices = vg.pos[0] + (np.arange(vg.shape[0]) - (vg.shape[0] - 1) / 2) * vg.voxel_size[0]
    reach, half = abs(height) / 2, vg.voxel_size[0] / 2
    upper = np.minimum(rows[:, None] + reach, slices[None] + half)
    lower = np.maximum(rows[:, None] - reach, slices[None] - half)
    return torch.from_numpy(np.clip(upper - lower, 0, None) / abs(height))
