"""The table of all runs: found by words, a page at a time, and which of them are ticked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.session import engine, state, words
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.run import FINISHED, Run
from tomopatch.store.eviction import StoredRun

PAGE = 100  # runs; each brings its picture
ROW = 64  # pixels; from 4 rem on text goes on in another line, so that a narrow window shows all columns
_HIGH = 10  # rows; what does not fit is scrolled
_KINDS = {"generate": "Prior, generated", "denoise": "Prior, denoised"}


def choose(runs: Sequence[StoredRun]) -> list[Run]:
    """Show the runs; returns those that are ticked.

    A tick is the place of a row. Others make runs meanwhile, which move the rows: so it counts for the run that stood there
    when it was made, and a table of other runs is another one, ticked where the same runs are.
    """
    ticked = state.ticked_runs()
    names = {v.digest: v.name for v in engine.store().volumes()}
    shown = _page(runs, names)
    if not shown:
        st.caption("No run has all of these words.")
        return []
    ids = [k.run.id for k in shown]
    event = st.dataframe(
        pd.DataFrame([_row(k, names) for k in shown]),
        hide_index=True,
        key=state.show_runs(ids),
        on_select="rerun",
        selection_mode="multi-row",
        selection_default={"selection": {"rows": [i for i, run_id in enumerate(ids) if run_id in ticked]}},
        row_height=ROW,
        placeholder="–",
        height=min(_HIGH, len(shown)) * ROW + 40,
        column_config={
            "Picture": st.column_config.ImageColumn("", width=62),
            "Name": st.column_config.TextColumn(width=95),
            "What": st.column_config.TextColumn(width=165),
            "PSNR": st.column_config.NumberColumn(format="%.1f dB", width=72, help=words.MEASURES["PSNR"]),
            "Time": st.column_config.NumberColumn(format="%.1f s", width=60, help=words.MEASURES["Time"]),
            "Size": st.column_config.NumberColumn(format="%.1f MB", width=70),
            "Made": st.column_config.DatetimeColumn(format="distance", width=105),
        },
    )
    return _ticked(event, shown)


def called(run: Run) -> str:
    """The name that it was given, or what it is."""
    return run.name or _KINDS.get(run.config.method) or words.method_label(run.config.method)


def _page(runs: Sequence[StoredRun], names: dict[str, str]) -> Sequence[StoredRun]:
    """Those that are looked for, so many as are quickly shown."""
    if len(runs) <= _HIGH:
        return runs
    left, right = st.columns([3, 1])
    looked_for = left.text_input(
        "Find",
        key=state.field("runs.find"),
        placeholder="a name, a method, a volume, 20 views",
        help="Runs that have all of these words in their name or description.",
    )
    wanted = looked_for.casefold().split()
    if wanted:
        runs = [k for k in runs if _has(k.run, wanted, names)]
    if len(runs) <= PAGE:
        return runs
    first = right.selectbox(
        "Shown",
        range(0, len(runs), PAGE),
        # not how many there are: that would begin another choice with each new run
        format_func=lambda i: f"{i + 1}–{i + PAGE}",
        help="The newest are the first.",
    )
    return runs[first : first + PAGE]


def _has(run: Run, wanted: Sequence[str], names: dict[str, str]) -> bool:
    text = (
        f"{called(run)} {words.method_label(run.config.method)} {run.status} {_what(run, names)}".casefold()
    )
    return all(word in text for word in wanted)


def _ticked(event: Any, runs: Sequence[StoredRun]) -> list[Run]:
    """The runs whose rows are chosen."""
    return [runs[i].run for i in event.selection.rows if i < len(runs)]


def _row(k: StoredRun, names: dict[str, str]) -> dict[str, Any]:
    run = k.run
    return {
        "Picture": engine.picture(run.id) if run.status in FINISHED else None,
        "Name": ("📌 " if run.pinned else "")
        + called(run)
        + ("" if run.status == "done" else f", {run.status}"),
        "What": _what(run, names),
        "PSNR": run.metrics.psnr if run.metrics else None,
        "Time": run.seconds or None,
        "Size": None if run.status == "queued" else k.size / 1e6,
        "Made": pd.Timestamp(run.created, unit="s"),
    }


def _what(run: Run, names: dict[str, str]) -> str:
    config = run.config
    if isinstance(config, RunConfig):
        return f"{words.source_words(config.scan.source, names)}, {_scan(config.scan)}"
    source = getattr(config, "source", "")
    return words.source_words(source, names) if source else words.times(config.grid)


def _scan(scan: ScanConfig) -> str:
    """The scan in so few words that a row holds them in a narrow window, too."""
    told = words.scan_words(scan).removeprefix("parallel beam, ").replace(" a ray", "")
    return told.replace(" planted", "")
