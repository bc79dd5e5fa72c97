"""Numeric effect settings of a scan, and its noise seed, as quantities that a sweep can vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from tomopatch.physics.effect_settings import with_value
from tomopatch.physics.effects import Motion
from tomopatch.runs.config import ScanConfig

Value = int | float


class Number(NamedTuple):
    """Numeric effect setting: label with unit, examples of values, and whether they are whole numbers."""

    label: str
    example: str
    whole: bool = False


NUMBERS = {
    "tube.kvp": Number("Tube voltage [kV]", "60, 80, 120"),
    "tube.aluminium": Number("Aluminium filter [mm]", "1, 3, 10"),
    "tube.copper": Number("Copper filter [mm]", "0, 0.2, 1"),
    "tube.tin": Number("Tin filter [mm]", "0, 0.2, 1"),
    "tube.mas": Number("Current-time product of a view [mAs]", "0.01, 0.1, 1"),
    "scatter.ratio": Number("Scatter / primary", "0, 0.2, 1"),
    "scatter.width": Number("Width of the scatter kernel", "0.1, 0.25, 0.5"),
    "blur.detector": Number("Detector blur [pixels]", "0, 1, 3"),
    "blur.focal_spot": Number("Focal spot [mm]", "0, 1, 3"),
    "misalignment.axis_offset": Number("Axis offset [mm]", "0, 2, 4"),
    "misalignment.vertical_offset": Number("Vertical offset [mm]", "0, 2, 4"),
    "misalignment.roll": Number("Detector roll [°]", "0, 1, 3"),
    "misalignment.distance": Number("Distance error [mm]", "-20, 0, 20"),
    "misalignment.jitter": Number("Angle jitter [°]", "0, 0.5, 2"),
    "misalignment.seed": Number("Seed of the angle jitter", "0, 1, 2", whole=True),
    "motion.amplitude.z": Number("Motion along z [mm]", "0, 5, 15"),
    "motion.amplitude.y": Number("Motion along y [mm]", "0, 5, 15"),
    "motion.amplitude.x": Number("Motion along x [mm]", "0, 5, 15"),
    "motion.time": Number("Time of the jump", "0.25, 0.5, 0.75"),
    "motion.cycles": Number("Breaths", "0.5, 1, 3"),
    "faults.gain": Number("Gain error", "0, 0.01, 0.05"),
    "faults.dead": Number("Share of dead pixels", "0, 0.001, 0.01"),
    "faults.dead_columns": Number("Dead columns", "0, 1, 5", whole=True),
    "faults.lag": Number("Lag", "0, 0.05, 0.2"),
    "faults.saturation": Number("Saturation", "0.5, 0.8, 1"),
    "faults.seed": Number("Seed of the detector faults", "0, 1, 2", whole=True),
    "seed": Number("Noise seed", "0, 1, 2", whole=True),
}
"""Settings that a sweep can vary in addition to views, angle range and photons, named as in `with_value`.

`motion.amplitude` is varied along one axis.
"""
CONE_ONLY = ("blur.focal_spot", "misalignment.distance")
MOTION_UNUSED = {
    "breathing": ("motion.amplitude.y", "motion.amplitude.x", "motion.time"),
    "drift": ("motion.time", "motion.cycles"),
    "jump": ("motion.cycles",),
}
"""Settings without effect, by kind of motion."""
_AMPLITUDE = "motion.amplitude."


def check_name(name: str) -> None:
    if name not in NUMBERS:
        raise ValueError(f"a sweep cannot vary {name[:80]!r}; it can vary {', '.join(NUMBERS)}.")


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
            raise ValueError(f"{label_of(name)} {reason}.")
        if listed:
            values[name] = tuple(dict.fromkeys(_whole(name, v) if NUMBERS[name].whole else v for v in listed))
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


def label_of(name: str) -> str:
    """Return the label of a setting without its unit."""
    return NUMBERS[name].label.split(" [")[0]


def with_unit(name: str, value: object) -> str:
    """Return a value, or its format, with the unit of the setting: 80 kV, 1°."""
    unit = NUMBERS[name].label.partition(" [")[2].rstrip("]")
    return f"{value}{unit}" if unit in ("", "°") else f"{value} {unit}"


def _whole(name: str, value: Value) -> int:
    if value != int(value):
        raise ValueError(f"{label_of(name)} must be a whole number, got {value:g}.")
    return int(value)
