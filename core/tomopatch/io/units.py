"""Units of the numbers in a file: Hounsfield units, attenuation, or something else. Only this module decides.

Readers call `conclude` with the numbers and with the type that the file declares, and convert with `to_hu`.
The user can overrule the conclusion with `units=`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tomopatch.volume import MU_WATER

UNITS: dict[str, str] = {
    "HU": "Hounsfield units (air -1000, water 0)",
    "1/mm": f"linear attenuation in 1/mm (air 0, water {MU_WATER:g})",
    "1/cm": f"linear attenuation in 1/cm (air 0, water {10 * MU_WATER:g})",
}
"""Units that can be converted, by the name that `units=` takes."""
ALIASES = {"hu": "HU", "mu": "1/mm", "1/mm": "1/mm", "mm": "1/mm", "1/cm": "1/cm", "cm": "1/cm"}
"""Other spellings, in lower case."""

SOFT_HU = 200.0
"""[HU] Every CT of an object has values below -200 (air, fat, lung) or above 200 (bone, metal)."""
LEAST_RANGE = 50.0
"""[HU] Smallest range from the lowest to the highest value of an image in Hounsfield units."""
LIMIT_HU = 1e5
"""[HU] Larger values are not Hounsfield units: 16 bits end at 65,535, and gold is about 40,000 HU."""
FARTHEST_HU = 1e7
"""[HU] Larger values are refused whatever units the user gives; no reconstruction streak reaches this."""
GREY_BITS = (255, 65_535)
"""Highest grey values of 8-bit and 16-bit images; values from 0 to one of these were rescaled."""
MAX_PER_MM, MAX_PER_CM = 0.1, 0.999
"""Highest attenuation in 1/mm and in 1/cm. Bone has 0.05 /mm at 70 keV and titanium 0.25. Larger numbers
are in 1/cm, or normalised.
"""
HU_TYPES = ("", "HU", "HU_MOD", "US")
"""DICOM's RescaleType of Hounsfield units. US means unspecified, but scanners write it for them."""


@dataclass(frozen=True)
class Conclusion:
    """Units of the numbers in a file, and the reason for the conclusion.

    Attributes
    ----------
    units : str
        A name in UNITS, or "normalised", "grey", "labels" or "unknown".
    why : str
        The reason, as the rest of a sentence that begins with the file's name.
    warning : str
        A doubt that remains, as the rest of such a sentence, or empty.
    """

    units: str
    why: str
    warning: str = ""

    @property
    def convertible(self) -> bool:
        return self.units in UNITS


def known_units(text: str | None) -> str | None:
    """Return the name in UNITS for a text that the user typed; None stays None.

    Raises
    ------
    ValueError
        If the text is not the name of a unit.
    """
    if text is None:
        return None
    units = ALIASES.get(str(text).strip().lower())
    if units is None:
        raise ValueError(
            f"unknown units {text!r}; expected one of {', '.join(UNITS)} or mu (the same as 1/mm)."
        )
    return units


def conclude(values: np.ndarray, *, declared: str = "", given: str | None = None) -> Conclusion:
    """Conclude the units of numbers from their range and the declared type.

    Parameters
    ----------
    values : array of numbers, any shape
        Numbers without padding.
    declared : str
        The type that the file declares: DICOM's RescaleType; empty for formats without such a field.
    given : str or None
        Units given by the user (see `known_units`), used without a check; None = detect.

    Raises
    ------
    ValueError
        If `values` are empty or hold NaN or infinity.
    """
    units = known_units(given)
    low, high = (float(values.min()), float(values.max())) if values.size else (math.nan, math.nan)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(
            "the values are empty or hold NaN or infinity; replace them (air is -1000 HU) first."
        )
    span = f"holds values from {low:g} to {high:g}"
    if units is not None:
        if max(abs(low), abs(high)) > {"HU": FARTHEST_HU, "1/mm": 1e3, "1/cm": 1e4}[units]:
            return Conclusion("unknown", f"{span}, far beyond {UNITS[units]}")
        return Conclusion(units, f"was said to hold {UNITS[units]}")
    if declared.strip().upper() not in HU_TYPES:
        return Conclusion("unknown", f"says that its values are of type {declared.strip()[:16]!r}")
    if low < -LIMIT_HU or high > LIMIT_HU:
        return Conclusion("unknown", span)
    if low < -SOFT_HU:
        return Conclusion("HU", span)
    if declared.strip().upper() == "HU" and high - low >= LEAST_RANGE:
        return Conclusion("HU", "says that it holds Hounsfield units")
    if high > SOFT_HU and high - low >= LEAST_RANGE:
        if low >= 0 and (high <= GREY_BITS[0] or high == GREY_BITS[1]):
            return Conclusion("grey", f"{span}, like the grey values of a picture")
        if low < 0:
            return Conclusion("HU", span)
        offset = "has no value below 0 HU, so no air or fat; it may be stored with an offset"
        return Conclusion("HU", span, offset)
    return _small(values, low, high, span)


def _small(values: np.ndarray, low: float, high: float, span: str) -> Conclusion:
    """Conclude the units of numbers too small for air or bone in Hounsfield units."""
    if values.dtype.kind in "bui" or bool((values == np.round(values)).all()):
        if low >= 0:
            return Conclusion("labels", f"{span}, whole numbers like a mask or a normalised image")
        return Conclusion("unknown", span)
    if high > 0 and (high == 1.0 or (low, high) == (-1.0, 1.0)):
        return Conclusion("normalised", f"{span}, like a mask or a normalised image")
    noise = -0.5 * high  # attenuation below 0 is noise
    if 0.2 * MU_WATER < high <= MAX_PER_MM and low >= noise:
        return Conclusion("1/mm", f"{span}, like attenuation in 1/mm")
    if MAX_PER_MM < high <= MAX_PER_CM and low >= noise:
        return Conclusion("1/cm", f"{span}, like attenuation in 1/cm")
    return Conclusion("unknown", span)


class UnitsError(ValueError):
    """Numbers not recognised as Hounsfield units; `found` is the conclusion, for a choice in an app."""

    def __init__(self, name: str, found: Conclusion) -> None:
        super().__init__(_refusal(name, found))
        self.found = found


def accept(name: str, found: Conclusion, given: str | None) -> None:
    """Refuse numbers that are not in Hounsfield units, unless the user gave units that can be converted.

    Raises
    ------
    UnitsError
        The message names the file and offers the conversion.
    """
    if not found.convertible or (given is None and found.units != "HU"):
        raise UnitsError(name, found)


def _refusal(name: str, found: Conclusion) -> str:
    if "far beyond" in found.why:
        return f"{name} {found.why}; correct the file or its scale."
    if found.convertible:
        offer = f"read it with units {found.units}, if that is what it holds"
    elif found.units == "unknown":
        offer = "say what it holds"
    else:
        offer = "convert it to Hounsfield units first, or say what it holds"
    return (
        f"{name} {found.why}; expected Hounsfield units (air -1000, water 0); {offer} "
        f"(--units or units=, one of {', '.join(UNITS)})."
    )


def to_hu(values: np.ndarray, units: str) -> np.ndarray:
    """Convert numbers to Hounsfield units, float32; in place if `values` are float32.

    Parameters
    ----------
    units : str
        A name in UNITS.
    """
    hu = values.astype(np.float32, copy=False)
    if units == "HU":
        return hu
    scale = 1000 / MU_WATER * {"1/mm": 1.0, "1/cm": 0.1}[units]
    hu *= np.float32(scale)
    hu -= np.float32(1000)
    return hu
