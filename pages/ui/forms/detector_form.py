"""Form of detector and orbit, the less used settings of a scan."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import streamlit as st

from pages.ui.session import state
from tomopatch.geometry.beams import turns_to_cover
from tomopatch.geometry.orbits import degrees_from_text, vectors_from_text
from tomopatch.runs.config import ScanConfig


class Number(NamedTuple):
    """Numeric setting of the scan: field, label, limits, step and help."""

    name: str
    label: str
    low: float
    high: float
    step: float
    help: str

    def draw(
        self,
        column: Any,
        *,
        disabled: bool = False,
        on_change: Callable[[], None] | None = None,
        label_visibility: str = "visible",
    ) -> None:
        """Draw the control. Its range is extended to include the value of a scan from a link."""
        key = state.field(self.name)
        value = type(self.low)(state.value(self.name, self.low))
        column.number_input(
            self.label,
            min(self.low, value),
            max(self.high, value),
            step=self.step,
            format="%g" if isinstance(self.step, float) else None,
            key=key,
            disabled=disabled,
            on_change=on_change,
            label_visibility=label_visibility,
            help=self.help,
        )


PIXELS = (
    Number("rows", "Rows", 1, 4096, 8, "Number of detector pixels along the rotation axis."),
    Number("columns", "Columns", 1, 4096, 8, "Number of detector pixels across the rotation axis."),
    Number(
        "pixel_v",
        "Pixel height [mm]",
        0.01,
        50.0,
        0.1,
        "Size of a pixel at the detector, along the rotation axis.",
    ),
    Number(
        "pixel_u",
        "Pixel width [mm]",
        0.01,
        50.0,
        0.1,
        "Size of a pixel at the detector, across the rotation axis.",
    ),
)
SHIFT = (
    Number(
        "shift_v", "Shift along [mm]", -1000.0, 1000.0, 1.0, "Shift of the detector along the rotation axis."
    ),
    Number(
        "shift_u",
        "Shift across [mm]",
        -1000.0,
        1000.0,
        1.0,
        "Sideways shift of the detector. Over a full turn it widens the field of view (half fan).",
    ),
)
START = Number("start", "First view [°]", -360.0, 360.0, 5.0, "Rotation angle of the first view.")
TILT = Number(
    "tilt",
    "Tilt [°]",
    -60.0,
    60.0,
    1.0,
    "Angle between the beam and the plane of rotation (laminography).",
)
PITCH = Number(
    "pitch",
    "Pitch [mm]",
    0.0,
    500.0,
    5.0,
    "Table travel per turn of a helical scan; 0 is a circular orbit. Cone beam only.",
)
TURNS = Number(
    "turns",
    "Turns",
    1.0,
    40.0,
    0.5,
    "Turns of a helical scan, instead of *Angle range*. A new pitch sets enough turns to cover the volume.",
)
SEED = Number(
    "seed",
    "Noise seed",
    0,
    99999,
    1,
    "Each number gives different noise; the same number always gives the same noise.",
)


def detector() -> None:
    """Draw the controls for size, pixels and shift of the detector."""
    fitted = st.checkbox(
        "Fit the detector to the volume",
        key=state.field("fitted"),
        help="The detector covers the projection of the volume, with pixels of voxel size. Off: choose size "
        "and pixels below.",
    )
    columns = st.columns(2)
    for k, number in enumerate(PIXELS + SHIFT):
        number.draw(columns[k % 2], disabled=fitted and number in PIXELS)


def orbit(cone: bool, height: float) -> None:
    """Draw the controls for first view, tilt, helix and simulation; `height` of the volume in mm."""
    left, right = st.columns(2)
    START.draw(left)
    TILT.draw(right)
    PITCH.draw(left, disabled=not cone, on_change=partial(_cover, height))
    TURNS.draw(right, disabled=not (cone and state.value("pitch", 0.0) > 0))
    SEED.draw(left)
    st.text_area(
        "List of views",
        key=state.field("listed"),
        height=68,
        placeholder="evenly spaced",
        help="A line per view: its angle in degrees, or 12 numbers in mm: x y z of source, detector, column "
        "step, row step.",
    )
    st.checkbox(
        "Simulate on the reconstruction grid",
        key=state.field("same_grid"),
        help="The easier protocol of many papers: simulation and reconstruction share errors, which "
        "improves the metrics. Off: the measurement is simulated from a finer volume.",
    )


def listed_text(scan: ScanConfig) -> str:
    """Return the listed views of a scan as lines."""
    rows = scan.vectors or [(angle,) for angle in scan.angles]
    return "\n".join(" ".join(f"{number:.12g}" for number in row) for row in rows)


def listed_views() -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Return the typed angles [degrees] or vectors [mm]; both are empty for evenly spaced views.

    Raises
    ------
    ValueError
        If a line holds neither one nor twelve numbers, or the lines differ.
    """
    text = state.value("listed").strip()
    if not text:
        return (), ()
    if len(text.splitlines()[0].replace(",", " ").split()) == 1:
        return degrees_from_text(text), ()
    return (), vectors_from_text(text)


def _cover(height: float) -> None:
    """Set enough turns to cover the volume, rounded up to half turns, within the limits of the form."""
    pitch = state.value("pitch", 0.0)
    if pitch > 0:
        turns = math.ceil(2 * turns_to_cover(height, pitch) - 1e-9) / 2
        state.fill({"turns": min(max(turns, TURNS.low), TURNS.high)}, overwrite=True)
