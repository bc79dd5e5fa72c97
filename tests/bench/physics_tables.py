"""Make the tables of X-ray attenuation and of tube spectra that ship with the engine.

    pip install xraydb spekpy
    python -m tests.bench.physics_tables

Attenuation: xraydb (Elam, Ravel & Sieber 2002), photoelectric, coherent and incoherent. Mass fractions of the
tissues: ICRU Report 44, as tabulated by NIST (Hubbell & Seltzer 1995). Spectra and the energy absorption of
air: SpekPy (Poludniowski et al., Medical Physics 48, 2021), tungsten anode at 12 degrees behind 1 mm of
aluminium.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parents[2] / "core" / "tomopatch" / "physics"
OWN_ALUMINIUM, ANODE = 1.0, 12.0
"""Inherent filtration of the tube [mm aluminium] and anode angle [degrees]."""
EDGES = (29.200, 33.169)
"""[keV] K edges of tin and iodine."""

WATER = {"H": 0.111894, "O": 0.888106}
MATERIALS: dict[str, tuple[float, dict[str, float]]] = {
    "water": (1.0, WATER),
    "soft tissue": (
        1.06,
        {
            "H": 0.102,
            "C": 0.143,
            "N": 0.034,
            "O": 0.708,
            "Na": 0.002,
            "P": 0.003,
            "S": 0.003,
            "Cl": 0.002,
            "K": 0.003,
        },
    ),
    "lung": (
        0.26,
        {
            "H": 0.103,
            "C": 0.105,
            "N": 0.031,
            "O": 0.749,
            "Na": 0.002,
            "P": 0.002,
            "S": 0.003,
            "Cl": 0.003,
            "K": 0.002,
        },
    ),
    "fat": (0.95, {"H": 0.114, "C": 0.598, "N": 0.007, "O": 0.278, "Na": 0.001, "S": 0.001, "Cl": 0.001}),
    "cortical bone": (
        1.92,
        {
            "H": 0.034,
            "C": 0.155,
            "N": 0.042,
            "O": 0.435,
            "Na": 0.001,
            "Mg": 0.002,
            "P": 0.103,
            "S": 0.003,
            "Ca": 0.225,
        },
    ),
    "aluminium": (2.699, {"Al": 1.0}),
    "copper": (8.96, {"Cu": 1.0}),
    "tin": (7.31, {"Sn": 1.0}),
    "titanium": (4.506, {"Ti": 1.0}),
    "steel": (7.874, {"Fe": 1.0}),
    "pure iodine": (4.93, {"I": 1.0}),
    # 20 mg of iodine fill 4 mm^3 of a millilitre, and water the rest
    "iodine": (1.0159, {"I": 0.0197, "H": 0.9803 * WATER["H"], "O": 0.9803 * WATER["O"]}),
    "PMMA": (1.19, {"H": 0.080538, "C": 0.599848, "O": 0.319614}),
    "air": (1.205e-3, {"C": 0.000124, "N": 0.755268, "O": 0.231781, "Ar": 0.012827}),
}


def attenuation_energies() -> np.ndarray:
    """Energies [keV] with logarithmic spacing; a K edge is a pair of neighbours."""
    edges = [e + side for e in EDGES for side in (-1e-3, 1e-3)]
    return np.unique(np.concatenate([np.geomspace(10, 150, 64).round(3), edges]))


def mass_attenuation(fractions: dict[str, float], energies: np.ndarray) -> np.ndarray:
    """Total mass attenuation [cm^2/g] of a mixture."""
    import xraydb

    return sum(w * xraydb.mu_elam(z, energies * 1e3, kind="total") for z, w in fractions.items())


def spek(kvp: float, **filters: float):
    """SpekPy spectrum behind the inherent filtration and further filters [mm]."""
    import spekpy

    beam = spekpy.Spek(kvp=kvp, th=ANODE, dk=0.5)
    beam.filter("Al", OWN_ALUMINIUM)
    for symbol, thickness in filters.items():
        beam.filter(symbol, thickness)
    return beam


def write_attenuation() -> None:
    energies = attenuation_energies()
    absorption = spek(100).muen_air_data.get_muen_over_rho_air(energies)
    columns = [mass_attenuation(fractions, energies) for _, fractions in MATERIALS.values()] + [absorption]
    lines = [
        ",".join(["keV", *MATERIALS, "air absorption"]),
        ",".join(["density", *(f"{density:g}" for density, _ in MATERIALS.values()), "1.205e-3"]),
        *(f"{e:g}," + ",".join(f"{c[i]:.4g}" for c in columns) for i, e in enumerate(energies)),
    ]
    (FOLDER / "materials" / "attenuation.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def write_spectra() -> None:
    """Photons per keV, mAs and mm^2 at 1 m, in bins of 1 keV from 10 to 150 keV."""
    bins = np.arange(10, 151)
    lines = ["keV," + ",".join(f"{e + 0.5:g}" for e in bins[:-1])]
    for kvp in range(40, 151, 5):
        energies, fluence = spek(kvp).get_spectrum()
        # sum of two bins of 0.5 keV; per cm^2 to per mm^2
        photons = np.histogram(energies, bins, weights=fluence * 0.5)[0] / 100
        lines.append(f"{kvp}," + ",".join(f"{p:.4g}" if p >= 0.5 else "0" for p in photons))
    (FOLDER / "source" / "spectra.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write_attenuation()
    write_spectra()
