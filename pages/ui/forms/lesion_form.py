"""Planting a lesion into the volume before it is scanned."""

from __future__ import annotations

import math

import streamlit as st

from pages.ui.session import state
from tomopatch.phantoms.lesions import hiding_place
from tomopatch.phantoms.scene import Lesion
from tomopatch.runs.config import ScanConfig
from tomopatch.volume import Volume

USUAL = Lesion((0.0, 0.0, 0.0), 10.0, 40.0)
_AXES = (("z", "feet to head"), ("y", "front to back"), ("x", "right to left"))


def fill(scan: ScanConfig | None) -> None:
    """Give the form the scan's lesions, where it has no values yet."""
    lesions = scan.lesions if scan else ()
    first = lesions[0] if lesions else USUAL
    state.fill(
        {
            "lesion": bool(lesions),
            **{f"lesion.{axis}": c for (axis, _), c in zip(_AXES, first.centre, strict=True)},
            "lesion.radius": first.radius,
            "lesion.hu": first.hu,
            "lesion.others": lesions[1:],
            "lesion.draw": 0,
        }
    )


def choose(volume: Volume) -> tuple[Lesion, ...]:
    """The controls and the lesions that they describe; `volume` is where one can be put."""
    with st.expander("Plant a lesion", expanded=bool(state.value("lesion"))):
        wanted = st.toggle(
            "A lesion in the volume",
            key=state.field("lesion"),
            help="A ball that is put into the volume before it is scanned: will the reconstruction show it?",
        )
        if not wanted:
            return ()
        low = [p - s / 2 for p, s in zip(volume.geometry.pos, volume.geometry.size, strict=True)]
        st.markdown(":small[Centre in mm]")
        columns = st.columns(3)
        centre = []
        for column, (axis, words), least, size in zip(columns, _AXES, low, volume.geometry.size, strict=True):
            least, most = math.ceil(least), math.floor(least + size)
            kept = min(max(state.value(f"lesion.{axis}"), least), most)
            state.fill({f"lesion.{axis}": float(kept)}, overwrite=True)
            centre.append(
                column.number_input(
                    axis,
                    float(least),
                    float(most),
                    step=5.0,
                    format="%g",
                    key=state.field(f"lesion.{axis}"),
                    help=f"Its centre, {words}; 0 is the middle.",
                )
            )
        left, right = st.columns(2)
        radius = left.number_input(
            "Radius [mm]",
            1.0,
            100.0,
            step=1.0,
            format="%g",
            key=state.field("lesion.radius"),
            help="Of the ball.",
        )
        hu = right.number_input(
            "Density [HU]",
            -1000.0,
            3000.0,
            step=10.0,
            format="%g",
            key=state.field("lesion.hu"),
            help="What it is made of: water 0, soft tissue about 40, bone from 300 up, lung about -850.",
        )
        st.button(
            "Somewhere in a lung",
            key="lesion_place",
            on_click=_elsewhere,
            args=(volume, radius),
            width="stretch",
            help="A random place that is filled with lung; press again for another.",
        )
        first = Lesion((centre[0], centre[1], centre[2]), radius, hu)
        return (first, *state.value("lesion.others", ()))


def _elsewhere(volume: Volume, radius: float) -> None:
    draw = state.value("lesion.draw", 0) + 1
    try:
        place = hiding_place(volume, radius, seed=draw)
    except ValueError:
        st.toast("There is no place like that in this volume; choose one by its coordinates.")
        return
    values = {f"lesion.{axis}": float(round(c)) for (axis, _), c in zip(_AXES, place, strict=True)}
    state.fill(values | {"lesion.draw": draw}, overwrite=True)
