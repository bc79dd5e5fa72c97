"""Effects by name: presets, and single settings such as `tube.kvp=80`."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from typing import Any

from tomopatch.physics.effects import (
    Blur,
    DetectorFaults,
    Effects,
    Insert,
    Misalignment,
    Motion,
    Scatter,
    Tube,
)
from tomopatch.schema import read

GROUPS: dict[str, type] = {
    "tube": Tube,
    "scatter": Scatter,
    "blur": Blur,
    "misalignment": Misalignment,
    "motion": Motion,
    "faults": DetectorFaults,
}
"""The effects with settings, by the name of their field in `Effects`."""


@dataclass(frozen=True)
class Preset:
    """Effects that occur together. `label` and `summary` are texts for users."""

    label: str
    summary: str
    effects: Effects


PRESETS: dict[str, Preset] = {
    "textbook": Preset("Textbook", "One energy, perfect geometry, a still object.", Effects()),
    "chest": Preset(
        "Chest at 120 kV",
        "A clinical tube with a bowtie filter, an integrating detector, some scatter and blur.",
        Effects(tube=Tube(120.0, 6.0, bowtie=True), scatter=Scatter(0.1), blur=Blur(1.0)),
    ),
    "implant": Preset(
        "Dental CBCT with an implant",
        "90 kV, much scatter, some blur, and a titanium rod that absorbs most photons.",
        Effects(
            tube=Tube(90.0, 2.5),
            scatter=Scatter(0.4),
            blur=Blur(1.0),
            inserts=(Insert("rod", "titanium", (0.0, 0.0, 0.0), (12.0, 60.0)),),
        ),
    ),
    "bench": Preset(
        "Faulty detector",
        "Gain errors and dead pixels, which cause rings, and lag, which adds a part of the view before.",
        Effects(faults=DetectorFaults(gain=0.02, dead=0.001, lag=0.02)),
    ),
    "breathing": Preset(
        "Breathing patient",
        "The object is stretched along z three times during the scan.",
        Effects(motion=Motion("breathing", (15.0, 0.0, 0.0), cycles=3.0)),
    ),
    "misaligned": Preset(
        "Badly aligned bench scanner",
        "The rotation axis is not where the reconstruction assumes it, and the detector is rolled.",
        Effects(misalignment=Misalignment(axis_offset=8.0, roll=1.0)),
    ),
}


def changed(effects: Effects, setting: str) -> Effects:
    """Return the effects with one setting changed; `setting` is like `tube.kvp=80` or `motion.kind=jump`.

    A setting switches its effect on. `tube=off` switches the effect off, `tube=on` on with its defaults.

    Raises
    ------
    ValueError
        For an unknown name or an invalid value.
    """
    name, found, text = setting.partition("=")
    group, dot, field = name.strip().partition(".")
    if not found or group not in GROUPS:
        raise ValueError(
            f"an effect is set by NAME.FIELD=VALUE, such as tube.kvp=80, or NAME=off; NAME is one of "
            f"{', '.join(GROUPS)}; got {setting[:80]!r}."
        )
    if not dot:
        if text not in ("on", "off"):
            raise ValueError(f"{group} must be on or off, or set as {group}.FIELD=VALUE; got {text[:80]!r}.")
        switched: dict[str, Any] = {group: GROUPS[group]() if text == "on" else None}
        return replace(effects, **switched)
    return with_value(effects, f"{group}.{field}", _value(text))


def with_value(effects: Effects, name: str, value: Any) -> Effects:
    """Return the effects with the field `name`, such as "tube.kvp", set to a value."""
    group, _, field = name.partition(".")
    kind = GROUPS[group]
    known = [f.name for f in fields(kind)]
    if field not in known:
        raise ValueError(f"{group} has no field {field[:80]!r}; it has {', '.join(known)}.")
    current = getattr(effects, group) or kind()
    settings: dict[str, Any] = {group: replace(current, **{field: value})}
    return replace(effects, **settings)


def parse_insert(text: str) -> Insert:
    """Return an insert from SHAPE:MATERIAL:Z,Y,X:SIZExSIZE[:AXIS], such as `rod:titanium:0,20,-30:10x60:z`.

    Raises
    ------
    ValueError
        If the text has another form, or a value is invalid.
    """
    parts = text.split(":")
    try:
        shape, material, centre, size, *axis = parts
        numbers = [float(word) for word in centre.split(",")]
        sizes = [float(word) for word in size.split("x")]
        (along,) = axis or ["z"]
    except ValueError:
        raise ValueError(
            "an insert is SHAPE:MATERIAL:Z,Y,X:SIZExSIZE[:AXIS] in mm, such as "
            f"rod:titanium:0,20,-30:10x60:z; got {text[:80]!r}."
        ) from None
    return read(
        Insert,
        {
            "shape": shape,
            "material": material,
            "centre": numbers,
            "size": (sizes * 2)[:2] if len(sizes) == 1 else sizes,
            "axis": along,
        },
    )


def _value(text: str) -> Any:
    """Parse a number, a list, true or false; any other text is returned unchanged."""
    text = text.strip()
    words = {"on": True, "off": False, "none": None}
    if text in words:
        return words[text]
    try:
        return json.loads(f"[{text}]" if "," in text and not text.startswith("[") else text)
    except ValueError:
        return text
