"""View of a measured scan on Acquire: its pictures and the results of the corrections."""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages.ui.session import engine, routes, scan_preview, volume_cache
from pages.ui.texts import formatting
from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.remarks import limited_angle
from tomopatch.reconstruct.methods import METHODS
from tomopatch.reconstruct.scaled import SCALED, water_factor
from tomopatch.runs.measured import full_geometry, selection, stand_in_method
from tomopatch.runs.measured_scan import MeasuredScan


def figures(scan: MeasuredScan, record: dict[str, Any]) -> dict[str, str]:
    """Return the results of the corrections by their names; columns are those of the file, before binning."""
    found: dict[str, str] = {}
    if "axis" in record:
        found["Axis"] = f"column {(record['axis']['column'] + 0.5) * scan.bin - 0.5:.2f}"
    found["Dead pixels"] = f"{record['dead_pixels']} interpolated"
    if record.get("raised_values"):
        found["Without signal"] = f"{formatting.count(record['raised_values'])} values replaced"
    if "stripes" in record:
        s = record["stripes"]
        found["Stripes"] = (
            f"{s['before']:.2g} before, {s['after']:.2g} after"
            if s["removed"]
            else f"{s['before']:.2g}, kept"
        )
    else:
        found["Stripes"] = "not filtered"
    return found


def view(scan: MeasuredScan) -> None:
    """Show what was measured, and the button to reconstruct it.

    Raises
    ------
    ValueError
        If the scan cannot be corrected, or is too large to be shown.
    """
    volume_cache.check_memory(scan)
    found = scan_preview.preview(scan)
    pg, vg = full_geometry(scan, engine.store())
    views = selection(scan, pg)
    with st.container(key="numbers.facts"):
        facts = st.columns(4)
    facts[0].metric(
        "Views used",
        f"{len(views.used)} of {pg.num_views}",
        help="Views for the reconstruction, of all views in the file.",
    )
    facts[1].metric("Held out", str(len(views.held_out)), help="Views that are predicted and not used.")
    facts[2].metric(
        "Detector",
        formatting.times(pg.det_shape),
        help=f"Rows × columns of pixels, {scan_preview.beam_words(pg)}.",
    )
    facts[3].metric(
        "Voxel", formatting.length(vg.voxel_size[-1]), help="Edge of a voxel across the rotation axis."
    )
    st.markdown("  \n".join(f"**{name}:** {text}" for name, text in figures(scan, found.record).items()))
    sinogram, projection = st.columns(2)
    sinogram.image(
        found.sinogram,
        caption="Sinogram of the middle row, corrected: a line per view",
        width="stretch",
    )
    projection.image(
        found.projection, caption="Projection of the middle view, corrected: bright is dense", width="stretch"
    )
    used = volume_cache.scan_geometry(scan)
    limited = limited_angle(used) if isinstance(used, ParallelBeam | ConeBeam) else None
    if limited:
        st.warning(f"**{limited.title}.** {limited.text}")
    for text in (*scan_preview.stored_scan(scan.file_digest).notes, *found.notes):
        st.info(f"**Note.** {formatting.plain(formatting.sentence(text), 600)}")
    if water_factor(SCALED[0], found.typical) != 1:
        names = " and ".join(METHODS[name].label for name in SCALED)
        st.info(
            f"**Note.** The object attenuates {found.typical:.3g} /mm, unlike water. {names}, whose settings "
            "are relative to water, work on scaled values and scale their volumes back."
        )
    if st.button("Reconstruct this scan", type="primary", help="Open Reconstruct with this scan."):
        st.switch_page(routes.RECONSTRUCT)
    method = METHODS[stand_in_method(volume_cache.scan_geometry(scan.all_views))].label
    st.caption(
        f"This scan was measured, so there is no reference. Compare shows the reconstruction from all views "
        f"({method}) as a stand-in, and the error of the held-out views. What if varies the number of views."
    )
