"""Several runs beside their reference: choosing them, pictures, numbers, and what is seen closer."""

from __future__ import annotations

import numpy as np
import streamlit as st

from core.runs.config import ScanConfig
from core.runs.jobs import Progress
from core.runs.run import ACTIVE, FINISHED, Run
from core.volume import Triple, VolumeGeometry
from pages.ui import compare_errors, compare_region, engine, figures, live, state, words
from pages.ui.compare_table import table
from pages.ui.names import short_names
from pages.ui.viewer import Shown, viewer, window_for

MOST = 7
"""Runs in one comparison."""
POLL = 1.0  # seconds: several volumes are sent each time
MIDDLE: Triple = (0.5, 0.5, 0.5)
LINE, REGION = "Line", "Region"
_ERRORS = {
    "Errors": compare_errors.histogram,
    "Calibration": compare_errors.calibration,
    "Noise": compare_errors.spectrum,
}
LOOKS = [LINE, REGION, *_ERRORS]
_LOOK = "compare.look"


def comparable(scan: ScanConfig) -> list[Run]:
    """Runs that have this scan's reference: the same volume on the same grid; newest first."""
    same = (scan.object, engine.grid_of(scan))
    out = []
    for run in engine.store().runs():
        other = run.config.scan
        usable = run.status in (*ACTIVE, *FINISHED)
        # the source first: the grid of another volume may take loading it
        if usable and other.source == scan.source and (other.object, engine.grid_of(other)) == same:
            out.append(run)
    return out


def choose(scan: ScanConfig, runs: list[Run]) -> list[Run]:
    """The runs to compare: those chosen by hand, else the newest of each method of this scan."""
    known = {run.id: run for run in runs}
    chosen = [r for r in state.compared() if r in known]
    if not chosen:
        newest: dict[str, str] = {}
        for run in runs:
            if run.config.scan == scan:
                newest.setdefault(run.config.method, run.id)
        chosen = sorted(newest.values(), key=lambda r: known[r].created)[:MOST]
    state.fill({"compare": chosen}, overwrite=True)
    st.multiselect(
        "Runs",
        list(known),
        key=state.field("compare"),
        format_func=lambda r: words.run_words(known[r], scan),
        max_selections=MOST,
        on_change=lambda: state.set_compared(state.value("compare")),
        help="All runs of this volume on this grid, of other scans too. Left empty: the newest of each method.",
    )
    return [known[r] for r in chosen]


def comparison(scan: ScanConfig, runs: list[Run]) -> None:
    """The comparison; redraws itself while one of the runs works."""
    active = any(engine.progress(run).status in ACTIVE for run in runs)
    active = active or not engine.reference(scan).done()
    st.fragment(_comparison, run_every=POLL if active else None)(scan, runs, active)


def _comparison(scan: ScanConfig, runs: list[Run], was_active: bool) -> None:
    now = [engine.progress(run) for run in runs]
    future = engine.reference(scan)
    reference = future.result() if future.done() else None
    if was_active and reference is not None and all(p.status not in ACTIVE for p in now):
        st.rerun()
    # whatever is not there yet has its place, so that nothing jumps
    air = np.full(engine.grid_of(scan), -1000, "<i2")
    parts = [
        Shown("Reference", air, "being prepared")
        if reference is None
        else Shown("Reference", engine.rounded(reference))
    ]
    names = short_names([run.config for run in runs])
    for run, name, progress in zip(runs, names, now, strict=True):
        current = live.current_volume(run, progress)
        if current is None:
            parts.append(Shown(name, air, "waiting"))
        elif current.hu.shape != air.shape:
            parts.append(Shown(name, air, "shown when it is done"))  # previews of large volumes are reduced
        else:
            parts.append(Shown(name, current.hu, current.note))
            std = engine.result_std(run.id) if progress.status in FINISHED else None
            if std is not None:
                parts.append(Shown(f"{name}, deviation", std, kind="heat", of=name))
    geometry = engine.geometry(scan)
    state.fill({_LOOK: LINE})
    region = compare_region.chosen(geometry, MIDDLE) if state.value(_LOOK) == REGION else None
    seen = viewer(
        parts,
        geometry,
        key="compare",
        layouts=("side", "difference", "swipe", "flicker", "planes"),
        window=window_for(scan.source),
        height=420,
        report=True,
        region=None if region is None else (region.kind, region.size),
    )
    cursor = seen.cursor if seen else MIDDLE
    if seen:
        state.looked().update(cursor=seen.cursor, window=seen.window)
    for run, name, progress in zip(runs, names, now, strict=True):
        if progress.status in ACTIVE:
            _waiting(run, name, progress)
    with st.container(key="stacked.compare"):  # below each other where it is narrow
        numbers, closer = st.columns([1.15, 1], gap="large")
    with numbers:
        table([engine.known_run(run.id) or run for run in runs], names, scan)
    with closer:
        look = _look()
        done = [
            (name, run.id)
            for run, name, progress in zip(runs, names, now, strict=True)
            if progress.status in FINISHED
        ]
        if look == LINE:
            _line(
                [(p.name, p.hu) for p in parts if p.hu is not air and p.kind == "volume"]
                if reference
                else [],
                geometry,
                cursor,
            )
        elif reference is None or not done:
            st.caption("Shown as soon as the reference and one of the runs are there.")
        elif look == REGION:
            compare_region.controls()
            compare_region.table(scan, done, compare_region.chosen(geometry, cursor))
        else:
            _ERRORS[look](scan, done)


def _look() -> str:
    state.fill({_LOOK: LINE}, overwrite=state.value(_LOOK) not in LOOKS)
    look = st.segmented_control(
        "Look closer",
        LOOKS,
        required=True,
        key=state.field(_LOOK),
        help="Along a line, within a region, or at all errors of the runs that are done.",
    )
    return look or LINE


def _line(lines: list[tuple[str, np.ndarray]], geometry: VolumeGeometry, cursor: Triple) -> None:
    axis = st.segmented_control(
        "Values along a line through the crosshair",
        list(figures.AXES),
        default="across (x)",
        required=True,
        key="profile_axis",
        help="Click into a picture above to move the crosshair.",
    )
    st.plotly_chart(
        figures.profiles(lines, geometry, cursor, figures.AXES[axis]),
        key="profile",
        config={"displayModeBar": False},
        alt="Values along a line through the crosshair",
    )


def _waiting(run: Run, name: str, progress: Progress) -> None:
    """A line about a run that is not finished."""
    bar, button = st.columns([6, 1], vertical_alignment="center")
    done = progress.i / progress.total if progress.total else 0.0
    bar.progress(done, text=f"{name}: {words.progress_words(progress)}")
    button.button(
        f"Cancel {name}",
        key=f"cancel.{run.id}",
        on_click=engine.queue().cancel,
        args=(run.id,),
        width="stretch",
        help="Stop this run and throw it away.",
    )
