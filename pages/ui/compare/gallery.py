"""Gallery of all runs of a volume, by method; a click adds a run to the comparison."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from pages.ui.session import state, volume_cache
from pages.ui.texts import labels
from pages.ui.texts.run_names import short_names
from tomopatch.runs.config import Scan
from tomopatch.runs.run import FINISHED, Run

COLUMNS = 6
MAX_PER_METHOD = 12
"""Largest number of pictures for a method; the newest are shown."""


def gallery(scan: Scan, runs: Sequence[Run], chosen: Sequence[Run]) -> None:
    """Show the finished runs by method, newest first.

    Parameters
    ----------
    chosen : sequence of Run
        Runs of the current comparison.
    """
    section = st.expander("All runs of this volume, by method", key="compare.gallery", on_change="rerun")
    if not section.open:
        return  # a closed section sends no pictures
    methods = dict.fromkeys(run.config.method for run in (*chosen, *runs))
    done = [run for run in runs if run.status in FINISHED]
    newest = [
        run for method in methods for run in [r for r in done if r.config.method == method][:MAX_PER_METHOD]
    ]
    compared = [run.id for run in chosen]
    with section:
        if len(newest) < len(done):
            st.caption(f"The newest {MAX_PER_METHOD} runs of each method; {len(done)} runs in all.")
        named = list(zip(newest, short_names([run.config for run in newest]), strict=True))
        for first in range(0, len(named), COLUMNS):
            for place, (run, name) in zip(st.columns(COLUMNS), named[first : first + COLUMNS], strict=False):
                with place:
                    _entry(run, name, scan, run.id in compared, chosen=compared)


def _entry(run: Run, name: str, scan: Scan, shown: bool, *, chosen: list[str]) -> None:
    picture = volume_cache.thumbnail_url(run.id)
    label = labels.run_label(run, scan)
    if picture is not None:
        alt = html.escape(f"Middle slice of {label}")
        st.html(f'<img alt="{alt}" src="{picture}" style="width:100%;border-radius:6px">')
    st.caption(f"**{name}**  \n{labels.quality_note(run) or '–'}")
    others = [r for r in chosen if r != run.id]
    st.button(
        "Leave out" if shown else "Add",
        key=f"gallery.{run.id}",
        disabled=shown and not others,
        on_click=state.set_compared,
        args=(others if shown else [*chosen, run.id],),
        width="stretch",
        help=f"{'Remove from the comparison; the run is kept' if shown else 'Add to the comparison'}: "
        f"{label}.",
    )
