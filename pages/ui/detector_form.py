"""The less used controls of a scan: detector and orbit."""

from __future__ import annotations

import streamlit as st

from pages.ui import state


def detector() -> None:
    """Size, pixels and shift of the detector."""
    fitted = st.checkbox(
        "Fit the detector to the volume",
        key=state.field("fitted"),
        help="As large as the volume's shadow, with pixels as large as the voxels. Off: choose it yourself.",
    )
    a, b = st.columns(2)
    a.number_input(
        "Rows", 1, 4096, step=8, key=state.field("rows"), disabled=fitted, help="Pixels along the axis."
    )
    b.number_input(
        "Columns",
        1,
        4096,
        step=8,
        key=state.field("columns"),
        disabled=fitted,
        help="Pixels across the axis.",
    )
    a.number_input(
        "Pixel height [mm]",
        0.01,
        50.0,
        step=0.1,
        key=state.field("pixel_v"),
        disabled=fitted,
        help="At the detector, along the axis.",
    )
    b.number_input(
        "Pixel width [mm]",
        0.01,
        50.0,
        step=0.1,
        key=state.field("pixel_u"),
        disabled=fitted,
        help="At the detector, across the axis.",
    )
    a.number_input(
        "Shift along [mm]",
        -1000.0,
        1000.0,
        step=1.0,
        key=state.field("shift_v"),
        help="The detector moved along the axis.",
    )
    b.number_input(
        "Shift across [mm]",
        -1000.0,
        1000.0,
        step=1.0,
        key=state.field("shift_u"),
        help="A detector moved sideways sees a wider object over a whole turn (half fan).",
    )


def orbit(cone: bool) -> None:
    """First view, tilt, helix, and how the measurement is simulated."""
    a, b = st.columns(2)
    a.number_input(
        "First view [°]", -360.0, 360.0, step=5.0, key=state.field("start"), help="Angle of the first view."
    )
    b.number_input(
        "Tilt [°]",
        -60.0,
        60.0,
        step=1.0,
        key=state.field("tilt"),
        help="The beam leaves the plane of rotation by this angle (laminography).",
    )
    a.number_input(
        "Helical pitch [mm a turn]",
        0.0,
        500.0,
        step=5.0,
        key=state.field("pitch"),
        disabled=not cone,
        help="How far the table moves in one turn; 0 = a circle. Cone beam only.",
    )
    b.number_input(
        "Turns",
        1.0,
        40.0,
        step=0.5,
        key=state.field("turns"),
        disabled=not (cone and state.value("pitch", 0.0) > 0),
        help="Of a helical scan; instead of the angle range.",
    )
    a.number_input(
        "Noise number", 0, 99999, step=1, key=state.field("seed"), help="Another number, other noise."
    )
    st.checkbox(
        "Simulate on the reconstruction grid",
        key=state.field("same_grid"),
        help="The easier protocol of much of the literature: the scan makes the same errors as the reconstruction, "
        "which flatters the numbers. Off: the scan is simulated from a finer volume.",
    )
