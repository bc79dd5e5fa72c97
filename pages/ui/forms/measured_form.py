"""Form of a measured scan: corrections, views and grid; its geometry is in `measured_geometry_form`."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import streamlit as st

from pages.ui.forms import measured_geometry_form, measured_upload_form
from pages.ui.session import engine, scan_preview, state
from pages.ui.session.scan_preview import StoredScan
from pages.ui.texts import formatting
from tomopatch.runs.config import Scan
from tomopatch.runs.measured import full_geometry, selection
from tomopatch.runs.measured_scan import HOLD_OUT, MeasuredScan
from tomopatch.volume import Shape

STRIPES = {"auto": "If it suits the scan", "on": "Remove", "off": "Keep"}
SHARES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Every Nth view: the offered numbers of views are these shares of all."""
USUAL_VOXELS, USUAL_COLUMNS = 2**21, 300
"""The initial grid is the finest with at most these numbers of voxels, and of voxels across."""
FACTORS = (1, 2, 3, 4, 6, 8)
"""Detector pixels per voxel of the offered grids."""
FEW_ROWS = 8
"""Fewer detector rows keep one slice each: between the outermost slice's centre and its edge the interpolated
volume falls to half, an error of 25 % for two rows in one slice."""
_INITIAL = MeasuredScan("scan:none")


def fill(scan: Scan | None) -> None:
    """Set fields without a value to those of the scan."""
    chosen = scan if isinstance(scan, MeasuredScan) else None
    measured_upload_form.fill(chosen)
    s = chosen or _INITIAL
    given = s.given
    axis = ("file" if s.axis is None else "column") if chosen else None
    state.fill(
        {
            "measured.for": s.source if chosen else None,
            "measured.beam": given.beam or "file",
            "measured.start": given.angle_start,
            "measured.step": given.angle_step,
            "measured.reverse": given.reverse,
            "measured.transposed": given.transposed,
            "measured.pixel": None if given.pixel_size is None else given.pixel_size[1],
            "measured.src_orig": given.src_orig_dist,
            "measured.src_det": given.src_det_dist,
            "measured.axis": axis,
            "measured.column": s.axis,
            "measured.roll": s.roll,
            "measured.stripes": {None: "auto", True: "on", False: "off"}[s.stripes],
            "measured.bin": s.bin,
            "measured.repeat": s.axisymmetric or 0,
            "measured.hold_out": s.hold_out or 0,
            "measured.views": s.num_views,
            "measured.range": s.angle_range,
            "measured.grid": s.grid,
        }
    )


def choose(source: str) -> MeasuredScan:
    """Draw the controls of a stored scan and return the scan.

    Raises
    ------
    ValueError
        If a value is missing or does not fit; the message names the field.
    """
    found = scan_preview.stored_scan(source.removeprefix("scan:"))
    _begin(source, found)
    st.caption(measured_geometry_form.stated(found))
    given = measured_geometry_form.geometry(found)
    scan = MeasuredScan(source, given=given, hold_out=None, **_corrections(found))
    if given.transposed:
        found = replace(found, det_shape=found.det_shape[::-1], axis=None)
    scan = measured_geometry_form.with_axis(scan, found)
    pg, native = full_geometry(scan, engine.store())
    scan = _with_views(scan, pg.num_views)
    return with_grid(scan, native.shape)


def _begin(source: str, found: StoredScan) -> None:
    """Reset the fields that depend on the file, for another file."""
    if state.value("measured.for") == source:
        return
    state.fill(
        {
            "measured.for": source,
            "measured.beam": "file",
            "measured.start": 0.0,
            "measured.step": None,
            "measured.reverse": False,
            "measured.transposed": False,
            "measured.pixel": None,
            "measured.src_orig": None,
            "measured.src_det": None,
            "measured.axis": "file" if found.axis is not None or found.has_vectors else "estimate",
            "measured.column": None,
            "measured.roll": 0.0,
            "measured.stripes": "auto",
            "measured.bin": 1,
            "measured.repeat": 36 if found.num_views == 1 else 0,
            "measured.hold_out": HOLD_OUT if found.num_views >= HOLD_OUT else 0,
            "measured.views": None,
            "measured.range": None,
            "measured.grid": None,
        },
        overwrite=True,
    )


def _corrections(found: StoredScan) -> dict[str, Any]:
    with st.expander("Corrections"):
        stripes = st.selectbox(
            "Stripes (rings)",
            list(STRIPES),
            format_func=STRIPES.__getitem__,
            key=state.field("measured.stripes"),
            help="Stripes in the sinogram come from pixels with a wrong gain and become rings.",
        )
        roll = 0.0
        if not found.has_vectors:
            roll = st.number_input(
                "Detector roll [°]",
                -44.0,
                44.0,
                step=0.1,
                key=state.field("measured.roll"),
                help="Angle of the rotation axis against the columns of the detector.",
            )
        binning = st.select_slider(
            "Pixels averaged",
            sorted({1, 2, 3, 4, 6, 8, state.value("measured.bin")}),
            key=state.field("measured.bin"),
            format_func=lambda n: f"{n} × {n}" if n > 1 else "none",
            help="Averaging pixels reduces noise and computing time, and blurs detail.",
        )
    repeat = 0
    if found.num_views == 1:
        repeat = st.number_input(
            "Repeat the view",
            2,
            3600,
            key=state.field("measured.repeat"),
            help="The object must be axisymmetric: its single view is repeated this many times around it.",
        )
    return {
        "stripes": {"auto": None, "on": True, "off": False}[stripes],
        "roll": float(roll),
        "bin": int(binning),
        "axisymmetric": int(repeat) or None,
    }


def _with_views(scan: MeasuredScan, num_views: int) -> MeasuredScan:
    """Return the scan with the chosen views."""
    if num_views >= 4:
        hold_out = st.number_input(
            "Hold out every Nth view",
            0,
            num_views,
            key=state.field("measured.hold_out"),
            help="Held-out views are not used but predicted: the error of the prediction shows the quality. "
            "0: none.",
        )
        scan = replace(scan, hold_out=None if hold_out < 2 else int(hold_out))
    if num_views >= 4 and not scan_preview.stored_scan(scan.file_digest).has_vectors:
        limit = st.number_input(
            "Angle range [°]",
            min_value=0.0,
            max_value=36_000.0,
            value=None,
            key=state.field("measured.range"),
            placeholder="all",
            help="Use only views within this angle from the first one. Empty: all.",
        )
        scan = replace(scan, angle_range=float(limit) if limit else None)
    pg, _ = full_geometry(scan, engine.store())
    usable = len(selection(scan, pg).used)
    shares = {max(1, math.ceil(usable / n)) for n in SHARES}
    current = state.value("measured.views")
    if current is None or current > usable:
        current = usable
    state.fill({"measured.views": current}, overwrite=True)
    if usable > 1:
        views = st.select_slider(
            "Views",
            sorted({*shares, current}),
            key=state.field("measured.views"),
            format_func=lambda n: f"{n} (all)" if n == usable else str(n),
            help="Number of views for the reconstruction, spread evenly over the scan. What if compares "
            "several.",
        )
        scan = replace(scan, num_views=None if views == usable else int(views))
    return scan


def with_grid(scan: MeasuredScan, native: Shape) -> MeasuredScan:
    """Return the scan with the chosen grid: an integral number of detector pixels per voxel."""
    grids: dict[Shape, str] = {}
    for factor in FACTORS:
        z, y, x = (max(1, math.ceil(n / factor)) for n in native)
        z = native[0] if native[0] < FEW_ROWS else z
        if min(y, x) >= 16 or factor == 1:
            grids.setdefault((z, y, x), "Finest" if factor == 1 else f"1/{factor}")
    current = state.value("measured.grid")
    current = None if current is None else tuple(current)
    if current is not None and current not in grids and current[0] <= native[0] and current[1] <= native[1]:
        grids[current] = "As it is"
    if current not in grids:
        usual = next(
            (g for g in grids if math.prod(g) <= USUAL_VOXELS and max(g[1:]) <= USUAL_COLUMNS),
            list(grids)[-1],
        )
        state.fill({"measured.grid": usual}, overwrite=True)
    grid = st.selectbox(
        "Reconstruction grid",
        list(grids),
        key=state.field("measured.grid"),
        format_func=lambda g: f"{grids[g]} · {formatting.times(g)}",
        help="Number of voxels (z, y, x). The finest grid has one voxel per detector pixel.",
    )
    return replace(scan, grid=grid)
