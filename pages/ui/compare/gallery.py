"""All runs of a volume as small pictures, method by method; one click puts a run beside the others."""

from __future__ import annotations

import html
from collections.abc import Sequence

import streamlit as st

from pages.ui.session import engine, state, words
from pages.ui.session.names import short_names
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.run import FINISHED, Run

ACROSS = 6
MOST = 12
"""Pictures of one method: the newest."""


def gallery(scan: ScanConfig, runs: Sequence[Run], chosen: Sequence[Run]) -> None:
    """The finished ones of these runs, newest first, method by method.

    Parameters
    ----------
    chosen : sequence of Run
        Those that are compared.
    """
    shelf = st.expander("All runs of this volume, by method", key="compare.gallery", on_change="rerun")
    if not shelf.open:
        return  # many pictures: not before somebody looks
    methods = dict.fromkeys(run.config.method for run in (*chosen, *runs))
    done = [run for run in runs if run.status in FINISHED]
    newest = [run for method in methods for run in [r for r in done if r.config.method == method][:MOST]]
    here = [run.id for run in chosen]
    with shelf:
        if len(newest) < len(done):
            st.caption(f"The newest {MOST} of each method, of {len(done)} runs.")
        named = list(zip(newest, short_names([run.config for run in newest]), strict=True))
        for first in range(0, len(named), ACROSS):
            for place, (run, name) in zip(st.columns(ACROSS), named[first : first + ACROSS], strict=False):
                with place:
                    _one(run, name, scan, run.id in here, chosen=here)


def _one(run: Run, name: str, scan: ScanConfig, shown: bool, *, chosen: list[str]) -> None:
    picture = engine.picture(run.id)
    told = words.run_words(run, scan)
    if picture is not None:
        alt = html.escape(f"Middle slice of {told}")
        st.html(f'<img alt="{alt}" src="{picture}" style="width:100%;border-radius:6px">')
    psnr = f"{run.metrics.psnr:.1f} dB" if run.metrics else "–"
    st.caption(f"**{name}**  \n{psnr}")
    others = [r for r in chosen if r != run.id]
    st.button(
        "Leave out" if shown else "Add",
        key=f"gallery.{run.id}",
        disabled=shown and not others,
        on_click=state.set_compared,
        args=(others if shown else [*chosen, run.id],),
        width="stretch",
        help=f"{'Take it out of the comparison; the run is kept' if shown else 'Put it beside the others'}: {told}.",
    )
