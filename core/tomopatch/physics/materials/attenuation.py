"""Attenuation of materials by energy, from 10 to 150 keV, from a table that ships with the engine."""

from __future__ import annotations

import csv
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from tomopatch.volume import MU_WATER

LOWEST, HIGHEST = 10.0, 150.0
"""[keV] Range of the table."""


def table(package: str, name: str) -> list[list[str]]:
    """Return the rows of a CSV file of a package."""
    return list(csv.reader(files(package).joinpath(name).read_text("utf-8").splitlines()))


@cache
def _columns() -> dict[str, np.ndarray]:
    """Columns of the table: energies [keV] as "keV", and mass attenuation [cm^2/g] by material."""
    header, _, *rows = table(__package__, "attenuation.csv")
    return dict(zip(header, np.array(rows, float).T, strict=True))


@cache
def densities() -> dict[str, float]:
    """Return the materials of the table with their densities [g/cm^3].

    "iodine" is a solution of 20 mg/ml in water, "lung" is inflated, "steel" is iron.
    """
    header, row, *_ = table(__package__, "attenuation.csv")
    return {name: float(value) for name, value in zip(header[1:-1], row[1:-1], strict=True)}


def mass_attenuation(material: str, energies_keV: Any) -> np.ndarray:
    """Return the mass attenuation mu/rho [cm^2/g] at these energies [keV].

    Photoelectric absorption, coherent and incoherent scattering (Elam, Ravel & Sieber 2002). The values agree
    with NIST's tables (Hubbell & Seltzer 1995) to 2 %. The interpolation is log-log; a K edge is a pair of
    energies.

    Raises
    ------
    ValueError
        If the material is not in the table, or an energy lies outside 10 to 150 keV.
    """
    if material not in densities() and material != "air absorption":
        raise ValueError(f"unknown material {material!r}; known are {', '.join(densities())}.")
    energies = np.asarray(energies_keV, float)
    if not bool(((energies >= LOWEST) & (energies <= HIGHEST)).all()):
        raise ValueError(
            f"energies must lie between {LOWEST:g} and {HIGHEST:g} keV, got {energies.min():g} to"
            f" {energies.max():g}."
        )
    columns = _columns()
    return np.exp(np.interp(np.log(energies), np.log(columns["keV"]), np.log(columns[material])))


def mu(material: str, energies_keV: Any) -> np.ndarray:
    """Return the linear attenuation [1/mm] of a material at these energies [keV]."""
    return mass_attenuation(material, energies_keV) * densities()[material] / 10


def root(f: Callable[[float], float], low: float, high: float) -> float:
    """Return the zero of `f` between two values at which its signs differ, to 1e-12."""
    from scipy.optimize import brentq  # half a second to import

    return float(brentq(f, low, high, xtol=1e-12))


@cache
def reference_energy() -> float:
    """Return the energy [keV] at which water has the attenuation MU_WATER, about 71 keV."""
    return root(lambda e: float(mu("water", e)) - MU_WATER, 60, 90)
