"""Form of a sweep: varied quantities and methods."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.ui.session import state, volume_cache
from pages.ui.texts import formatting, messages
from tomopatch.reconstruct.methods import METHODS, available
from tomopatch.runs.config import Scan, ScanConfig
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.studies.sweep import QUANTITIES, SweepConfig, read_values, varied_of
from tomopatch.studies.sweep.numbers import EXAMPLES, number_of, unused, with_unit

FIELDS = {
    "num_views": ("Views", "5, 10, 20, 40, 80", "Numbers of X-ray pictures, e.g. 8, 20, 60."),
    "angle_range": (
        "Angle range",
        "",
        "Angles in degrees over which the views are spread, e.g. 90, 120, 180.",
    ),
    "photons": (
        "Photons per ray",
        "",
        "Dose levels, e.g. 1e3, 1e4, 1e5, none. *none* is a measurement without noise.",
    ),
}
DEFAULT_METHODS = ("fbp", "fdk", "tv")


def fill(scan: Scan) -> None:
    """Set fields without a value to those of the address, or to defaults."""
    typed = state.sweep()
    state.fill({_key(name): typed.get(name, "") if typed else _default(scan, name) for name in FIELDS})
    possible = _suited(scan)
    effect = typed.get("effect", "")
    state.fill({"sweep.effect": effect, _effect_key(effect): typed.get("effect_values", "")})
    wanted = typed.get("methods", "").split(",") if typed else list(DEFAULT_METHODS)
    kept = [m for m in state.value("sweep.methods", wanted) if m in possible]
    state.fill({"sweep.methods": kept or possible[:1]}, overwrite=True)


def _default(scan: Scan, name: str) -> str:
    """Return the initial values of a field: of a measured scan, fractions of its views."""
    if name != "num_views" or not isinstance(scan, MeasuredScan):
        return FIELDS[name][1]
    usable = volume_cache.scan_geometry(scan.all_views).num_views
    return ", ".join(map(str, sorted({-(-usable // n) for n in (32, 16, 8, 4, 2, 1)})))


def choose(scan: Scan) -> SweepConfig | None:
    """Draw the controls and return their sweep; explain invalid values and return None."""
    for name in varied_of(scan):
        label, _, help = FIELDS[name]
        st.text_input(
            label,
            key=state.field(_key(name)),
            help=f"{help} Separate several values by commas. Leave empty to use the value of the scan.",
            placeholder=f"as in the scan: {_scan_value(scan, name)}",
        )
    effect, effect_values = ("", "") if isinstance(scan, MeasuredScan) else _choose_effect(scan)
    if isinstance(scan, MeasuredScan):
        st.caption("Views are left out of the same scan. The held-out views stay the same.")
    methods = st.pills(
        "Methods",
        _suited(scan),
        key=state.field("sweep.methods"),
        selection_mode="multi",
        format_func=lambda m: METHODS[m].label,
        help="Each scan is reconstructed with each of these methods and its default settings.",
    )
    typed = {name: state.value(_key(name), "").strip() for name in varied_of(scan)}
    of_effect = {"effect": effect, "effect_values": effect_values} if effect else {}
    state.set_sweep({**typed, **of_effect, "methods": ",".join(methods)})
    try:
        lists: dict[str, Any] = {name: read_values(name, text) for name, text in typed.items()}
        effects = {effect: read_values(effect, effect_values)} if effect else {}
        sweep = SweepConfig(scan, tuple(methods), **lists, effects=effects)
        for config in sweep.cells():
            volume_cache.scan_geometry(config.scan)
    except ValueError as error:
        st.error(messages.error_sentence(error))
        return None
    return sweep


def _choose_effect(scan: ScanConfig) -> tuple[str, str]:
    """Let the user choose an effect setting; return its name (empty = none) and the typed values."""
    linked = state.value("sweep.effect")
    options = ["", *(name for name in EXAMPLES if name == linked or not unused(scan, name))]
    name: str = st.selectbox(
        "Effect or seed",
        options if linked in options else [*options, linked],  # a link can name anything; `choose` explains
        format_func=lambda name: QUANTITIES.get(name, name) or "none",
        key=state.field("sweep.effect"),
        help="Also vary an effect setting, for example the tube voltage. Its effect is switched on.",
    )
    if not name:
        return "", ""
    known = name in EXAMPLES
    value = number_of(scan, name) if known else None
    text = st.text_input(
        QUANTITIES[name] if known else "Values",
        key=state.field(_effect_key(name)),
        help=f"Values, e.g. {EXAMPLES[name] if known else '1, 2, 3'}. Separate several values by "
        "commas. Leave empty to use the value of the scan.",
        placeholder=f"as in the scan: {'off' if value is None else with_unit(name, f'{value:g}')}",
    )
    return name, text.strip()


def _suited(scan: Scan) -> list[str]:
    return list(available(volume_cache.scan_geometry(scan)))


def _scan_value(scan: Scan, name: str) -> str:
    value = getattr(scan, name)
    if value is None and name != "photons":
        return "all"
    if name == "photons":
        return "no noise" if value is None else formatting.count(value)
    return f"{value:g}°" if name == "angle_range" else f"{value:g}"


def _effect_key(name: str) -> str:
    """Key of the values of an effect setting; each setting keeps its values."""
    return _key(f"values.{name}")


def _key(name: str) -> str:
    return f"sweep.{name}"
