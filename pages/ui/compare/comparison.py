"""Comparison of runs with their reference: selection, pictures, metrics and analyses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from pages.ui.charts import colours, figure_files, figures
from pages.ui.compare import error_charts, field_of_view, region_figures
from pages.ui.compare.table import table
from pages.ui.runs import linked_runs, run_bars, run_volumes
from pages.ui.session import address, engine, state, volume_cache
from pages.ui.texts import labels, messages
from pages.ui.texts.run_names import short_names
from pages.ui.viewer.lesion_places import lesion_places
from pages.ui.viewer.scan_window import air_of, shared_view, window_of
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, placeholder, viewer
from tomopatch.execution.progress import Progress
from tomopatch.runs.config import Scan
from tomopatch.runs.run import ACTIVE, FINISHED, Run
from tomopatch.volume import Triple, Volume, VolumeGeometry

POLL = 2.0  # seconds; each refresh takes time of the cores that compute
POLL_VOLUMES = 8  # with more volumes, the interval grows in proportion
MIDDLE: Triple = (0.5, 0.5, 0.5)
LATER = "appears when it is done"
LINE, REGION = address.DEFAULT_ANALYSIS, "Region"
_ERRORS = {
    "Errors": error_charts.histogram,
    "Calibration": error_charts.calibration,
    "Noise": error_charts.spectrum,
}
ALONG = {"axial": "across (x)", "coronal": "feet to head (z)", "sagittal": "feet to head (z)"}
"""Direction of the first profile in each plane."""
ANALYSES = [LINE, REGION, *_ERRORS]


def comparable(scan: Scan) -> list[Run]:
    """Return the runs with this scan's reference, i.e. the same volume on the same grid; newest first."""
    same = (scan.object, volume_cache.grid_of(scan))
    out = []
    for run in engine.store().runs():
        other = run.config.scan
        usable = run.status in (*ACTIVE, *FINISHED)
        # the source is compared first: the grid of another volume may require loading it
        if usable and other.source == scan.source and (other.object, volume_cache.grid_of(other)) == same:
            out.append(run)
    return out


def choose(scan: Scan, runs: list[Run]) -> list[Run]:
    """Let the user choose the runs to compare; the default is the newest of each method of this scan."""
    known = {run.id: run for run in runs}
    chosen = [r for r in state.compared() if r in known]
    if not chosen:
        newest: dict[str, str] = {}
        for run in runs:
            if run.config.scan == scan:
                newest.setdefault(run.config.method, run.id)
        chosen = sorted(newest.values(), key=lambda r: known[r].created)
    state.fill({"compare": chosen}, overwrite=True)
    state.set_shown(chosen)

    st.multiselect(
        "Runs",
        list(known),
        key=state.field("compare"),
        format_func=lambda r: labels.run_label(known[r], scan),
        on_change=_take_chosen,
        help="All runs of this volume on this grid, also those of other scans. Leave empty for the newest of "
        "each method.",
    )
    return [known[r] for r in chosen]


def _take_chosen() -> None:
    """Compare the runs that the user chose.

    The choice may be gone: a step of a lesson that opens another scan clears it, while the browser still
    reports it with the next refresh.
    """
    chosen = state.value("compare")
    if chosen is not None:
        state.set_compared(chosen)


def failures() -> None:
    """Report chosen runs that no longer exist or failed."""
    found = [engine.known_run(run_id) for run_id in state.compared()]
    existing = [run for run in found if run is not None]
    missing = len(found) - len(existing)
    if missing:
        linked_runs.offer(
            [run_id for run_id, run in zip(state.compared(), found, strict=True) if run is None]
        )
    failed = [(labels.method_label(r.config.method), r.message) for r in existing if r.status == "failed"]
    for sentence in messages.failed_runs(failed):
        st.warning(f"{sentence} Run it again on Reconstruct.")


def comparison(scan: Scan, runs: list[Run]) -> None:
    """Show the comparison and refresh it while one of the runs works."""
    active = any(engine.progress(run).status in ACTIVE for run in runs)
    active = active or not volume_cache.reference(scan).done()
    st.fragment(_comparison, run_every=POLL * max(1.0, len(runs) / POLL_VOLUMES) if active else None)(
        scan, runs, active
    )


def _comparison(scan: Scan, runs: list[Run], was_active: bool) -> None:
    now = [engine.progress(run) for run in runs]
    future = volume_cache.reference(scan)
    reference = future.result() if future.done() and future.exception() is None else None
    if was_active and reference is not None and all(p.status not in ACTIVE for p in now):
        st.rerun()
    names = short_names([run.config for run in runs])
    parts = _parts(runs, names, now, scan, reference)
    geometry = volume_cache.geometry(scan)
    caption = labels.picture_caption([run.config.scan for run in runs] or [scan], volume_cache.names())
    state.fill({state.ANALYSIS: LINE})
    region = region_figures.chosen(geometry, MIDDLE) if state.value(state.ANALYSIS) == REGION else None
    seen = viewer(
        parts,
        geometry,
        key="compare",
        options=ViewerOptions(
            layouts=("side", "difference", "swipe", "flicker", "planes", "render"),
            window=window_of(scan),
            fit=True,
            air=air_of(scan),
            view=shared_view(scan, "compare"),
            height=420,
            report=True,
            places=lesion_places(scan, geometry),
            region=None if region is None else (region.kind, region.size),
            caption=caption,
        ),
    )
    cursor = seen.cursor if seen else MIDDLE
    if seen:
        state.compare_view().update(cursor=seen.cursor, window=seen.window, address=seen.address)
    with st.container(key="run_bar.compare"):  # fixed height: nothing below moves when all are done
        run_bars.active_runs_bar(
            [entry for entry in zip(runs, names, now, strict=True) if entry[2].status in ACTIVE]
        )
    with st.container(key="stacked.compare"):  # stacked on narrow screens
        numbers, analysis_place = st.columns([1.15, 1], gap="large")
    with numbers:
        known = [engine.known_run(run.id) or run for run in runs]
        table(known, names, scan)
        field_of_view.table(scan, known, names)
    with analysis_place:
        analysis = _choose_analysis()
        styles = dict(zip(names, colours.of_runs([run.config.method for run in runs]), strict=True))
        done = [
            (name, styles[name], run.id)
            for run, name, progress in zip(runs, names, now, strict=True)
            if progress.status in FINISHED
        ]
        if analysis == LINE:
            existing = [p for p in parts if p.kind == "volume" and not p.pending] if reference else []
            _line(
                [(p.name, styles.get(p.name, colours.Line(colours.REFERENCE)), p.hu) for p in existing],
                geometry,
                cursor,
                caption,
            )
        elif reference is None or not done:
            st.caption("Appears when the volume of comparison and one of the runs are ready.")
        elif analysis == REGION:
            region_figures.controls()
            region_figures.table(scan, done, region_figures.chosen(geometry, cursor))
        else:
            _ERRORS[analysis](scan, done, caption)


def _parts(
    runs: Sequence[Run],
    names: Sequence[str],
    now: Sequence[Progress],
    scan: Scan,
    reference: Volume | None,
) -> list[ViewerVolume]:
    """Return the volumes; missing ones have placeholders, so that nothing moves later."""
    grid = volume_cache.grid_of(scan)
    if reference is None:
        parts = [placeholder(grid, labels.reference_name(scan), "being prepared")]
    else:
        parts = [ViewerVolume(labels.reference_name(scan), volume_cache.int16_hu(reference))]
    for run, name, progress in zip(runs, names, now, strict=True):
        current = run_volumes.current_volume(run, progress)
        if current is None:
            parts.append(placeholder(grid, name, run_volumes.PENDING[progress.status]))
        elif current.hu.shape != grid:
            parts.append(placeholder(grid, name, LATER))  # previews of large volumes have a coarser grid
        else:
            parts.append(ViewerVolume(name, current.hu, current.note))
        std = volume_cache.result_std(run.id) if progress.status in FINISHED else None
        deviation = f"{name}, deviation"
        if std is not None:
            parts.append(ViewerVolume(deviation, std, kind="heat", of=name))
        elif run.config.params.get("num_samples", 1) > 1:
            parts.append(placeholder(grid, deviation, LATER, kind="heat", of=name))
    return parts


def _choose_analysis() -> str:
    state.fill({state.ANALYSIS: LINE}, overwrite=state.value(state.ANALYSIS) not in ANALYSES)
    analysis = st.segmented_control(
        "Look closer",
        ANALYSES,
        required=True,
        key=state.field(state.ANALYSIS),
        on_change=address.write,  # a following run of a fragment alone would not write it
        help="Values along a line, metrics within a region, or the errors of all finished runs.",
    )
    return analysis or LINE


def _line(
    lines: list[tuple[str, colours.Line, np.ndarray]],
    geometry: VolumeGeometry,
    cursor: Triple,
    caption: str,
) -> None:
    axis = st.segmented_control(
        "Values along a line through the crosshair",
        list(figures.AXES),
        default=ALONG[state.plane()],
        required=True,
        key="profile_axis",
        help="Click in a picture above to move the crosshair.",
    )
    figure = figures.profiles(lines, geometry, cursor, figures.AXES[axis])
    st.plotly_chart(
        figure,
        key="profile",
        config={"displayModeBar": False},
        alt="Values along a line through the crosshair",
    )
    figure_files.download_buttons(figure, "line", caption, key="line")
