"""Choosing what a sweep varies, and with which methods."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.ui.session import engine, state, words
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import ScanConfig
from tomopatch.studies.sweep import VARIED, SweepConfig, read_values, suited

FIELDS = {
    "num_views": ("Views", "5, 10, 20, 40, 80", "How many X-ray pictures, e.g. 8, 20, 60."),
    "angle_range": ("Angle range", "", "Over how many degrees the views are spread, e.g. 90, 120, 180."),
    "photons": ("Photons a ray", "", "The dose, e.g. 1e3, 1e4, 1e5, none. None is a scan without noise."),
}
USUAL = ("fbp", "fdk", "tv")


def fill(scan: ScanConfig) -> None:
    """Give the form the values of the address, or usual ones, where it has none yet."""
    typed = state.sweep()
    state.fill(
        {_key(name): typed.get(name, "") if typed else usual for name, (_, usual, _) in FIELDS.items()}
    )
    possible = suited(scan)
    wanted = typed.get("methods", "").split(",") if typed else list(USUAL)
    kept = [m for m in state.value("sweep.methods", wanted) if m in possible]
    state.fill({"sweep.methods": kept or possible[:1]}, overwrite=True)


def choose(scan: ScanConfig) -> SweepConfig | None:
    """The controls and the sweep that they describe; None, after a sentence, if there can be none."""
    for name, (label, _, help) in FIELDS.items():
        st.text_input(
            label,
            key=state.field(_key(name)),
            help=f"{help} Several values with commas between; left empty: as in the scan.",
            placeholder=f"as in the scan: {_own(scan, name)}",
        )
    methods = st.pills(
        "Methods",
        suited(scan),
        key=state.field("sweep.methods"),
        selection_mode="multi",
        format_func=lambda m: METHODS[m].label,
        help="Each scan is reconstructed with each of them, with its usual settings.",
    )
    typed = {name: state.value(_key(name), "").strip() for name in VARIED}
    state.set_sweep({**typed, "methods": ",".join(methods)})
    try:
        lists: dict[str, Any] = {name: read_values(name, text) for name, text in typed.items()}
        sweep = SweepConfig(scan, tuple(methods), **lists)
        for config in sweep.cells():
            config.scan.geometry(engine.geometry(scan))
    except ValueError as error:
        st.error(words.plain(error))
        return None
    return sweep


def _own(scan: ScanConfig, name: str) -> str:
    value = getattr(scan, name)
    if name == "photons":
        return "no noise" if value is None else words.count(value)
    return f"{value:g}°" if name == "angle_range" else f"{value:g}"


def _key(name: str) -> str:
    return f"sweep.{name}"
