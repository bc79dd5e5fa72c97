"""All runs, the room that they take, and what can be done with those that are chosen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache

import streamlit as st

from pages.ui.runs import runs_table
from pages.ui.session import engine, routes, shell, state, words
from tomopatch.runs.config import RunConfig
from tomopatch.runs.limits import is_administrators, shared
from tomopatch.runs.run import ACTIVE, Run
from tomopatch.store.eviction import DEFAULT_LIMIT, StoredRun, limit_bytes, size_on_disk

MOST_NAME = 60
WRONG_PASSWORD = 1.0
"""Seconds that a wrong password takes, so that guessing does not get far."""


def view() -> None:
    runs = kept()
    if not runs:
        shell.missing(
            "**Nothing was made here yet.** Start with a scan, or run the demo.",
            routes.ACQUIRE,
            with_demo=True,
        )
    _room(runs)
    _administrator()
    chosen = runs_table.choose(runs)
    if not chosen:
        st.caption("Tick runs on the left to open, compare, name, keep or delete them.")
        return
    _actions(chosen)
    failed = [(runs_table.called(run), run.message) for run in chosen if run.status == "failed"]
    for sentence in words.without_volume(failed):
        st.warning(sentence)


def kept() -> list[StoredRun]:
    """All runs with their sizes; that of a run that is over does not change and is counted once."""
    found = []
    for run in engine.store().all_runs():
        size = _changing_size(run.id) if run.status in ACTIVE else _size_of(run.id, run.status)
        found.append(StoredRun(run, size, run.created))
    return found


def _changing_size(run_id: str) -> int:
    try:
        return size_on_disk(engine.store().run_folder(run_id))
    except ValueError:  # deleted meanwhile
        return 0


@lru_cache(maxsize=5000)  # Streamlit's cache takes longer to ask than a page of runs to draw
def _size_of(run_id: str, status: str) -> int:
    return _changing_size(run_id)


def _room(runs: Sequence[StoredRun]) -> None:
    used = sum(k.size for k in runs)
    try:
        limit = limit_bytes()
    except ValueError as error:
        st.warning(words.plain(error))
        limit = 1e9 * DEFAULT_LIMIT
    st.progress(
        min(1.0, used / limit),
        text=f"{len(runs)} run{'s' * (len(runs) != 1)}, {_size(used)} of {_size(limit)}. When it is full, those unused for longest go; kept ones "
        "stay.",
    )


# ---- what can be done -------------------------------------------------------------------------------------


def _actions(runs: list[Run]) -> None:
    scans = [run for run in runs if isinstance(run.config, RunConfig)]
    one, several = len(runs) == 1, f"{len(runs)} runs"
    a, b, c, d = st.columns(4)
    if a.button(
        "Open" if one else "Compare",
        type="primary",
        key="runs_open",
        width="stretch",
        disabled=not _comparable(runs) and not one,
        help="One run where it was made; several of the same volume side by side.",
    ):
        _open(runs, scans)
    everything = all(run.pinned for run in runs)
    b.button(
        "Do not keep" if everything else "Keep",
        key="runs_pin",
        width="stretch",
        on_click=_pin,
        args=([run.id for run in runs], not everything),
        help="A kept run is never removed to make room.",
    )
    with c.popover("Name", width="stretch", disabled=not one, help="What this run is called in the table."):
        st.text_input(
            "Name",
            key=state.field(f"runs.name.{runs[0].id}"),
            max_chars=MOST_NAME,
            value=runs[0].name,
            on_change=_rename,
            args=(runs[0].id,),
            help="Left empty: the method's name.",
        )
    with d.popover("Delete", width="stretch", help="Remove from the store what is ticked."):
        st.markdown(f"Delete {'this run' if one else several} for good?")
        st.button(
            "Delete for good",
            key="runs_delete",
            type="primary",
            on_click=_delete,
            args=([run.id for run in runs],),
            help="Runs that are at work are stopped first.",
        )


def _comparable(runs: Sequence[Run]) -> bool:
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
    engine.toast(next(filter(None, refused), ""))


def _rename(run_id: str) -> None:
    engine.toast(engine.queue().rename(run_id, state.value(f"runs.name.{run_id}", "").strip()[:MOST_NAME]))


def _delete(run_ids: list[str]) -> None:
    refused = [engine.queue().delete(run_id) for run_id in run_ids]
    engine.toast(next(filter(None, refused), ""))
    if not all(refused):
        st.toast("Deleted.")


def _administrator() -> None:
    """On a shared server: the password that makes this session an administrator's."""
    if not shared() or state.administrator():
        return
    with st.popover(
        "Administrator", help="An administrator may stop, name, keep and delete the runs of all visitors."
    ):
        password = st.text_input(
            "Password", type="password", key="administrator", help="It is set where the server is started."
        )
        if password and is_administrators(password):
            state.set_administrator()
            st.rerun()
        elif password:
            time.sleep(WRONG_PASSWORD)
            st.error("This is not the administrator's password.")


def _size(bytes: float) -> str:
    return f"{bytes / 1e9:.1f} GB" if bytes >= 1e9 else f"{bytes / 1e6:.0f} MB"
