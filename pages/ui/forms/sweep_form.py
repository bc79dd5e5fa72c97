"""Form of a sweep: varied quantities and methods."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.ui.session import state, volume_cache
from pages.ui.texts import formatting, messages
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import ScanConfig
from tomopatch.studies.sweep import VARIED, SweepConfig, read_values, suited

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


def fill(scan: ScanConfig) -> None:
    """Set fields without a value to those of the address, or to defaults."""
    typed = state.sweep()
    state.fill(
        {_key(name): typed.get(name, "") if typed else default for name, (_, default, _) in FIELDS.items()}
    )
    possible = suited(scan)
    wanted = typed.get("methods", "").split(",") if typed else list(DEFAULT_METHODS)
    kept = [m for m in state.value("sweep.methods", wanted) if m in possible]
    state.fill({"sweep.methods": kept or possible[:1]}, overwrite=True)


def choose(scan: ScanConfig) -> SweepConfig | None:
    """Draw the controls and return their sweep; explain invalid values and return None."""
    for name, (label, _, help) in FIELDS.items():
        st.text_input(
            label,
            key=state.field(_key(name)),
            help=f"{help} Separate several values by commas. Leave empty to use the value of the scan.",
            placeholder=f"as in the scan: {_scan_value(scan, name)}",
        )
    methods = st.pills(
        "Methods",
        suited(scan),
        key=state.field("sweep.methods"),
        selection_mode="multi",
        format_func=lambda m: METHODS[m].label,
        help="Each scan is reconstructed with each of these methods and its default settings.",
    )
    typed = {name: state.value(_key(name), "").strip() for name in VARIED}
    state.set_sweep({**typed, "methods": ",".join(methods)})
    try:
        lists: dict[str, Any] = {name: read_values(name, text) for name, text in typed.items()}
        sweep = SweepConfig(scan, tuple(methods), **lists)
        for config in sweep.cells():
            config.scan.geometry(volume_cache.geometry(scan))
    except ValueError as error:
        st.error(messages.error_sentence(error))
        return None
    return sweep


def _scan_value(scan: ScanConfig, name: str) -> str:
    value = getattr(scan, name)
    if name == "photons":
        return "no noise" if value is None else formatting.count(value)
    return f"{value:g}°" if name == "angle_range" else f"{value:g}"


def _key(name: str) -> str:
    return f"sweep.{name}"
