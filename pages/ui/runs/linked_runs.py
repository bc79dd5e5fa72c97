"""Runs that a link names and this server does not have: an offer to make them again."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.ui.session import engine, state
from pages.ui.texts import labels, messages


def offer(missing: Sequence[str]) -> None:
    """Say which runs of the link are missing; a button makes those again whose settings the link carries."""
    known = state.linked_runs()
    can_be_made = [run_id for run_id in missing if run_id in known]
    if not can_be_made:
        st.warning(f"{messages.missing_runs(len(missing))} Choose others below or on Runs.")
        return
    names = ", ".join(dict.fromkeys(labels.method_label(known[run_id].method) for run_id in can_be_made))
    st.warning(f"{messages.missing_runs(len(missing))} The link carries their settings: {names}.")
    st.button(
        "Make them again" if len(can_be_made) > 1 else "Make it again",
        type="primary",
        key="make_linked",
        on_click=_make,
        args=(can_be_made,),
        help="Queue these runs with the settings of the link.",
    )


def _make(missing: Sequence[str]) -> None:
    """Queue the runs and put them in the place of the missing ones."""
    known = state.linked_runs()
    made = {run_id: engine.queue().submit(known[run_id]) for run_id in missing}
    state.set_compared([made.get(run_id, run_id) for run_id in state.compared()])
    if state.run_id() in made:
        state.set_run(made[state.run_id() or ""])
