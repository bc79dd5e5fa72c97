"""Several runs beside their reference: choosing them, pictures, numbers, profiles, files."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from core.runs.config import ScanConfig
from core.runs.export import dicom_zip_bytes, nifti_bytes, png_bytes
from core.runs.jobs import Progress
from core.runs.store import FINISHED, Run
from core.volume import Volume
from pages.ui import engine, figures, live, state, words
from pages.ui.viewer import WINDOWS, Shown, viewer, window_for

MOST = 7
"""Runs in one comparison."""
POLL = 1.0  # seconds: several volumes are sent each time


def comparable(scan: ScanConfig) -> list[Run]:
    """Runs that have this scan's reference: the same volume on the same grid; newest first."""
    same = (scan.object, engine.grid_of(scan))
    out = []
    for run in engine.store().runs():
        other = run.config.scan
        usable = run.status in (*engine.ACTIVE, *FINISHED)
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
    active = any(engine.progress(run).status in engine.ACTIVE for run in runs)
    active = active or not engine.reference(scan).done()
    st.fragment(_comparison, run_every=POLL if active else None)(scan, runs, active)


def _comparison(scan: ScanConfig, runs: list[Run], was_active: bool) -> None:
    now = [engine.progress(run) for run in runs]
    future = engine.reference(scan)
    reference = future.result() if future.done() else None
    if was_active and reference is not None and all(p.status not in engine.ACTIVE for p in now):
        st.rerun()
    # whatever is not there yet has its place, so that nothing jumps
    air = np.full(engine.grid_of(scan), -1000, "<i2")
    parts = [
        Shown("Reference", air, "being prepared")
        if reference is None
        else Shown("Reference", engine.rounded(reference))
    ]
    for run, progress in zip(runs, now, strict=True):
        current = live.current_volume(run, progress)
        name = _name(run, runs)
        if current is None:
            parts.append(Shown(name, air, "waiting"))
        elif current.hu.shape != air.shape:
            parts.append(Shown(name, air, "shown when it is done"))  # previews of large volumes are reduced
        else:
            parts.append(Shown(name, current.hu, current.note))
    geometry = engine.geometry(scan)
    seen = viewer(
        parts,
        geometry,
        key="compare",
        layouts=("side", "difference", "swipe", "planes"),
        window=window_for(scan.source),
        height=420,
        report=True,
    )
    for run, progress in zip(runs, now, strict=True):
        if progress.status in engine.ACTIVE:
            _waiting(run, _name(run, runs), progress)
    numbers, profile = st.columns([1.15, 1], gap="large")
    with numbers:
        _table([engine.known_run(run.id) or run for run in runs], scan)
    with profile:
        axis = st.segmented_control(
            "Values along a line through the crosshair",
            list(figures.AXES),
            default="across (x)",
            required=True,
            key="profile_axis",
            help="Click into a picture above to move the crosshair.",
        )
        lines = [(p.name, p.hu) for p in parts if p.hu is not air]
        st.plotly_chart(
            figures.profiles(
                lines if reference is not None else [],
                geometry,
                seen.cursor if seen else (0.5, 0.5, 0.5),
                figures.AXES[axis or "across (x)"],
            ),
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


def _table(runs: list[Run], scan: ScanConfig) -> None:
    rows = []
    for run in runs:
        m = run.metrics
        rows.append(
            {
                "Method": words.method_label(run.config.method),
                "Settings": words.params_words(run.config.method, run.config.params),
                "Views": run.config.scan.num_views,
                "PSNR": m.psnr if m else None,
                "SSIM": m.ssim if m else None,
                "RMSE": m.rmse_hu if m else None,
                "Time": run.seconds if m else None,
            }
        )
    column = st.column_config
    st.dataframe(
        _marked(pd.DataFrame(rows)),
        hide_index=True,
        key="numbers",
        placeholder="–",  # of runs that are not done
        column_config={
            "PSNR": column.NumberColumn(
                format="%.2f dB", help="Likeness to the reference; higher is better."
            ),
            "SSIM": column.NumberColumn(
                format="%.3f", help="Likeness of structures, at most 1; higher is better."
            ),
            "RMSE": column.NumberColumn(format="%.0f HU", help="Typical error of a voxel; lower is better."),
            "Time": column.NumberColumn(format="%.1f s", help="Of the method alone."),
        },
    )
    devices = ", ".join(sorted({run.device for run in runs})) or "–"
    st.caption(
        f"Grid {words.times(engine.grid_of(scan))}; {words.scan_words(scan)}; device: {devices}. Measured "
        "against the "
        "reference between −1000 and 1000 HU."
    )


def _marked(table: pd.DataFrame) -> Any:
    """The best of each column in bold."""
    style = table.style
    for name, best in (("PSNR", "max"), ("SSIM", "max"), ("RMSE", "min")):
        if len(table) > 1 and table[name].notna().any():
            mark = getattr(style, f"highlight_{best}")
            style = mark(subset=[name], props="font-weight: bold; background-color: rgba(14, 155, 181, .22)")
    return style


def downloads(scan: ScanConfig, runs: list[Run]) -> None:
    """Files of one of the volumes, and a picture of all."""
    ready = {run.id: run for run in runs if run.status in FINISHED}
    options = ["reference", *ready]
    st.selectbox(
        "Volume to download",
        options,
        key=state.DOWNLOAD,
        format_func=lambda r: "Reference" if r == "reference" else words.run_words(ready[r], scan),
        help="As it is on the reconstruction grid, in HU.",
    )
    chosen = state.download() or "reference"

    def volume() -> Volume:
        return engine.reference(scan).result() if chosen == "reference" else engine.result_volume(chosen)

    def picture() -> bytes:
        named = [("Reference", engine.reference(scan).result())]
        named += [(_name(run, runs), engine.result_volume(run.id)) for run in ready.values()]
        level, width = WINDOWS[window_for(scan.source)]
        return png_bytes(named, (level - width / 2, level + width / 2))

    a, b, c = st.columns(3)
    a.download_button(
        "NIfTI",
        lambda: nifti_bytes(volume()),
        f"tomopatch-{chosen}.nii.gz",
        "application/gzip",
        width="stretch",
        on_click="ignore",
        help="One file, float32 HU; for 3D Slicer, ITK-SNAP and scripts.",
    )
    b.download_button(
        "DICOM (zip)",
        lambda: dicom_zip_bytes(volume()),
        f"tomopatch-{chosen}.zip",
        "application/zip",
        width="stretch",
        on_click="ignore",
        help="A CT series marked as derived and simulated, not for diagnosis.",
    )
    c.download_button(
        "Picture (PNG)",
        picture,
        "tomopatch-compare.png",
        "image/png",
        width="stretch",
        on_click="ignore",
        help="The middle slices of all volumes above.",
    )


def _name(run: Run, runs: list[Run]) -> str:
    """Short, yet no two alike: what differs between runs of one method is added."""
    label = words.method_label(run.config.method)
    twins = [r for r in runs if r.config.method == run.config.method]
    if len(twins) == 1:
        return label
    if len({r.config.scan.num_views for r in twins}) > 1:
        label += f", {run.config.scan.num_views} views"
    if len({r.config.scan.photons for r in twins}) > 1:
        label += f", {words.dose_words(run.config.scan.photons)}"
    if len({str(r.config.params) for r in twins}) > 1:
        label += f", {words.params_words(run.config.method, run.config.params)}"
    return label
