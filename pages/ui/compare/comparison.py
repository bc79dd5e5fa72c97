"""Several runs beside their reference: choosing them, pictures, numbers, and what is seen closer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from pages.ui.charts import colours, figures
from pages.ui.compare import error_maps, region_figures
from pages.ui.compare.table import table
from pages.ui.runs import live
from pages.ui.session import engine, state, words
from pages.ui.session.names import short_names
from pages.ui.viewer.panes import Shown, viewer, waiting, window_for
from tomopatch.execution.queue import Progress
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.run import ACTIVE, FINISHED, Run
from tomopatch.volume import Triple, Volume, VolumeGeometry

POLL = 2.0  # seconds: several volumes and a plot are sent and drawn each time, on the cores that compute
EASY = 8  # volumes; more of them are sent as much less often
MIDDLE: Triple = (0.5, 0.5, 0.5)
LATER = "shown when it is done"
LINE, REGION = "Line", "Region"
_ERRORS = {
    "Errors": error_maps.histogram,
    "Calibration": error_maps.calibration,
    "Noise": error_maps.spectrum,
}
ALONG = {"axial": "across (x)", "coronal": "feet to head (z)", "sagittal": "feet to head (z)"}
"""The line that is drawn at first: where something changes in the plane that is looked at."""
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
        chosen = sorted(newest.values(), key=lambda r: known[r].created)
    state.fill({"compare": chosen}, overwrite=True)
    mixed = any(run.config.scan != scan for run in runs)
    st.multiselect(
        "Runs",
        list(known),
        key=state.field("compare"),
        format_func=lambda r: words.run_words(known[r], scan, mixed=mixed),
        on_change=lambda: state.set_compared(state.value("compare")),
        help="All runs of this volume on this grid, of other scans too. Left empty: the newest of each method.",
    )
    return [known[r] for r in chosen]


def failures() -> None:
    """What became of runs that were to be compared and left nothing."""
    found = [engine.known_run(run_id) for run_id in state.compared()]
    asked = [run for run in found if run is not None]
    gone = len(found) - len(asked)
    if gone:
        st.warning(f"{words.gone(gone)} Choose others below or on Runs.")
    failed = [(words.method_label(r.config.method), r.message) for r in asked if r.status == "failed"]
    for sentence in words.without_volume(failed):
        st.warning(f"{sentence} Run it again on Reconstruct.")


def comparison(scan: ScanConfig, runs: list[Run]) -> None:
    """The comparison; redraws itself while one of the runs works."""
    active = any(engine.progress(run).status in ACTIVE for run in runs)
    active = active or not engine.reference(scan).done()
    st.fragment(_comparison, run_every=POLL * max(1.0, len(runs) / EASY) if active else None)(
        scan, runs, active
    )


def _comparison(scan: ScanConfig, runs: list[Run], was_active: bool) -> None:
    now = [engine.progress(run) for run in runs]
    future = engine.reference(scan)
    reference = future.result() if future.done() and future.exception() is None else None
    if was_active and reference is not None and all(p.status not in ACTIVE for p in now):
        st.rerun()
    names = short_names([run.config for run in runs])
    parts = _parts(runs, names, now, scan, reference)
    geometry = engine.geometry(scan)
    state.fill({_LOOK: LINE})
    region = region_figures.chosen(geometry, MIDDLE) if state.value(_LOOK) == REGION else None
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
    with st.container(key="run_bar.compare"):  # of one height, so that nothing below jumps when all are done
        live.at_work([entry for entry in zip(runs, names, now, strict=True) if entry[2].status in ACTIVE])
    with st.container(key="stacked.compare"):  # below each other where it is narrow
        numbers, closer = st.columns([1.15, 1], gap="large")
    with numbers:
        table([engine.known_run(run.id) or run for run in runs], names, scan)
    with closer:
        look = _look()
        told = dict(zip(names, colours.of_runs([run.config.method for run in runs]), strict=True))
        done = [
            (name, told[name], run.id)
            for run, name, progress in zip(runs, names, now, strict=True)
            if progress.status in FINISHED
        ]
        if look == LINE:
            there = [p for p in parts if p.kind == "volume" and not p.pending] if reference else []
            _line(
                [(p.name, told.get(p.name, colours.Line(colours.REFERENCE)), p.hu) for p in there],
                geometry,
                cursor,
            )
        elif reference is None or not done:
            st.caption("Shown as soon as the reference and one of the runs are there.")
        elif look == REGION:
            region_figures.controls()
            region_figures.table(scan, done, region_figures.chosen(geometry, cursor))
        else:
            _ERRORS[look](scan, done)


def _parts(
    runs: Sequence[Run],
    names: Sequence[str],
    now: Sequence[Progress],
    scan: ScanConfig,
    reference: Volume | None,
) -> list[Shown]:
    """The volumes; whatever is not there yet has its place, so that nothing jumps."""
    grid = engine.grid_of(scan)
    if reference is None:
        parts = [waiting(grid, "Reference", "being prepared")]
    else:
        parts = [Shown("Reference", engine.rounded(reference))]
    for run, name, progress in zip(runs, names, now, strict=True):
        current = live.current_volume(run, progress)
        if current is None:
            parts.append(waiting(grid, name, live.STILL[progress.status]))
        elif current.hu.shape != grid:
            parts.append(waiting(grid, name, LATER))  # previews of large volumes are reduced
        else:
            parts.append(Shown(name, current.hu, current.note))
        std = engine.result_std(run.id) if progress.status in FINISHED else None
        deviation = f"{name}, deviation"
        if std is not None:
            parts.append(Shown(deviation, std, kind="heat", of=name))
        elif run.config.params.get("num_samples", 1) > 1:
            parts.append(waiting(grid, deviation, LATER, kind="heat", of=name))
    return parts


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


def _line(
    lines: list[tuple[str, colours.Line, np.ndarray]], geometry: VolumeGeometry, cursor: Triple
) -> None:
    axis = st.segmented_control(
        "Values along a line through the crosshair",
        list(figures.AXES),
        default=ALONG[state.plane()],
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
