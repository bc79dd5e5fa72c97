"""Parts of both challenges: the form of a scan, choice and progress of a run, and the link for others."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.ui.runs import run_volumes
from pages.ui.session import engine, state, volume_cache
from pages.ui.texts import formatting, labels, messages
from pages.ui.viewer.slice_viewer import ViewerVolume, placeholder
from tomopatch.execution.progress import Progress
from tomopatch.physics.measurement import relative_dose
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.run import ACTIVE, FINISHED, Run
from tomopatch.volume import Shape

VIEWS = (5, 8, 12, 20, 30, 45, 60, 90, 120)
PHOTONS = (500.0, 1e3, 3e3, 1e4, 3e4, 1e5)
METHODS = ("fbp", "sirt", "tv", "diffusion")


def patient_place(name: str, patient: tuple[int, str], prepare: Callable[[], Any]) -> DeltaGenerator:
    """Return the place of everything about a patient.

    While a new patient is prepared, the place says so, and shows nothing of the previous one.
    """
    key = f"{name}.patient"
    if state.value(key) == patient:
        return st.container()
    place = st.empty()
    place.info("Preparing the patient…")
    prepare()
    state.fill({key: patient}, overwrite=True)
    return place.container()


def scan_form(name: str, scan_of: Callable[[int, float], ScanConfig]) -> str | None:
    """Show the form of a scan and return the run that the user has started.

    Parameters
    ----------
    name : str
        Prefix of the keys.
    scan_of : f(views, photons)
        Returns the scan.
    """
    state.fill({f"{name}.views": 12, f"{name}.photons": 1e4, f"{name}.method": "tv"})
    a, b = st.columns(2)
    c, d = st.columns([2.6, 1], vertical_alignment="bottom")
    views = a.select_slider(
        "Views", VIEWS, key=state.field(f"{name}.views"), help="More views mean more dose."
    )
    photons = b.select_slider(
        "Photons per ray",
        PHOTONS,
        key=state.field(f"{name}.photons"),
        format_func=formatting.count,
        help="More photons mean less noise and more dose.",
    )
    method = c.segmented_control(
        "Method",
        METHODS,
        key=state.field(f"{name}.method"),
        format_func=labels.method_label,
        required=True,
        help="Another method on an existing scan costs no dose.",
    )
    scan = scan_of(views, photons)
    cost = formatting.percent(relative_dose(scan.geometry(volume_cache.geometry(scan)), photons))
    if d.button("Scan", type="primary", key=f"{name}_scan", width="stretch", help=f"Costs {cost}."):
        return engine.queue().submit(RunConfig(scan, method or "tv"))
    return None


def share(lesson: str, parameter: str, wanted: dict[str, Any]) -> None:
    """Show a link to this patient and lesion, without scans, guesses or the solution."""
    with st.expander("Link for others, without the solution"):
        query = urlencode({"lesson": lesson, parameter: json.dumps(wanted, separators=(",", ":"))})
        st.code(f"{(st.context.url or '/learn').partition('?')[0]}?{query}", language=None, wrap_lines=True)


def chosen_run(name: str, runs: Sequence[Run[RunConfig]]) -> Run[RunConfig]:
    """Show all runs and return the chosen one; a new run is chosen at once."""
    chosen, count = f"{name}.run", f"{name}.count"
    names = {run.id: run_name(run) for run in runs}
    if state.value(chosen) not in names or state.value(count) != len(runs):
        state.fill({chosen: runs[-1].id, count: len(runs)}, overwrite=True)
    st.pills(
        "Reconstructions",
        list(names),
        key=state.field(chosen),
        format_func=lambda r: names[r],
        required=True,
        help="All your reconstructions of this patient.",
    )
    return next(r for r in runs if r.id == (state.value(chosen) or runs[-1].id))


def shown_volume(name: str, run: Run[RunConfig], now: Progress, grid: Shape) -> ViewerVolume:
    """Show the progress of a run that did not fail, and return its current volume."""
    with st.container(key=f"run_bar.{name}"):  # fixed height: nothing below moves when the run ends
        if now.status in ACTIVE:
            st.progress(now.share, text=messages.progress_line(now))
        else:
            st.caption(f"{run_name(run)}: done in {formatting.seconds(run.seconds)}.")
    label = labels.method_label(run.config.method)
    current = run_volumes.current_volume(run, now)
    if current is None:
        current = placeholder(grid, label, "appears with the first iteration")
    return replace(current, name=label, note="" if now.status in FINISHED else current.note)


def next_buttons(
    name: str, start: Callable[[Any], None], again: Any, following: Any, *, help: tuple[str, str]
) -> None:
    """Show the buttons *Again* and *Next patient*, which start these games; `help` has their help texts."""
    with st.container(horizontal=True):
        st.button("Again", key=f"{name}_again", type="primary", on_click=start, args=(again,), help=help[0])
        st.button("Next patient", key=f"{name}_next", on_click=start, args=(following,), help=help[1])


def run_name(run: Run[RunConfig]) -> str:
    scan = run.config.scan
    assert isinstance(scan, ScanConfig)  # the challenges have no measured scans
    method = labels.method_label(run.config.method)
    return f"{method}, {scan.num_views} views, {formatting.count(scan.photons or 0)} photons"
