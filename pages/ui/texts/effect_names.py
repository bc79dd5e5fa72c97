"""Names of a scan's effects and their settings."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from pages.ui.texts.formatting import times
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.physics.effect_numbers import effect_number
from tomopatch.physics.effect_settings import GROUPS, PRESETS
from tomopatch.physics.effects import Effects, Insert

LABELS = {
    "tube": "X-ray spectrum",
    "scatter": "scatter",
    "blur": "blur",
    "misalignment": "misalignment",
    "motion": "motion",
    "faults": "detector faults",
}
CORRECTION_LABELS = {
    "pixels": "dead pixels",
    "scatter": "scatter",
    "hardening": "beam hardening",
    "stripes": "rings",
    "roll": "detector roll",
    "axis": "axis",
}


def effect_words(effects: Effects, name: str) -> str:
    """Describe one effect with the settings that differ from its defaults; empty if it is off."""
    given = getattr(effects, name)
    if given is None:
        return ""
    settings = [
        _setting(f"{name}.{f.name}", getattr(given, f.name))
        for f in fields(given)
        if f.name in ("kvp", "kind", "ratio") or getattr(given, f.name) != getattr(GROUPS[name](), f.name)
    ]
    return f"{LABELS[name]}: {', '.join(settings)}" if settings else LABELS[name]


def insert_words(insert: Insert) -> str:
    """Describe an insert."""
    size = insert.size[:1] if insert.shape == "ball" else insert.size
    place = ", ".join(f"{c:g}" for c in insert.centre)
    along = "" if insert.shape == "ball" else f" along {insert.axis}"
    return f"{insert.material} {insert.shape} of {times(f'{s:g}' for s in size)} mm at {place}{along}"


def effects_summary(effects: Effects) -> str:
    """Name the preset, or the effects that are on; empty for an ideal scan."""
    if effects == Effects():
        return ""
    preset = next((p for p in PRESETS.values() if p.effects == effects), None)
    if preset is not None:
        return preset.label
    names = [LABELS[name] for name in GROUPS if getattr(effects, name) is not None]
    return ", ".join([*names, *(f"{i.material} {i.shape}" for i in effects.inserts)])


def corrections_words(corrections: Corrections) -> str:
    """Name the applied corrections; empty if there are none."""
    names = [CORRECTION_LABELS[f.name] for f in fields(corrections) if getattr(corrections, f.name) is True]
    metal = [] if corrections.metal == "none" else [f"metal by {corrections.metal}"]
    return ", ".join([*names, *metal])


def _setting(name: str, value: Any) -> str:
    """Describe one setting: tube voltage 80 kV, breathing, bowtie."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return name.rpartition(".")[2]
    if isinstance(value, tuple):
        return f"{times(f'{v:g}' for v in value)} mm"
    number = effect_number(name)
    return f"{number.label} {number.with_unit(f'{value:g}')}"
