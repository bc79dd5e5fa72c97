"""Polychromatic beams: a volume as several materials, and the signal summed over energies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.views import Views
from tomopatch.physics.effects import Insert, Tube
from tomopatch.physics.materials.attenuation import mu, reference_energy
from tomopatch.physics.materials.inserts import planted
from tomopatch.physics.source.spectrum import Spectrum, response, tube_spectrum
from tomopatch.physics.transmission.spectral import spectral_sums
from tomopatch.volume import MU_WATER, Volume, crop, mu_from_hu

SOFT_HU, BONE_HU = 100.0, 300.0
"""[HU] A voxel is water up to the first value, cortical bone from the second, and a mixture in between."""
BOWTIE = "PMMA"
RAYS_AT_ONCE = 2**22
"""Number of rays whose energy bins torch holds at once; 20 bins take 340 MB."""


def material_volumes(volume: Volume, inserts: Sequence[Insert] = ()) -> dict[str, Volume]:
    """Return the volume as one density map per material, relative to the pure material (water = 1).

    A voxel is water of density mu / MU_WATER, cortical bone, or a mixture: the share of bone in its
    attenuation grows linearly from 0 at 100 HU to 1 at 300 HU. At the reference energy the sum of all
    materials attenuates like the volume. An insert replaces the materials at its place. Maps that are
    0 everywhere are left out. All maps except water cover only the part of the grid that they need.
    """
    low, high = (float(mu_from_hu(torch.tensor(hu))) for hu in (SOFT_HU, BONE_HU))
    data = volume.data
    bony = (data - low).div_(high - low).clamp_(0, 1).mul_(data)
    energy = reference_energy()
    densities = {
        "water": (data - bony).div_(MU_WATER),
        "cortical bone": bony.div_(float(mu("cortical bone", energy))),
    }
    for insert in inserts:
        box, share = planted(insert, volume.geometry)
        share = share.to(data)
        for density in densities.values():
            density[box] *= 1 - share
        if insert.material not in densities:
            densities[insert.material] = torch.zeros_like(data)
        densities[insert.material][box] += share
    return {
        name: _cropped(volume.with_data(density)) if name != "water" else volume.with_data(density)
        for name, density in densities.items()
        if name == "water" or float(density.max()) > 0
    }


def _cropped(volume: Volume) -> Volume:
    """The part of a volume that is not 0, with a margin of a voxel."""
    projected = volume.data.amax(0)  # along z
    box = []
    for highest in (volume.data.amax((1, 2)), projected.amax(1), projected.amax(0)):
        used = highest.nonzero().flatten()
        box.append(slice(max(0, int(used[0]) - 1), min(len(highest), int(used[-1]) + 2)))
    return crop(volume, (box[0], box[1], box[2]))


@dataclass(frozen=True, eq=False)
class Beam:
    """Spectrum and detector behind a set of materials; a `Transmit` with two outputs.

    Attributes
    ----------
    materials : tuple of str
        In the order of the paths. The bowtie's material is not among them.
    spectrum : Spectrum
    detector : "integrating" or "counting"
    bowtie : Tensor (views, u) or None
        Thickness of the bowtie [mm].

    Calling it with path lengths [mm of pure material] gives (2, rows, views, columns): the mean signal and
    its variance for one photon per ray, each relative to the unattenuated beam of the central ray.
    """

    materials: tuple[str, ...]
    spectrum: Spectrum
    detector: str = "integrating"
    bowtie: Tensor | None = None

    @property
    def _signals(self) -> np.ndarray:
        """First and second moments of the signal by energy bin (2, bins), each with sum 1."""
        per_photon = response(self.detector, self.spectrum.energies)
        both = self.spectrum.photons * np.stack([per_photon, per_photon**2])
        return both / both.sum(1, keepdims=True)

    @property
    def excess(self) -> float:
        """Variance of the unattenuated signal over the variance for photons of one energy; at least 1."""
        per_photon = response(self.detector, self.spectrum.energies)
        share = self.spectrum.photons / self.spectrum.total
        return float(share @ per_photon**2 / (share @ per_photon) ** 2)

    @property
    def water_factor(self) -> float | Tensor:
        """Factor on line integrals; it gives a thin layer of water MU_WATER, so that HU stay comparable.

        Behind a bowtie each column has a different factor (1, views, u), as in the calibration of a scanner.
        """
        signals, water = self._signals[0], mu("water", self.spectrum.energies)
        if self.bowtie is None:
            return MU_WATER / float(signals @ water)
        thickness = self.bowtie.double().cpu().numpy()[..., None]
        hardened = signals * np.exp(-thickness * mu(BOWTIE, self.spectrum.energies))
        factors = MU_WATER * hardened.sum(-1) / (hardened @ water)
        return torch.from_numpy(factors).to(self.bowtie.device, torch.float32)[None]

    @property
    def unattenuated(self) -> Tensor | None:
        """Signal without an object (1, views, u), relative to the central ray; None without a bowtie."""
        if self.bowtie is None:
            return None
        nothing = self.bowtie.new_zeros((1, *self.bowtie.shape), dtype=torch.float32)
        return self([nothing] * len(self.materials), slice(None))[0]

    def __call__(self, paths: list[Tensor], views: slice) -> Tensor:
        names = list(self.materials)
        if self.bowtie is not None:
            thickness = self.bowtie[views].to(paths[0])[None]
            columns = paths[0].shape[2] // thickness.shape[2]
            thickness = thickness.repeat_interleave(columns, 2)
            paths, names = [*paths, thickness.expand_as(paths[0])], [*names, BOWTIE]
        attenuation = np.stack([mu(name, self.spectrum.energies) for name in names], 1)
        flat = torch.stack([path.reshape(-1) for path in paths])
        if flat.device.type == "cpu" and flat.dtype == torch.float32:
            out = torch.from_numpy(spectral_sums(flat.numpy(), attenuation, self._signals))
        else:
            out = self._sums(flat, torch.from_numpy(attenuation).to(flat))
        return out.reshape(2, *paths[0].shape)

    def _sums(self, paths: Tensor, attenuation: Tensor) -> Tensor:
        """`spectral_sums` with torch, on any device and in any precision, in chunks that bound the memory."""
        signals = torch.from_numpy(self._signals).to(paths)
        return torch.cat(
            [signals @ (-attenuation @ part).exp_() for part in paths.split(RAYS_AT_ONCE, dim=1)], 1
        )


def beam_of(tube: Tube, materials: Sequence[str], views: Views) -> Beam:
    """Return the beam of a tube through these materials, for these views."""
    spectrum = tube_spectrum(tube)
    bowtie = bowtie_thickness(views, spectrum.effective_energy) if tube.bowtie else None
    return Beam(tuple(materials), spectrum, tube.detector, bowtie)


def bowtie_thickness(views: Views, energy_keV: float) -> Tensor:
    """Return the bowtie's thickness (views, u) [mm of PMMA] along the rays of the middle row.

    With a cylinder of water about the axis, of half the diameter of the field of view, the total attenuation
    is the same in each column at `energy_keV`. The line integrals are taken relative to the unattenuated beam
    behind the bowtie, and water is calibrated in each column (`Beam.water_factor`).
    """
    u = torch.arange(views.det_shape[1], dtype=torch.float64) - (views.det_shape[1] - 1) / 2
    pixels = torch.from_numpy(views.det_pos)[:, None] + u[:, None] * torch.from_numpy(views.det_u)[:, None]
    source = torch.from_numpy(views.source)[:, None]
    rays = (pixels - source if views.cone else source.expand_as(pixels))[..., 1:]
    # distance of each ray from the axis, within the plane of rotation
    cross = (pixels[..., 1] * rays[..., 1] - pixels[..., 2] * rays[..., 0]).abs()
    distance = cross / rays.square().sum(-1).sqrt()
    radius = distance.amax() / 2
    missing = 2 * (radius - (radius**2 - distance**2).clamp(min=0).sqrt())
    return missing * float(mu("water", energy_keV) / mu(BOWTIE, energy_keV))
