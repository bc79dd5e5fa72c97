"""Content of Runs: storage, table, and actions for ticked runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache

import streamlit as st

from pages.ui.runs import runs_table
from pages.ui.session import engine, routes, shell, state, visitor
from pages.ui.texts import messages
from tomopatch.runs.config import RunConfig
from tomopatch.runs.limits import is_administrators, shared
from tomopatch.runs.run import ACTIVE, Run
from tomopatch.store.eviction import DEFAULT_LIMIT, StoredRun, limit_bytes, size_on_disk

MAX_NAME_LENGTH = 60
WRONG_PASSWORD = 1.0
"""Seconds of delay after a wrong password, against guessing."""


def view() -> None:
    """Show the whole page."""
    runs = runs_with_sizes()
    if not runs:
        shell.show_missing(
            "**There are no runs yet.** Design a scan on Acquire, or run the demo.",
            routes.ACQUIRE,
            with_demo=True,
        )
    _storage_bar(runs)
    _administrator()
    actions = st.container(key="run_actions")  # above the table, which can extend below the screen
    chosen = runs_table.choose(runs)
    with actions:
        if not chosen:
            st.caption("Tick runs in the first column to open, compare, name, keep or delete them.")
            return
        _actions(chosen)
    failed = [(runs_table.run_name(run), run.message) for run in chosen if run.status == "failed"]
    for sentence in messages.failed_runs(failed):
        st.warning(sentence)


def runs_with_sizes() -> list[StoredRun]:
    """Return all runs with their sizes on disk; those of finished runs are cached."""
    found = []
    for run in engine.store().all_runs():
        size = _current_size(run.id) if run.status in ACTIVE else _final_size(run.id, run.status)
        found.append(StoredRun(run, size, run.created))
    return found


def _current_size(run_id: str) -> int:
    try:
        return size_on_disk(engine.store().run_folder(run_id))
    except ValueError:  # deleted meanwhile
        return 0


@lru_cache(maxsize=5000)  # lookups in Streamlit's cache take longer than drawing a page of runs
def _final_size(run_id: str, status: str) -> int:
    return _current_size(run_id)


def _storage_bar(runs: Sequence[StoredRun]) -> None:
    used = sum(k.size for k in runs)
    try:
        limit = limit_bytes()
    except ValueError as error:
        st.warning(messages.error_sentence(error))
        limit = 1e9 * DEFAULT_LIMIT
    st.progress(
        min(1.0, used / limit),
        text=f"{len(runs)} run{'s' * (len(runs) != 1)}, {_size(used)} of {_size(limit)}. When full, the "
        "oldest unused runs are deleted, except those you keep.",
    )


# ---- actions ------------------------------------------------------------------------------------------


def _actions(runs: list[Run]) -> None:
    scans = [run for run in runs if isinstance(run.config, RunConfig)]
    one, several = len(runs) == 1, f"{len(runs)} runs"
    a, b, c, d = st.columns(4)
    if a.button(
        "Open" if one else "Compare",
        type="primary",
        key="runs_open",
        width="stretch",
        disabled=not comparable(runs) and not one,
        help="Open one run on its page, or compare several runs of the same volume.",
    ):
        _open(runs, scans)
    everything = all(run.pinned for run in runs)
    b.button(
        "Do not keep" if everything else "Keep",
        key="runs_pin",
        width="stretch",
        on_click=_pin,
        args=([run.id for run in runs], not everything),
        help="A kept run is never deleted to free space.",
    )
    with c.popover("Name", width="stretch", disabled=not one, help="Name of this run in the table."):
        st.text_input(
            "Name",
            key=state.field(f"runs.name.{runs[0].id}"),
            max_chars=MAX_NAME_LENGTH,
            value=runs[0].name,
            on_change=_rename,
            args=(runs[0].id,),
            help="Leave empty to use the method's name.",
        )
    with d.popover("Delete", width="stretch", help="Delete the ticked runs."):
        st.markdown(f"Delete {'this run' if one else several} for good?")
        st.button(
            "Delete for good",
            key="runs_delete",
            type="primary",
            on_click=_delete,
            args=([run.id for run in runs],),
            help="Unfinished runs are stopped first.",
        )


def comparable(runs: Sequence[Run]) -> bool:
    """Whether all are reconstructions of one volume on one grid."""
    objects = {
        (run.config.scan.object, run.config.scan.grid) if isinstance(run.config, RunConfig) else None
        for run in runs
    }
    return len(objects) == 1 and None not in objects


def _open(runs: list[Run], scans: list[Run]) -> None:
    if not scans:
        state.set_prior_runs([runs[0].id])
        st.switch_page(routes.PRIOR)
    state.set_scan(scans[0].config.scan)
    state.set_run(scans[0].id)
    if len(scans) > 1:
        state.set_compared([run.id for run in scans])
        st.switch_page(routes.COMPARE)
    st.switch_page(routes.RECONSTRUCT)


def _pin(run_ids: list[str], pinned: bool) -> None:
    refused = [engine.queue().pin(run_id, pinned) for run_id in run_ids]
    engine.show_refusal(next(filter(None, refused), ""))


def _rename(run_id: str) -> None:
    engine.show_refusal(
        engine.queue().rename(run_id, state.value(f"runs.name.{run_id}", "").strip()[:MAX_NAME_LENGTH])
    )


def _delete(run_ids: list[str]) -> None:
    refused = [engine.queue().delete(run_id) for run_id in run_ids]
    engine.show_refusal(next(filter(None, refused), ""))
    if not all(refused):
        st.toast("Deleted.")


def _administrator() -> None:
    """On a shared server, offer the password that gives this session administrator rights."""
    if not shared() or visitor.is_administrator():
        return
    with st.popover(
        "Administrator", help="Administrators can stop, name, keep and delete the runs of all visitors."
    ):
        password = st.text_input(
            "Password",
            type="password",
            key="administrator",
            help="Password that was set when the server was started.",
        )
        if password and is_administrators(password):
            visitor.set_administrator()
            st.rerun()
        elif password:
            time.sleep(WRONG_PASSWORD)
            st.error("This is not the administrator's password.")


def _size(bytes: float) -> str:
    return f"{bytes / 1e9:.1f} GB" if bytes >= 1e9 else f"{bytes / 1e6:.0f} MB"
