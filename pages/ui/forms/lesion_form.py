"""Form for a lesion that is planted into the volume before the scan."""

from __future__ import annotations

import math

import streamlit as st

from pages.ui.session import state
from tomopatch.phantoms.lesions import hiding_place
from tomopatch.phantoms.scene import Lesion
from tomopatch.runs.config import ScanConfig
from tomopatch.volume import Triple, Volume

DEFAULT = Lesion((0.0, 0.0, 0.0), 10.0, 40.0)
_AXES = (("z", "feet to head"), ("y", "front to back"), ("x", "right to left"))


def fill(scan: ScanConfig | None) -> None:
    """Set fields without a value to the scan's lesions."""
    lesions = scan.lesions if scan else ()
    first = lesions[0] if lesions else DEFAULT
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
    """Draw the controls and return their lesions, which lie within `volume`."""
    with st.expander("Plant a lesion", expanded=bool(state.value("lesion"))):
        wanted = st.toggle(
            "A lesion in the volume",
            key=state.field("lesion"),
            help="Add a ball to the volume before the scan. Does the reconstruction show it?",
        )
        if not wanted:
            return ()
        low = [p - s / 2 for p, s in zip(volume.geometry.pos, volume.geometry.size, strict=True)]
        st.markdown(":small[Centre in mm]")
        columns = st.columns(3)
        centre = []
        for column, (axis, direction), least, size in zip(
            columns, _AXES, low, volume.geometry.size, strict=True
        ):
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
                    help=f"Centre of the lesion, {direction}; 0 is the middle.",
                )
            )
        left, right = st.columns(2)
        radius = left.number_input(
            "Radius [mm]",
            min(1.0, state.value("lesion.radius")),
            max(100.0, state.value("lesion.radius")),
            step=1.0,
            format="%g",
            key=state.field("lesion.radius"),
            help="Radius of the ball.",
        )
        hu = right.number_input(
            "Density [HU]",
            min(-1000.0, state.value("lesion.hu")),
            max(3000.0, state.value("lesion.hu")),
            step=10.0,
            format="%g",
            key=state.field("lesion.hu"),
            help="CT number of the lesion: water 0, soft tissue about 40, bone above 300, lung about −850.",
        )
        st.button(
            "Somewhere in a lung",
            key="lesion_place",
            on_click=_place_in_lung,
            args=(volume, radius),
            width="stretch",
            help="Move the lesion to a random position in a lung. Press again for another.",
        )
        first = Lesion((centre[0], centre[1], centre[2]), radius, hu)
        return (first, *state.value("lesion.others", ()))


def place(centre: Triple) -> None:
    """Move the lesion to a point (z, y, x) [mm]."""
    state.fill(
        {f"lesion.{axis}": float(round(c)) for (axis, _), c in zip(_AXES, centre, strict=True)},
        overwrite=True,
    )


def _place_in_lung(volume: Volume, radius: float) -> None:
    attempt = state.value("lesion.draw", 0) + 1
    try:
        hidden = hiding_place(volume, radius, seed=attempt)
    except ValueError:
        st.toast("This volume has no lung with room for the lesion. Enter its coordinates instead.")
        return
    place(hidden)
    state.fill({"lesion.draw": attempt}, overwrite=True)
