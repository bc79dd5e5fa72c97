"""Progress bars of runs, with their buttons, and messages about runs without a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from pages.ui.session import engine, volume_cache
from pages.ui.texts import formatting, messages
from tomopatch.execution.progress import Progress
from tomopatch.runs.run import ACTIVE, Run

POLL = 1.2  # seconds; each refresh takes 0.2 s of the cores that compute
BAR = "run_bar"  # page.css fixes its height


def run_bar(run_id: str, now: Progress, title: str, outcome: str, *, instant: bool = False) -> bool:
    """Show a run's progress and buttons, or its outcome with a choice of the replay.

    Return True for the replay.
    """
    with st.container(key=BAR):  # fixed height: nothing below moves when the run ends
        if now.status in ACTIVE:
            _active_bar(run_id, now, title, instant)
            return False
        return _finished_bar(run_id, title, outcome, instant)


def _active_bar(run_id: str, now: Progress, title: str, instant: bool) -> None:
    done, cancel, finish = st.columns([2.6, 1, 1.4], vertical_alignment="center")
    done.progress(now.share, text=f"{title}: {messages.progress_line(now)}")
    if instant:
        return
    cancel.button(
        "Cancel",
        key=f"cancel.{run_id}",
        on_click=engine.cancel,
        args=(run_id,),
        help="Stop this run and discard its volume.",
        width="stretch",
    )
    finish.button(
        "Finish now",
        key=f"finish.{run_id}",
        on_click=engine.finish,
        args=(run_id,),
        width="stretch",
        help="Stop this run and keep the current volume.",
    )


def _finished_bar(run_id: str, title: str, outcome: str, instant: bool) -> bool:
    text, choice = st.columns([2, 1.5], vertical_alignment="center")
    text.caption(f"{title}: {outcome}")
    if instant or not volume_cache.has_history(run_id):
        return False
    with choice, st.container(horizontal=True, horizontal_alignment="right"):
        chosen = st.segmented_control(
            "Show",
            ["Result", "Replay"],
            default="Result",
            required=True,
            key=f"show.{run_id}",
            label_visibility="collapsed",
            help="*Result* shows the final volume, *Replay* the steps of the run with a slider.",
        )
    return chosen == "Replay"


def active_runs_bar(
    active: Sequence[tuple[Run[Any], str, Progress]],
    describe: Callable[[Progress], str] = messages.progress_line,
) -> None:
    """Show one line about the unfinished runs and a button to cancel each."""
    if not active:
        st.caption("All of these runs are done.")
        return
    _, name, first = next((entry for entry in active if entry[2].status == "running"), active[0])
    more = f"; {len(active) - 1} more to come" if len(active) > 1 else ""
    bar, cancel = st.columns([5, 1.2], vertical_alignment="center")
    bar.progress(first.share, text=f"{name}: {describe(first)}{more}")
    with cancel.popover("Cancel", width="stretch", help="Choose a run to stop; its volume is discarded."):
        for run, name, _ in active:
            st.button(
                f"Cancel {name}",
                key=f"cancel.{run.id}",
                on_click=engine.cancel,
                args=(run.id,),
                width="stretch",
                help="Stop this run and discard its volume.",
            )


def show_no_result(now: Progress) -> None:
    """Explain why a run has no volume."""
    if now.status == "failed":
        st.error(f"**This run produced no volume.** {formatting.plain(now.message, 600)}")
    else:
        st.info("This run was cancelled; its volume was discarded. Press *Run* to start it again.")
