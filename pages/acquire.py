"""Acquire: choose a volume and design its scan."""

from dataclasses import replace

import streamlit as st

from pages.ui.forms import lesion_form, scan_form, source_form
from pages.ui.scanview.component import scan_view
from pages.ui.session import engine, routes, shell, state, words
from pages.ui.viewer.panes import Shown, viewer, window_for
from tomopatch.geometry.remarks import field_of_view, remarks
from tomopatch.phantoms.lesions import plant
from tomopatch.volume import Volume


def look_at(volume: Volume, source: str, *, height: int) -> None:
    """The volume in three planes."""
    shown = [Shown("Volume", engine.rounded(volume))]
    viewer(shown, volume.geometry, key="acquire_volume", window=window_for(source), height=height)


shell.guard()
shell.heading(
    "Acquire", "Choose what is scanned and how. The scan is simulated: nothing here touches a real scanner."
)

source_form.fill(state.scan())
scan_form.fill(state.scan())
lesion_form.fill(state.scan())

controls, pictures = st.columns([1, 2], gap="large")
with controls:
    source = source_form.choose_source()
    if source is None:
        with pictures, st.container(border=True):
            kept = " Until then your scan stays as it was." if state.scan() else ""
            st.markdown(f"**The scan appears here** as soon as there is a volume.{kept}")
        shell.stop()
    grid = source_form.choose_grid(source)
    problem, pg = "", None
    try:
        volume = engine.draft(source, grid)
    except ValueError as error:
        with pictures:
            st.error(
                f"**This volume cannot be shown.** {words.plain(error)} Choose another *Reconstruction grid*."
            )
        shell.stop()
    lesions = lesion_form.choose(volume)
    try:
        scan = replace(scan_form.design(source, grid, volume.geometry.size[0]), lesions=lesions)
        pg = scan.geometry(volume.geometry)
        volume = plant(volume, lesions)
    except ValueError as error:
        problem = words.plain(error)

with pictures:
    if pg is None:
        with st.container(key="pinned.problem"):  # in sight of whoever is at the end of the form
            kept = " Until it does, your scan stays as it was." if state.scan() else ""
            st.error(f"**This combination does not work.** {problem}{kept}")
        look_at(volume, source, height=300)
        shell.stop()
    state.set_scan(scan, from_form=True)
    found = remarks(volume, pg)
    picture = st.container(key="scan_picture")  # is filled last: the numbers answer at once
    rows, columns = pg.det_shape
    with st.container(key="numbers.facts"):
        facts = st.columns(4)
    facts[0].metric("Detector", f"{rows} × {columns}", help="Rows × columns of pixels.")
    facts[1].metric("Rays", words.count(rows * columns * pg.num_views), help="Measured values altogether.")
    facts[2].metric("Field of view", f"{2 * field_of_view(pg).radius:.3g} mm", help="Its diameter.")
    facts[3].metric("Dose", scan_form.dose_words(pg, scan.photons), help=scan_form.dose_help(pg))
    for remark in found:
        st.warning(f"**{remark.title}.** {remark.text}")
    if st.button("Reconstruct this scan", type="primary", help="On to the methods; the scan is kept."):
        st.switch_page(routes.RECONSTRUCT)
    shelf = st.expander("Look at the volume", key="acquire.volume", on_change="rerun")
    if shelf.open:  # a volume is much to send with every change of the scan
        with shelf:
            look_at(volume, source, height=340)
    with picture:
        scan_view(scan, volume, pg, key="scan_view", truncated=any(r.title == "Truncated" for r in found))
