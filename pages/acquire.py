"""Acquire: choose a CT volume and design its scan."""

from dataclasses import replace

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.ui.forms import (
    effects_form,
    grids,
    lesion_form,
    measured_form,
    measured_upload_form,
    scan_form,
    source_form,
)
from pages.ui.runs import measured_view
from pages.ui.scanview.component import scan_view
from pages.ui.scanview.free_orbit import free_orbit
from pages.ui.session import routes, shell, state, volume_cache
from pages.ui.texts import formatting, labels, messages
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, default_window, viewer
from tomopatch.geometry.field_of_view import field_of_view
from tomopatch.geometry.remarks import remarks
from tomopatch.geometry.views import Views
from tomopatch.phantoms.lesions import plant
from tomopatch.physics.materials.inserts import plant_inserts
from tomopatch.physics.remarks import effect_remarks
from tomopatch.physics.source.dose import photons_per_ray
from tomopatch.volume import Triple, Volume


def show_volume(volume: Volume, source: str, *, height: int) -> None:
    """Show the volume in three planes."""
    volumes = [ViewerVolume("Volume", volume_cache.int16_hu(volume))]
    options = ViewerOptions(window=default_window(source), height=height)
    viewer(volumes, volume.geometry, key="acquire_volume", options=options)


def place(name: str, centre: Triple) -> None:
    """Move the lesion or the insert to the point that was chosen in the scan view."""
    {"lesion": lesion_form.place, "insert": effects_form.place_insert}[name](centre)


def show_measured(controls: DeltaGenerator, pictures: DeltaGenerator) -> None:
    """Show the form and the pictures of a measured scan."""
    with controls:
        source = measured_upload_form.choose_file()
        if source is None:
            with pictures, st.container(border=True):
                st.markdown("**The scan appears here** once its file is loaded.")
            return
        try:
            scan = measured_form.choose(source)
            with pictures:
                measured_view.view(scan)
            state.set_scan(scan, from_form=True)
        except ValueError as error:
            with pictures, st.container(key="pinned.problem"):
                unchanged = " Until you correct it, your scan does not change." if state.scan() else ""
                st.error(
                    f"**This scan cannot be reconstructed yet.** {messages.error_sentence(error)}{unchanged}"
                )


shell.require_app()
source_form.fill(state.scan())
measured_form.fill(state.scan())
simulated = source_form.simulated(state.scan())
scan_form.fill(simulated)
lesion_form.fill(simulated)
effects_form.fill(simulated)
shell.heading(
    "Acquire",
    "This scan was measured: choose its file, check its geometry and select its views."
    if source_form.is_measured()
    else "Choose a CT volume and design its scan. The measurement is simulated; no real scanner is involved.",
)

controls, pictures = st.columns([1, 2], gap="large")
with controls:
    kind = source_form.choose_kind()
if kind == "measured":
    show_measured(controls, pictures)
    shell.stop_page()
with controls:
    source = source_form.choose_source(kind)
    if source is None:
        with pictures, st.container(border=True):
            unchanged = " Until then your scan does not change." if state.scan() else ""
            st.markdown(f"**The scan appears here** once you have chosen a volume.{unchanged}")
        shell.stop_page()
    grid = source_form.choose_grid(source)
    problem, pg = "", None
    try:
        volume = volume_cache.preview_volume(source, grid)
    except ValueError as error:
        with pictures:
            st.error(
                f"**This volume cannot be shown.** {messages.error_sentence(error)} Choose another "
                "*Reconstruction grid*."
            )
        shell.stop_page()
    st.caption(grids.describe(volume.geometry))
    lesions = lesion_form.choose(volume)
    scan_form.draw(volume.geometry.size[0])
    try:
        effects, corrections = effects_form.choose()
        designed = scan_form.scan_of(source, grid)
        scan = replace(designed, lesions=lesions, effects=effects, corrections=corrections)
        pg = scan.geometry(volume.geometry)
        volume = plant(volume, lesions)
        planted = plant_inserts(volume, effects.inserts)
    except ValueError as error:
        problem, pg = messages.error_sentence(error), None

with pictures:
    if pg is None:
        with st.container(key="pinned.problem"):  # page.css keeps it in sight at the end of the form
            unchanged = " Until you correct it, your scan does not change." if state.scan() else ""
            st.error(f"**This combination does not work.** {problem}{unchanged}")
        show_volume(volume, source, height=300)
        shell.stop_page()
    state.set_scan(scan, from_form=True)
    circular = None if isinstance(pg, Views) else pg
    found = remarks(volume, circular) if circular else []
    picture = st.container(key="scan_picture")  # filled last, so that the numbers appear at once
    rows, columns = pg.det_shape
    tube = scan.effects.tube
    photons = scan.photons if tube is None or tube.mas is None else photons_per_ray(tube, pg)
    with st.container(key="numbers.facts"):
        facts = st.columns(4)
    facts[0].metric("Detector", f"{rows} × {columns}", help="Rows × columns of pixels.")
    facts[1].metric(
        "Rays",
        formatting.count(rows * columns * pg.num_views),
        help="Number of measured values in all views.",
    )
    facts[2].metric(
        "Field of view",
        f"{2 * field_of_view(circular).radius:.3g} mm" if circular else "–",
        help="Diameter of the region that every view contains.",
    )
    facts[3].metric("Dose", labels.dose_share(pg, photons), help=labels.dose_help(pg))
    for remark in found:
        st.warning(f"**{remark.title}.** {remark.text}")
    for text in effect_remarks(scan.effects, planted.geometry, pg, scan.photons):
        st.info(text)
    if st.button("Reconstruct this scan", type="primary", help="Open Reconstruct with this scan."):
        st.switch_page(routes.RECONSTRUCT)
    section = st.expander("Look at the volume", key="acquire.volume", on_change="rerun")
    if section.open:  # a closed section sends no volume with every change of the scan
        with section:
            show_volume(planted, source, height=340)
    with picture:
        if circular is None:
            free_orbit(scan, volume, pg.views())
            shell.stop_page()
        scan_view(
            scan,
            volume,
            planted,
            circular,
            key="scan_view",
            truncated=any(r.title == "Truncated" for r in found),
            place=place,
        )
