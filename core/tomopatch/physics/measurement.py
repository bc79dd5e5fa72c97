"""Measurements: simulated photon counts, and the line integrals and weights computed from them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.geometry.views import Views, difference, view_index
from tomopatch.physics.chain import Signal, expected_signal, measured_rays, switched_on
from tomopatch.physics.detector.faults import pixels_of, read_out
from tomopatch.physics.detector.noise import photon_noise
from tomopatch.physics.effects import DetectorFaults, Effects
from tomopatch.physics.materials.inserts import plant_inserts
from tomopatch.physics.rays.pixels import line_integrals, rays_per_pixel
from tomopatch.physics.source.dose import photons_per_ray
from tomopatch.projector import Projector
from tomopatch.volume import Volume, as_tensor, finite

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
    metal : Volume or None
        Metal whose rays were replaced: its attenuation [1/mm], 0 elsewhere. `reconstruct` inserts it into the
        volume.

    Raises
    ------
    ValueError
        If the shapes do not fit the geometry, or a value is NaN or infinite, or a weight negative.
    """

    projections: Tensor
    geometry: Geometry
    weights: Tensor | None = None
    photon_count: float | None = None
    metal: Volume | None = None

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
        if self.metal is not None:
            self.metal.check_finite("to be the metal of a measurement")

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
        ours, theirs = (g.views() for g in (self.geometry, A.pg))
        differs = difference(ours, theirs)
        if differs is not None:
            raise ValueError(
                f"the measurement and the projector have different geometries: {differs}; make the projector"
                " with the geometry of the measurement."
            )

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.projections.shape))
        dose = "no noise" if self.photon_count is None else f"{self.photon_count:.3g} photons per ray"
        return (
            f"Measurement({type(self.geometry).__name__}, {shape} (v, angle, u), line integrals "
            f"{float(self.projections.min()):.3g} to {float(self.projections.max()):.3g}, {dose})"
        )

    def subset(self, angle_index: Sequence[int] | slice) -> Measurement:
        """Only these views, in this order."""
        index = torch.from_numpy(view_index(angle_index, self.geometry.num_views))
        weights = None if self.weights is None else self.weights[:, index]
        geometry = self.geometry.subset(index.tolist())
        return replace(self, projections=self.projections[:, index], geometry=geometry, weights=weights)

    def to(self, device: torch.device | str) -> Measurement:
        weights = None if self.weights is None else self.weights.to(device)
        return replace(self, projections=self.projections.to(device), weights=weights)


def simulate(
    volume: Volume,
    A: Projector,
    *,
    photon_count: float | None = None,
    electronic_noise: float = 10.0,
    generator: torch.Generator | None = None,
    supersample: int | None = None,
    effects: Effects | None = None,
) -> Measurement:
    """Simulate a measurement: Beer's law, finite pixels, photon and electronic noise, and the logarithm.

    The volume is projected on its own grid, whatever the grid of A. Give the finest grid available, so that a
    reconstruction does not profit from a simulation with the same errors.

    The measurement has the geometry of A, which a reconstruction assumes, even if a misalignment or a motion
    changes the rays that are measured. With a tube the line integrals are multiplied by a constant, so that a
    thin layer of water at the central ray has MU_WATER and HU stay comparable; thicker objects look less
    dense.

    Parameters
    ----------
    volume : Volume
    A : Projector
        Gives the scan geometry; its volume grid does not matter.
    photon_count : float or None
        Photons per ray before the object; None = no noise at all. `effects.tube.mas` replaces this
        value. Behind a bowtie: photons of the central ray.
    electronic_noise : float
        Standard deviation of the read-out, in photons; with a tube, in photons of the unattenuated beam's
        mean signal.
    generator : torch.Generator or None
        Source of the noise, on any device; None = a CPU generator with seed 0, so that all devices give the
        same noise.
    supersample : int or None
        Rays per detector pixel and direction, whose intensities are averaged; None = the ratio of pixel to
        voxel size, at most 4.
    effects : Effects or None
        Differences between a real scan and an ideal one; None = an ideal scan.

    Raises
    ------
    ValueError
        If a parameter is out of range, or an effect does not fit the geometry or the volume.
    """
    if not isinstance(volume, Volume) or not isinstance(A, Projector):
        raise TypeError(
            f"simulate takes a Volume and a Projector, got {type(volume).__name__} and {type(A).__name__}."
        )
    effects = switched_on(effects)
    pg = A.pg
    if effects.tube is not None and effects.tube.mas is not None:
        photon_count = photons_per_ray(effects.tube, pg)
    if photon_count is not None and not (finite(photon_count) and FEWEST <= photon_count <= MOST):
        raise ValueError(
            f"photon_count must lie between {FEWEST:g} and {MOST:g} photons per ray, or be None (no noise); "
            f"got {photon_count}."
        )
    if supersample is not None and not (finite(supersample) and int(supersample) == supersample >= 1):
        raise ValueError(f"supersample must be a whole number of at least 1, got {supersample}.")
    volume.check_finite("to be scanned")
    if not (finite(electronic_noise) and electronic_noise >= 0):
        raise ValueError(f"electronic_noise must be at least 0 photons, got {electronic_noise}.")
    if supersample is None:
        supersample = rays_per_pixel(volume.geometry, pg)
    if generator is None:
        generator = torch.Generator().manual_seed(0)
    if effects.tube is None:
        volume = plant_inserts(volume, effects.inserts)
    rays = measured_rays(pg, effects, volume.geometry)
    if any(e is not None for e in (effects.tube, effects.scatter, effects.blur, effects.faults)):
        signal = expected_signal(volume, rays, effects, supersample, A.backend)
        return _read(signal, pg, photon_count, electronic_noise, generator, effects.faults)
    if rays.geometry is pg and volume.geometry == A.vg and supersample == 1:
        integrals = A(volume.data)
    else:
        integrals = line_integrals(volume, rays, supersample, A.backend)
    if photon_count is None:
        return Measurement(integrals, pg)
    counts = expected_counts(integrals, photon_count)
    _check_counts(counts)
    counts = photon_noise(counts, None, generator)
    if electronic_noise:
        counts += electronic_noise * torch.randn(counts.shape, generator=generator, device=counts.device)
    counts = counts.to(integrals.device)
    return from_counts(counts, pg, photon_count=photon_count, electronic_noise=electronic_noise)


def _check_counts(counts: Tensor) -> None:
    if not float(counts.max()) <= 1e3 * MOST:
        raise ValueError(
            "the volume's negative attenuation gives line integrals below 0, more photons than were emitted;"
            " expected air (0 /mm, -1000 HU) or denser; clip the volume."
        )


def _read(
    signal: Signal,
    pg: Geometry,
    photon_count: float | None,
    electronic_noise: float,
    generator: torch.Generator,
    faults: DetectorFaults | None,
) -> Measurement:
    """Simulate the measurement of an expected signal by the detector.

    Signals below half a photon are raised to half a photon, as in `from_counts`. Without noise, a dead
    pixel reads half a photon of a scan at full dose; other signals are limited by float32 precision only.
    """
    faults = faults or DetectorFaults()
    _check_counts(signal.mean)
    if photon_count is None:
        counts = read_out(signal.mean, faults, signal.unattenuated)
        dead = pixels_of(faults, pg.det_shape).dead.to(counts.device)
        counts = torch.where(dead[:, None], 0.5 / FULL_DOSE_PHOTONS, counts)
        counts = counts.clamp(min=torch.finfo(torch.float32).tiny)
        return Measurement(signal.water_factor * torch.log(signal.unattenuated / counts), pg)
    device = signal.mean.device
    counts = photon_noise(photon_count * signal.mean, signal.gain, generator)
    electronic = None
    if electronic_noise:
        electronic = electronic_noise * torch.randn(
            counts.shape, generator=generator, device=counts.device
        ).to(device)
    unattenuated = photon_count * signal.unattenuated
    counts = read_out(counts.to(device), faults, unattenuated, electronic).clamp(min=0.5)
    photons = counts if signal.gain is None else signal.gain * counts
    # lag averages the noise of two views
    variance = photons * ((1 - faults.lag) ** 2 + faults.lag**2) + electronic_noise**2
    weights = counts.square() / variance / signal.water_factor**2
    projections = signal.water_factor * torch.log(unattenuated / counts)
    return Measurement(projections, pg, weights, photon_count)


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
        raise ValueError(f"photon_count must be above 0 photons per ray, got {photon_count}.")
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
