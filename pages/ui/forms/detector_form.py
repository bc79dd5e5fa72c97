"""The less used controls of a scan: detector and orbit."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import streamlit as st

from pages.ui.session import state
from tomopatch.geometry.beams import turns_to_cover


class Number(NamedTuple):
    """A number of the scan: its field, what it is called, from where to where it goes, and what it means."""

    name: str
    label: str
    low: float
    high: float
    step: float
    help: str

    def draw(
        self, column: Any, *, disabled: bool = False, on_change: Callable[[], None] | None = None
    ) -> None:
        column.number_input(
            self.label,
            self.low,
            self.high,
            step=self.step,
            format="%g" if isinstance(self.step, float) else None,
            key=state.field(self.name),
            disabled=disabled,
            on_change=on_change,
            help=self.help,
        )


PIXELS = (
    Number("rows", "Rows", 1, 4096, 8, "Pixels along the axis."),
    Number("columns", "Columns", 1, 4096, 8, "Pixels across the axis."),
    Number("pixel_v", "Pixel height [mm]", 0.01, 50.0, 0.1, "At the detector, along the axis."),
    Number("pixel_u", "Pixel width [mm]", 0.01, 50.0, 0.1, "At the detector, across the axis."),
)
SHIFT = (
    Number("shift_v", "Shift along [mm]", -1000.0, 1000.0, 1.0, "The detector moved along the axis."),
    Number(
        "shift_u",
        "Shift across [mm]",
        -1000.0,
        1000.0,
        1.0,
        "A detector moved sideways sees a wider object over a whole turn (half fan).",
    ),
)
START = Number("start", "First view [°]", -360.0, 360.0, 5.0, "Angle of the first view.")
TILT = Number(
    "tilt",
    "Tilt [°]",
    -60.0,
    60.0,
    1.0,
    "The beam leaves the plane of rotation by this angle (laminography).",
)
PITCH = Number(
    "pitch",
    "Pitch [mm]",
    0.0,
    500.0,
    5.0,
    "Of a helix: how far the table moves in one turn; 0 = a circle. Cone beam only.",
)
TURNS = Number(
    "turns",
    "Turns",
    1.0,
    40.0,
    0.5,
    "Of a helical scan; instead of the angle range. A new pitch sets as many as cover the volume.",
)
SEED = Number(
    "seed", "Noise seed", 0, 99999, 1, "Another number, other noise; the same number, the same noise."
)


def detector() -> None:
    """Size, pixels and shift of the detector."""
    fitted = st.checkbox(
        "Fit the detector to the volume",
        key=state.field("fitted"),
        help="As large as the volume's shadow, with pixels as large as the voxels. Off: choose it yourself.",
    )
    columns = st.columns(2)
    for k, number in enumerate(PIXELS + SHIFT):
        number.draw(columns[k % 2], disabled=fitted and number in PIXELS)


def orbit(cone: bool, height: float) -> None:
    """First view, tilt, helix, and how the measurement of a volume of this height [mm] is simulated."""
    left, right = st.columns(2)
    START.draw(left)
    TILT.draw(right)
    PITCH.draw(left, disabled=not cone, on_change=partial(_cover, height))
    TURNS.draw(right, disabled=not (cone and state.value("pitch", 0.0) > 0))
    SEED.draw(left)
    st.checkbox(
        "Simulate on the reconstruction grid",
        key=state.field("same_grid"),
        help="The easier protocol of much of the literature: the scan makes the same errors as the reconstruction, "
        "which flatters the numbers. Off: the scan is simulated from a finer volume.",
    )


def _cover(height: float) -> None:
    """Set as many turns as cover the volume, in half turns, within what the form can hold."""
    pitch = state.value("pitch", 0.0)
    if pitch > 0:
        turns = math.ceil(2 * turns_to_cover(height, pitch) - 1e-9) / 2
        state.fill({"turns": min(max(turns, TURNS.low), TURNS.high)}, overwrite=True)
