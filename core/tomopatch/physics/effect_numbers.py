"""Label, unit and limits of the numeric settings of effects, read from the records in `effects`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cache

from tomopatch.physics.effect_settings import GROUPS
from tomopatch.schema import json_schema

_AMPLITUDE = "motion.amplitude"


@dataclass(frozen=True)
class EffectNumber:
    """A numeric setting of an effect.

    Attributes
    ----------
    label : str
        Without the unit, in lower case: "tube voltage".
    unit : str
        "kV"; empty for a number without unit.
    low, high : float
        Limits.
    above, below : bool
        Whether `low` and `high` themselves are excluded.
    whole : bool
        Whether the value is a whole number.
    """

    label: str
    unit: str
    low: float
    high: float
    above: bool
    below: bool
    whole: bool

    @property
    def title(self) -> str:
        """Label of a control or an axis: "Tube voltage [kV]"."""
        unit = f" [{self.unit}]" if self.unit else ""
        return f"{self.label[:1].upper()}{self.label[1:]}{unit}"

    def with_unit(self, value: object) -> str:
        """Return a value, or its format, with the unit: 80 kV, 1°."""
        return f"{value}{self.unit}" if self.unit in ("", "°") else f"{value} {self.unit}"


@cache
def effect_number(name: str) -> EffectNumber:
    """Return the description of a setting such as `tube.kvp` or `motion.amplitude.z`.

    Raises
    ------
    KeyError
        If no record has such a number.
    """
    group, field, *axis = name.split(".")
    schema = json_schema(GROUPS[group])["properties"][field]
    if axis:
        number, title = schema["prefixItems"]["zyx".index(axis[0])], f"motion along {axis[0]} [mm]"
    else:
        number = next(kind for kind in schema.get("anyOf", [schema]) if kind["type"] != "null")
        title = schema["title"]
    if number["type"] not in ("number", "integer"):
        raise KeyError(name)
    above, below = "exclusiveMinimum" in number, "exclusiveMaximum" in number
    label, _, unit = title.partition(" [")
    return EffectNumber(
        label,
        unit.rstrip("]"),
        number["exclusiveMinimum" if above else "minimum"],
        number["exclusiveMaximum" if below else "maximum"],
        above,
        below,
        number["type"] == "integer",
    )


def effect_numbers() -> list[str]:
    """Names of all numeric settings; the amplitude of a motion has one per axis."""
    names = []
    for group, kind in GROUPS.items():
        for f in fields(kind):
            name = f"{group}.{f.name}"
            names += [f"{name}.{axis}" for axis in "zyx"] if name == _AMPLITUDE else [name]
    return [name for name in names if _is_number(name)]


def _is_number(name: str) -> bool:
    try:
        effect_number(name)
    except KeyError:
        return False
    return True
