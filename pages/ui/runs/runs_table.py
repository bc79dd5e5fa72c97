"""Table of all runs, with a search, pages, and a selection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.session import engine, state, volume_cache
from pages.ui.texts import formatting, labels
from tomopatch.runs.config import RunConfig, Scan
from tomopatch.runs.run import FINISHED, Run
from tomopatch.store.eviction import StoredRun

PAGE = 100  # runs; each has a picture
ROW = 64  # pixels; at this height text wraps, so that all columns fit into a narrow window
_MAX_ROWS = 10  # visible without scrolling
_KINDS = {"generate": "Prior, generated", "denoise": "Prior, denoised"}


def choose(runs: Sequence[StoredRun]) -> list[Run]:
    """Show the runs and return the ticked ones.

    Streamlit stores ticks by row. New runs of other visitors move the rows, so each list of runs is a
    separate table, whose initial ticks follow the same runs of the previous table.
    """
    ticked = state.ticked_runs()
    names = engine.source_names()
    shown = _page(runs, names)
    if not shown:
        st.caption("No run matches all of these words.")
        return []
    ids = [k.run.id for k in shown]
    event = st.dataframe(
        pd.DataFrame([table_row(k, names) for k in shown]),
        hide_index=True,
        key=state.table_key(ids),
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": [i for i, run_id in enumerate(ids) if run_id in ticked]}},
        row_height=ROW,
        placeholder="–",
        height=min(_MAX_ROWS, len(shown)) * ROW + 40,
        column_config={
            "Picture": st.column_config.ImageColumn("", width=62),
            "Name": st.column_config.TextColumn(width=95),
            "What": st.column_config.TextColumn(width=165),
            "Settings": st.column_config.TextColumn(width=120, help="Settings of the method."),
            "Grid": st.column_config.TextColumn(width=92, help="Voxels of the reconstruction (z, y, x)."),
            "Seed": st.column_config.TextColumn(width=46, help="Number of the noise of the measurement."),
            "PSNR": st.column_config.NumberColumn(
                format="%.1f dB", width=72, help=labels.METRIC_HELP["PSNR"]
            ),
            "Held-out": st.column_config.NumberColumn(
                format="%.2f %%", width=72, help=labels.METRIC_HELP["Held-out error"]
            ),
            "Time": st.column_config.NumberColumn(format="%.1f s", width=60, help=labels.METRIC_HELP["Time"]),
            "Size": st.column_config.NumberColumn(format="%.1f MB", width=70),
            "Made": st.column_config.DatetimeColumn(format="distance", width=105),
        },
    )
    return ticked_runs(event, shown)


def run_name(run: Run) -> str:
    """Return the name that the user gave the run, or its method."""
    return run.name or _KINDS.get(run.config.method) or labels.method_label(run.config.method)


def _page(runs: Sequence[StoredRun], names: dict[str, str]) -> Sequence[StoredRun]:
    """Return the matching runs of the current page."""
    if len(runs) <= _MAX_ROWS:
        return runs
    left, right = st.columns([3, 1])
    query = left.text_input(
        "Find",
        key=state.field("runs.find"),
        placeholder="a name, a method, a volume, 20 views",
        help="Show only runs with all of these words in their name or description.",
    )
    wanted = query.casefold().split()
    if wanted:
        runs = [k for k in runs if _matches(k.run, wanted, names)]
    if len(runs) <= PAGE:
        return runs
    first = right.selectbox(
        "Shown",
        range(0, len(runs), PAGE),
        # without the total, which would reset the choice with each new run
        format_func=lambda i: f"{i + 1}–{i + PAGE}",
        help="Range of runs in the table, newest first.",
    )
    return runs[first : first + PAGE]


def _matches(run: Run, wanted: Sequence[str], names: dict[str, str]) -> bool:
    method = labels.method_label(run.config.method)
    text = f"{run_name(run)} {method} {run.status} {_what(run, names)}".casefold()
    return all(word in text for word in wanted)


def ticked_runs(event: Any, runs: Sequence[StoredRun]) -> list[Run]:
    """Return the runs whose rows are ticked."""
    return [runs[i].run for i in event.selection.rows if i < len(runs)]


def table_row(k: StoredRun, names: dict[str, str]) -> dict[str, Any]:
    """Return the cells of a run, by column; `names` are the volumes' names by source."""
    run = k.run
    return {
        "Picture": volume_cache.thumbnail_url(run.id) if run.status in FINISHED else None,
        "Name": ("📌 " if run.pinned else "")
        + run_name(run)
        + ("" if run.status == "done" else f", {run.status}"),
        "What": _what(run, names),
        "Settings": labels.settings_summary(run.config) if isinstance(run.config, RunConfig) else "",
        "Grid": _grid(run),
        "Seed": str(seed)
        if (seed := getattr(getattr(run.config, "scan", run.config), "seed", None)) is not None
        else "",
        "PSNR": run.metrics.psnr if run.metrics else None,
        **_held_out(run),
        "Time": run.seconds or None,
        "Size": None if run.status == "queued" else k.size / 1e6,
        "Made": pd.Timestamp(run.created, unit="s"),
    }


def _held_out(run: Run) -> dict[str, float]:
    """Return the held-out error [%]; empty for simulated scans, so that their table has no such column."""
    relative = run.measured.held_out_relative if run.measured else None
    return {} if relative is None else {"Held-out": 100 * relative}


def _grid(run: Run) -> str:
    grid = getattr(getattr(run.config, "scan", run.config), "grid", None)
    return formatting.times(grid) if grid else "own"


def _what(run: Run, names: dict[str, str]) -> str:
    config = run.config
    if isinstance(config, RunConfig):
        return f"{labels.source_label(config.scan.source, names)}, {_scan(config.scan)}"
    source = getattr(config, "source", "")
    return labels.source_label(source, names) if source else formatting.times(config.grid)


def _scan(scan: Scan) -> str:
    """Return a short summary of the scan for narrow windows."""
    summary = labels.scan_summary(scan).removeprefix("parallel beam, ").replace(" per ray", "")
    return summary.replace(" planted", "")
