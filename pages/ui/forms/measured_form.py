"""Form of a measured scan: geometry, rotation axis, corrections, views and grid."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import streamlit as st

from pages.ui.forms import scan_upload_form
from pages.ui.session import engine, scan_preview, state
from pages.ui.session.scan_preview import StoredScan
from pages.ui.texts import formatting
from tomopatch.runs.config import Scan
from tomopatch.runs.measured import full_geometry, selection
from tomopatch.runs.measured_scan import HOLD_OUT, GivenGeometry, MeasuredScan
from tomopatch.volume import Shape

BEAMS = {"file": "As in the file", "parallel": "Parallel", "cone": "Fan or cone"}
AXES = {"file": "As in the file", "estimate": "Estimate", "column": "Column"}
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
METHODS = {
    "mirror": "from mirrored opposite views",
    "mass": "from the centre of mass",
    "consistency": "by the smallest residual of CGLS",
    "file": "as in the file",
}
"""Methods of the axis estimate in words."""
_INITIAL = MeasuredScan("scan:none")


def fill(scan: Scan | None) -> None:
    """Set fields without a value to those of the scan."""
    chosen = scan if isinstance(scan, MeasuredScan) else None
    scan_upload_form.fill(chosen)
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
    st.caption(_stated(found))
    given = _geometry(found)
    scan = MeasuredScan(source, given=given, hold_out=None, **_corrections(found))
    if given.transposed:
        found = replace(found, det_shape=found.det_shape[::-1], axis=None)
    scan = _with_axis(scan, found)
    pg, native = full_geometry(scan, engine.store())
    scan = _with_views(scan, pg.num_views)
    return _with_grid(scan, native.shape)


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


def _stated(found: StoredScan) -> str:
    """Return what the file states, in a sentence."""
    v, u = found.det_shape
    beam = {"parallel": "parallel beam", "cone": "fan beam" if v == 1 else "cone beam"}
    parts = [
        formatting.plural(found.num_views, "view") + f" of {v} × {u} pixels",
        scan_upload_form.QUANTITY_LABELS[found.quantity].partition(" (")[0].lower(),
    ]
    if found.num_flat or found.num_dark:
        parts.append(
            f"{formatting.plural(found.num_dark, 'dark frame')} and "
            f"{formatting.plural(found.num_flat, 'flat frame')}"
        )
    if found.has_vectors:
        parts.append("geometry as vectors")
    else:
        parts.append(beam.get(found.beam or "", "beam not stated"))
        parts.append(
            "no angles"
            if found.angles_deg is None
            else f"angles from {min(found.angles_deg):.4g}° to {max(found.angles_deg):.4g}°".replace("-", "−")
        )
        parts.append(
            "pixel size not stated"
            if found.pixel_size is None
            else f"pixels of {formatting.times(map(formatting.length, found.pixel_size))}"
        )
        if found.src_orig_dist is not None and found.src_det_dist is not None:
            parts.append(f"source to axis {found.src_orig_dist:g} mm, to detector {found.src_det_dist:g} mm")
    return f"The file holds: {', '.join(parts)}."


def _geometry(found: StoredScan) -> GivenGeometry:
    if found.has_vectors:
        return GivenGeometry()
    missing = found.angles_deg is None and found.num_views > 1
    with st.expander("Geometry", expanded=missing):
        beam = st.segmented_control(
            "Beam",
            list(BEAMS),
            format_func=BEAMS.__getitem__,
            key=state.field("measured.beam"),
            required=True,
            help="Parallel rays (synchrotron, microscope), or rays from a point source. Unknown: parallel.",
        )
        left, right = st.columns(2, vertical_alignment="bottom")
        step = left.number_input(
            "Angle step [°]",
            min_value=-360.0,
            max_value=360.0,
            value=None,
            format="%.4f",
            key=state.field("measured.step"),
            placeholder="none stated" if missing else "as in the file",
            help="Angle between consecutive views. Empty: the angles of the file.",
        )
        start = right.number_input(
            "First angle [°]",
            key=state.field("measured.start"),
            disabled=step is None,
            help="Angle of the first view. Used with an angle step only.",
        )
        reverse = st.checkbox(
            "Opposite direction of rotation",
            key=state.field("measured.reverse"),
            help="A parallel scan fits both directions and becomes a mirror image. In other scans the wrong "
            "one increases the held-out error.",
        )
        transposed = st.checkbox(
            "Rotation axis along the rows",
            key=state.field("measured.transposed"),
            help="In the pictures of a vertical axis, features move sideways from view to view. Check this "
            "if they move up and down, as in many tilt series.",
        )
        pixel = st.number_input(
            "Pixel size [mm]",
            min_value=0.0,
            value=None,
            format="%.6g",
            key=state.field("measured.pixel"),
            placeholder="1, not stated" if found.pixel_size is None else "as in the file",
            help="Edge of a detector pixel. It sets the scale of lengths and attenuation.",
        )
        cone = beam == "cone" or (beam == "file" and found.beam == "cone")
        distances = _distances(found) if cone else {}
    if missing and step is None:
        raise ValueError("the file states no angles; enter the *Angle step* under *Geometry*.")
    if cone and not all(
        distances.get(name) or getattr(found, name) for name in ("src_orig_dist", "src_det_dist")
    ):
        raise ValueError(
            "a fan or cone beam needs both distances of the source; enter them under *Geometry*."
        )
    return GivenGeometry(
        None if beam == "file" else beam,  # type: ignore[arg-type]
        float(start) if step is not None else 0.0,
        None if step is None else float(step),
        bool(reverse),
        bool(transposed),
        (float(pixel), float(pixel)) if pixel else None,
        **distances,
    )


def _distances(found: StoredScan) -> dict[str, float | None]:
    columns = st.columns(2, vertical_alignment="bottom")
    values: dict[str, float | None] = {}
    for column, name, label, what in (
        (columns[0], "src_orig", "Source to axis [mm]", "rotation axis"),
        (columns[1], "src_det", "Source to detector [mm]", "detector"),
    ):
        stated = getattr(found, f"{name}_dist")
        value = column.number_input(
            label,
            min_value=0.0,
            value=None,
            format="%.6g",
            key=state.field(f"measured.{name}"),
            placeholder="not stated" if stated is None else "as in the file",
            help=f"Distance from the X-ray source to the {what}.",
        )
        values[f"{name}_dist"] = float(value) if value else None
    return values


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


def _with_axis(scan: MeasuredScan, found: StoredScan) -> MeasuredScan:
    """Return the scan with the axis of the file, an estimated one, or a typed one."""
    if found.has_vectors:
        return scan
    offered = [name for name in AXES if name != "file" or found.axis is not None]
    if state.value("measured.axis") not in offered:
        state.fill({"measured.axis": "estimate"}, overwrite=True)
    kind = st.segmented_control(
        "Rotation axis",
        offered,
        format_func=AXES.__getitem__,
        key=state.field("measured.axis"),
        required=True,
        help="Column onto which the rotation axis projects. A wrong column doubles edges.",
    )
    last = found.det_shape[1] - 1
    if kind == "file":
        return scan
    if kind == "column":
        state.fill({"measured.column": round(last / 2, 2)}, overwrite=state.value("measured.column") is None)
        column = st.number_input(
            "Column of the axis",
            0.0,
            float(last),
            step=0.5,
            format="%.2f",
            key=state.field("measured.column"),
            help="Counted from 0 at the centre of the first pixel; half columns are possible.",
        )
        return replace(scan, axis=float(column))
    if found.num_views < 3 and scan.axisymmetric is None:
        raise ValueError("an estimate of the axis needs at least 3 views; choose *Column* and type it.")
    estimate, record = scan_preview.found_axis(scan)
    if estimate is None:
        st.warning(
            f"**The axis was not found; the middle is used.** "
            f"{formatting.plain(formatting.sentence(record['reason']), 400)} Choose *Column* if you know it."
        )
        return scan
    state.fill({"measured.column": estimate}, overwrite=True)
    st.caption(
        f"Found at column {estimate:.2f} ± {record.get('uncertainty', 0.0):.2g}, {METHODS[record['method']]}."
    )
    return replace(scan, axis=estimate)


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


def _with_grid(scan: MeasuredScan, native: Shape) -> MeasuredScan:
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
