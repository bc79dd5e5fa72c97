"""Numeric effect settings of a scan, and its noise seed, as quantities that a sweep can vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tomopatch.physics.effect_numbers import effect_number
from tomopatch.physics.effect_settings import with_value
from tomopatch.physics.effects import Motion
from tomopatch.runs.config import ScanConfig

Value = int | float

EXAMPLES = {
    "tube.kvp": "60, 80, 120",
    "tube.aluminium": "1, 3, 10",
    "tube.copper": "0, 0.2, 1",
    "tube.tin": "0, 0.2, 1",
    "tube.mas": "0.01, 0.1, 1",
    "scatter.ratio": "0, 0.2, 1",
    "scatter.width": "0.1, 0.25, 0.5",
    "blur.detector": "0, 1, 3",
    "blur.focal_spot": "0, 1, 3",
    "misalignment.axis_offset": "0, 2, 4",
    "misalignment.vertical_offset": "0, 2, 4",
    "misalignment.roll": "0, 1, 3",
    "misalignment.distance": "-20, 0, 20",
    "misalignment.jitter": "0, 0.5, 2",
    "misalignment.seed": "0, 1, 2",
    "motion.amplitude.z": "0, 5, 15",
    "motion.amplitude.y": "0, 5, 15",
    "motion.amplitude.x": "0, 5, 15",
    "motion.time": "0.25, 0.5, 0.75",
    "motion.cycles": "0.5, 1, 3",
    "faults.gain": "0, 0.01, 0.05",
    "faults.dead": "0, 0.001, 0.01",
    "faults.dead_columns": "0, 1, 5",
    "faults.lag": "0, 0.05, 0.2",
    "faults.saturation": "0.5, 0.8, 1",
    "faults.seed": "0, 1, 2",
    "seed": "0, 1, 2",
}
"""Settings that a sweep can vary in addition to views, angle range and photons, with examples of values.

They are named as in `effect_numbers`; "seed" is the seed of the noise.
"""
CONE_ONLY = ("blur.focal_spot", "misalignment.distance")
MOTION_UNUSED = {
    "breathing": ("motion.amplitude.y", "motion.amplitude.x", "motion.time"),
    "drift": ("motion.time", "motion.cycles"),
    "jump": ("motion.cycles",),
}
"""Settings without effect, by kind of motion."""
_AMPLITUDE = "motion.amplitude."
_NOISE_SEED = "Noise seed"


def check_name(name: str) -> None:
    if name not in EXAMPLES:
        raise ValueError(f"a sweep cannot vary {name[:80]!r}; it can vary {', '.join(EXAMPLES)}.")


def checked(scan: ScanConfig, given: Mapping[str, Sequence[Value]]) -> dict[str, tuple[Value, ...]]:
    """Return the values of each setting without repetitions; a setting without values is left out.

    Raises
    ------
    ValueError
        If a name is unknown, a setting has no effect on this scan, or a value must be whole and is not.
    """
    values: dict[str, tuple[Value, ...]] = {}
    for name, listed in given.items():
        check_name(name)
        reason = unused(scan, name)
        if reason:
            raise ValueError(f"the {label_of(name)} {reason}.")
        if listed:
            values[name] = tuple(dict.fromkeys(_whole(name, v) if is_whole(name) else v for v in listed))
    return values


def unused(scan: ScanConfig, name: str) -> str:
    """Return the reason why a setting has no effect on this scan, or an empty string."""
    if name in CONE_ONLY and scan.beam == "parallel":
        return "needs a cone beam"
    kind = (scan.effects.motion or Motion()).kind
    if name in MOTION_UNUSED[kind]:
        return f"has no effect on a motion of kind {kind}"
    return ""


def with_number(scan: ScanConfig, name: str, value: Value) -> ScanConfig:
    """Return the scan with one setting changed; an effect that is off is switched on with its defaults."""
    if name == "seed":
        return replace(scan, seed=int(value))
    if name.startswith(_AMPLITUDE):
        amplitude = list((scan.effects.motion or Motion()).amplitude)
        amplitude["zyx".index(name[-1])] = value
        return replace(scan, effects=with_value(scan.effects, "motion.amplitude", tuple(amplitude)))
    return replace(scan, effects=with_value(scan.effects, name, value))


def number_of(scan: ScanConfig, name: str) -> Value | None:
    """Return the scan's value of a setting; None if its effect is off."""
    if name == "seed":
        return scan.seed
    group, field, *axis = name.split(".")
    effect = getattr(scan.effects, group)
    value = None if effect is None else getattr(effect, field)
    return value["zyx".index(axis[0])] if axis and value is not None else value


def title_of(name: str) -> str:
    """Return the label of a setting with its unit: "Tube voltage [kV]"."""
    return _NOISE_SEED if name == "seed" else effect_number(name).title


def label_of(name: str) -> str:
    """Return the label of a setting without its unit, in lower case."""
    return _NOISE_SEED.lower() if name == "seed" else effect_number(name).label


def with_unit(name: str, value: object) -> str:
    """Return a value, or its format, with the unit of the setting: 80 kV, 1°."""
    return str(value) if name == "seed" else effect_number(name).with_unit(value)


def is_whole(name: str) -> bool:
    return name == "seed" or effect_number(name).whole


def _whole(name: str, value: Value) -> int:
    if value != int(value):
        raise ValueError(f"the {label_of(name)} must be a whole number, got {value:g}.")
    return int(value)
