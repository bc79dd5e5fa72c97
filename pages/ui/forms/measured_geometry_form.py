"""Form of the geometry of a measured scan: beam, angles, distances and rotation axis."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from pages.ui.forms import measured_upload_form
from pages.ui.session import scan_preview, state
from pages.ui.session.scan_preview import StoredScan
from pages.ui.texts import formatting
from tomopatch.runs.measured_scan import GivenGeometry, MeasuredScan

BEAMS = {"file": "As in the file", "parallel": "Parallel", "cone": "Fan or cone"}
AXES = {"file": "As in the file", "estimate": "Estimate", "column": "Column"}
METHODS = {
    "mirror": "from mirrored opposite views",
    "mass": "from the centre of mass",
    "consistency": "by the smallest residual of CGLS",
    "file": "as in the file",
}
"""Methods of the axis estimate in words."""


def stated(found: StoredScan) -> str:
    """Return what the file states, in a sentence."""
    v, u = found.det_shape
    beam = {"parallel": "parallel beam", "cone": "fan beam" if v == 1 else "cone beam"}
    parts = [
        formatting.plural(found.num_views, "view") + f" of {v} × {u} pixels",
        measured_upload_form.QUANTITY_LABELS[found.quantity].partition(" (")[0].lower(),
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


def geometry(found: StoredScan) -> GivenGeometry:
    """Draw the controls and return the geometry that replaces the one in the file.

    Raises
    ------
    ValueError
        If angles or distances are missing; the message names the field.
    """
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


def with_axis(scan: MeasuredScan, found: StoredScan) -> MeasuredScan:
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
