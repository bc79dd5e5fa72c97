"""Spectra of X-ray tubes: photons by energy, filters, half-value layer, air kerma."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from tomopatch.physics.effects import Tube
from tomopatch.physics.materials.attenuation import HIGHEST, LOWEST, mass_attenuation, mu, root, table

NUM_BINS = 20
"""Energy bins of a simulated beam. With 20 and 100 bins, a line integral through 300 mm of water
differs by less than 0.1 %."""
KERMA_PER_ENERGY = 1.602e-8
"""Air kerma [mGy] of 1 keV/mm^2 times 1 cm^2/g: 1.602e-16 J/keV, 100 mm^2/cm^2, 1000 g/kg, 1000 mGy/Gy."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Photons by energy.

    Attributes
    ----------
    energies : float64 array (bins,)
        [keV]
    photons : float64 array (bins,)
        Photons in each bin per mm^2 and mAs at 1 m from the source; only their ratios matter for a line
        integral.
    """

    energies: np.ndarray
    photons: np.ndarray

    def __post_init__(self) -> None:
        energies, photons = (np.asarray(a, float) for a in (self.energies, self.photons))
        if energies.ndim != 1 or energies.shape != photons.shape or len(energies) == 0:
            raise ValueError(
                "a spectrum needs energies and photons of the same length, got shapes"
                f" {energies.shape} and {photons.shape}."
            )
        if not ((energies >= LOWEST) & (energies <= HIGHEST)).all():
            raise ValueError(
                f"a spectrum's energies must lie between {LOWEST:g} and {HIGHEST:g} keV, got"
                f" {energies.min():g} to {energies.max():g}."
            )
        if not (np.isfinite(photons).all() and (photons >= 0).all() and photons.sum() > 0):
            raise ValueError("a spectrum's photons must be finite, at least 0, and not all 0.")
        object.__setattr__(self, "energies", energies)
        object.__setattr__(self, "photons", photons)

    @classmethod
    def monochromatic(cls, energy_keV: float) -> Spectrum:
        """Return a spectrum of one photon of one energy."""
        return cls(np.array([energy_keV]), np.ones(1))

    @property
    def total(self) -> float:
        """Photons per mm^2 and mAs at 1 m."""
        return float(self.photons.sum())

    @property
    def mean_energy(self) -> float:
        """Mean energy of the photons [keV]."""
        return float(self.energies @ self.photons / self.total)

    @property
    def air_kerma(self) -> float:
        """Air kerma [mGy] per mAs at 1 m, free in air: sum of photons times energy times mu_en/rho of air."""
        absorbed = mass_attenuation("air absorption", self.energies)
        return float(KERMA_PER_ENERGY * (self.photons * self.energies) @ absorbed)

    @property
    def effective_energy(self) -> float:
        """Energy [keV] of the single-energy beam with the same first half-value layer in aluminium."""
        target = math.log(2) / self.half_value_layer()
        low, high = float(mu("aluminium", HIGHEST)), float(mu("aluminium", LOWEST))
        target = min(max(target, low), high)
        return root(lambda e: float(mu("aluminium", e)) - target, LOWEST, HIGHEST)

    def filtered(self, material: str, thickness: float) -> Spectrum:
        """Return the spectrum behind `thickness` [mm] of a material, by Beer's law."""
        return Spectrum(self.energies, self.photons * np.exp(-mu(material, self.energies) * thickness))

    def half_value_layer(self, material: str = "aluminium") -> float:
        """Return the thickness [mm] of a material that halves the air kerma."""
        half = self.air_kerma / 2
        most = math.log(2) / float(mu(material, self.energies).min())
        return root(lambda t: self.filtered(material, t).air_kerma - half, 0, 1.001 * most)

    def rebinned(self, num_bins: int) -> Spectrum:
        """Return the spectrum in at most `num_bins` bins of equal width, each at its photons' mean energy."""
        used = self.energies[self.photons > 0]
        edges = np.linspace(used[0], used[-1] * (1 + 1e-12), num_bins + 1)
        bins = np.clip(np.searchsorted(edges, self.energies, "right") - 1, 0, num_bins - 1)
        photons = np.bincount(bins, self.photons, num_bins)
        energy = np.bincount(bins, self.photons * self.energies, num_bins)
        return Spectrum(energy[photons > 0] / photons[photons > 0], photons[photons > 0])


@cache
def _tube_table() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Energies [keV], tube voltages [kV], and photons per keV, mm^2 and mAs at 1 m (voltage, energy)."""
    (_, *energies), *rows = table(__package__, "spectra.csv")
    values = np.array(rows, float)
    return np.array(energies, float), values[:, 0], values[:, 1:]


def tube_spectrum(tube: Tube, num_bins: int | None = NUM_BINS) -> Spectrum:
    """Return the spectrum of a tube behind its filters; `num_bins` None = bins of 1 keV.

    A tungsten anode at 12 degrees with 1 mm of aluminium as inherent filtration. Computed with SpekPy
    (Poludniowski et al., Medical Physics 48:3630, 2021) for every 5 kV, and interpolated in between. Photons
    below 10 keV are left out; behind the inherent filtration they are fewer than one in a thousand.
    """
    energies, voltages, photons = _tube_table()
    above = min(max(int(np.searchsorted(voltages, tube.kvp)), 1), len(voltages) - 1)
    below = above - 1
    share = (tube.kvp - voltages[below]) / (voltages[above] - voltages[below])
    mixed = (1 - share) * photons[below] + share * photons[above]
    # the spectrum of the next higher tabulated voltage reaches beyond the tube voltage
    mixed = mixed * np.clip(tube.kvp - (energies - 0.5), 0, 1)
    beam = Spectrum(energies, mixed)
    for material, thickness in filters(tube).items():
        beam = beam.filtered(material, thickness)
    return beam if num_bins is None else beam.rebinned(num_bins)


def filters(tube: Tube) -> dict[str, float]:
    """Return the filters of a tube [mm] by material."""
    return {"aluminium": tube.aluminium, "copper": tube.copper, "tin": tube.tin}


def response(detector: str, energies_keV: Any) -> np.ndarray:
    """Return the signal of an absorbed photon: its energy ("integrating") or 1 ("counting")."""
    energies = np.asarray(energies_keV, float)
    return energies if detector == "integrating" else np.ones_like(energies)
