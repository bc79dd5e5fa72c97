"""Form for the effects and corrections of a real scan."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import streamlit as st

from pages.ui.forms.detector_form import Number
from pages.ui.forms.effect_controls import CORRECTIONS, EFFECTS, METAL, Choice, Control, Group
from pages.ui.session import state
from pages.ui.texts import effect_names
from pages.ui.texts.formatting import sentence
from tomopatch.physics.chain import switched_on
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.physics.effect_settings import GROUPS, PRESETS
from tomopatch.physics.effects import DetectorFaults, Effects, Insert, Material, Misalignment
from tomopatch.runs.config import ScanConfig
from tomopatch.studies.sweep.numbers import CONE_ONLY, MOTION_UNUSED
from tomopatch.volume import Triple

OWN = "own"
"""Name for settings that match no preset."""
VISIBLE: dict[str, Effects] = {
    "misalignment": Effects(misalignment=Misalignment(axis_offset=8.0)),
    "faults": Effects(faults=DetectorFaults(gain=0.02)),
}
"""First settings of effects whose defaults change nothing."""
SHAPES = {"rod": "Rod", "screw": "Screw", "ball": "Ball", "plate": "Plate"}


def fill(scan: ScanConfig | None) -> None:
    """Fill empty fields with the effects and corrections of the scan."""
    _set(scan.effects if scan else Effects(), overwrite=False)
    corrections = scan.corrections if scan else Corrections()
    state.fill({f"correct.{f.name}": getattr(corrections, f.name) for f in fields(Corrections)})


def choose() -> tuple[Effects, Corrections]:
    """Draw the controls and return their effects and corrections."""
    section = st.expander("Effects of a real scan", key="acquire.effects", on_change="rerun")
    if section.open:
        with section:
            _draw()
            _draw_corrections()
    chosen = {f.name: state.value(f"correct.{f.name}") for f in fields(Corrections)}
    return _effects(), Corrections(**chosen)


def place_insert(centre: Triple) -> None:
    """Move the insert to a point (z, y, x) [mm]."""
    state.fill({f"insert.{a}": float(round(c)) for a, c in zip("zyx", centre, strict=True)}, overwrite=True)


def _draw_corrections() -> None:
    """Draw a switch for each correction whose effect is on, or which is on itself."""
    st.markdown("**Corrections** :small[before the reconstruction; most appear with their effect]")
    effects = _effects()
    for name, (text, effect) in CORRECTIONS.items():
        if getattr(effects, effect) is not None or state.value(f"correct.{name}"):
            st.toggle(
                sentence(effect_names.CORRECTION_LABELS[name]), key=state.field(f"correct.{name}"), help=text
            )
    st.segmented_control(
        "Metal artefacts",
        list(METAL),
        format_func=lambda name: METAL[name],
        key=state.field("correct.metal"),
        required=True,
        help="Interpolate the rays through metal. NMAR first divides the sinogram by the sinogram of an "
        "image of air, water and bone.",
    )


def _draw() -> None:
    current = _preset_of(_effects())
    state.fill({"effects": current}, overwrite=True)
    st.selectbox(
        "Preset",
        [*PRESETS, *([OWN] if current == OWN else [])],
        format_func=lambda name: PRESETS[name].label if name in PRESETS else "Your own",
        key=state.field("effects"),
        on_change=_take_preset,
        help="Effects that occur together. You can change each of them below.",
    )
    if current in PRESETS:
        st.caption(PRESETS[current].summary)
    for group in EFFECTS:
        wanted = st.toggle(
            sentence(effect_names.LABELS[group.name]),
            key=state.field(group.name),
            on_change=_make_visible,
            args=(group.name,),
            help=group.help,
        )
        if wanted:
            with st.container(key=f"pairs.{group.name}"):
                _draw_rows(_shown(group))
    _inserts()


def _make_visible(name: str) -> None:
    """Give an effect that was switched on first settings, if those of its fields change nothing."""
    if name in VISIBLE and getattr(switched_on(_effects()), name) is None:
        given = getattr(VISIBLE[name], name)
        state.fill({f"{name}.{f.name}": getattr(given, f.name) for f in fields(given)}, overwrite=True)


def _draw_rows(controls: list[Control]) -> None:
    """Draw numbers in rows of two, and choices, whose texts are longer, in rows of their own."""
    row: list[Any] = []
    for control in controls:
        if isinstance(control, Choice):
            row = []
            control.draw(st)
        else:
            row = row or list(st.columns(2, vertical_alignment="bottom"))
            control.draw(row.pop(0))


def _shown(group: Group) -> list[Control]:
    """Controls that have an effect for the chosen beam and motion."""
    hidden = set(CONE_ONLY) if state.value("beam") == "parallel" else set()
    if group.name == "motion":
        hidden = set(MOTION_UNUSED[state.value("motion.kind")])
    return [control for control in group.controls if control.name not in hidden]


def _inserts() -> None:
    wanted = st.toggle(
        "Insert",
        key=state.field("insert"),
        help="An object of metal or another material in the volume, for example an implant.",
    )
    if not wanted:
        return
    with st.container(key="pairs.insert"):
        left, right = st.columns(2)
        Choice("insert.shape", "Shape", SHAPES, "A screw is a rod with a head.").draw(left)
        Choice(
            "insert.material",
            "Material",
            {m: sentence(m) for m in get_args(Material)},
            "Material of the insert.",
        ).draw(right)
        for k, axis in enumerate("zyx"):
            Number(f"insert.{axis}", f"Centre {axis} [mm]", -1000.0, 1000.0, 5.0, "0 is the centre.").draw(
                (left, right)[k % 2]
            )
        Number("insert.width", "Diameter [mm]", 0.1, 1000.0, 1.0, "For a plate: its edge.").draw(right)
        if state.value("insert.shape") != "ball":
            Number("insert.length", "Length [mm]", 0.1, 1000.0, 5.0, "For a plate: its thickness.").draw(left)
            Choice(
                "insert.axis",
                "Axis",
                {"z": "z, feet to head", "y": "y, front to back", "x": "x, right to left"},
                "A rod or screw lies along it. A plate is thin along it.",
            ).draw(right)


def _effects() -> Effects:
    """Effects that the fields of the session describe."""
    found: dict[str, Any] = {}
    for name, kind in GROUPS.items():
        if not state.value(name):
            continue
        values = {f.name: state.value(f"{name}.{f.name}") for f in fields(kind)}
        if name == "motion":
            values["amplitude"] = tuple(float(state.value(f"motion.amplitude.{axis}")) for axis in "zyx")
        found[name] = kind(**{field: value for field, value in values.items() if value is not None})
    inserts: tuple[Insert, ...] = ()
    if state.value("insert"):
        v = state.value
        first = Insert(
            v("insert.shape"),
            v("insert.material"),
            tuple(float(v(f"insert.{axis}")) for axis in "zyx"),  # type: ignore[arg-type]
            (float(v("insert.width")), float(v("insert.length"))),
            v("insert.axis"),
        )
        inserts = (first, *v("insert.others"))
    return Effects(**found, inserts=inserts)


def _set(effects: Effects, *, overwrite: bool) -> None:
    """Set the session's fields; an effect that is off keeps its defaults."""
    values: dict[str, Any] = {}
    for name, kind in GROUPS.items():
        given = getattr(effects, name)
        values[name] = given is not None
        shown = given or kind()
        values |= {f"{name}.{f.name}": getattr(shown, f.name) for f in fields(kind)}
        if name == "motion":
            values |= {f"motion.amplitude.{a}": c for a, c in zip("zyx", shown.amplitude, strict=True)}
    first = effects.inserts[0] if effects.inserts else Insert()
    values |= {
        "insert": bool(effects.inserts),
        "insert.shape": first.shape,
        "insert.material": first.material,
        **{f"insert.{axis}": c for axis, c in zip("zyx", first.centre, strict=True)},
        "insert.width": first.size[0],
        "insert.length": first.size[1],
        "insert.axis": first.axis,
        "insert.others": effects.inserts[1:],
    }
    state.fill(values, overwrite=overwrite)


def _preset_of(effects: Effects) -> str:
    return next((name for name, preset in PRESETS.items() if preset.effects == effects), OWN)


def _take_preset() -> None:
    chosen = state.value("effects")
    if chosen in PRESETS:
        _set(PRESETS[chosen].effects, overwrite=True)
