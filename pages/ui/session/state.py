"""Choices of a session. This module alone names the keys of the session.

The order is scan, run, comparison: a change clears the choices that depend on it. `pages.ui.session.address`
writes all choices into the URL.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, get_args

import streamlit as st

if TYPE_CHECKING:
    from tomopatch.runs.config import RunConfig, Scan

_IN_APP, _PAGE = "_inside", "_headed"
SCAN, RUN, COMPARED, PRIOR_RUNS = "_scan", "_run", "_compared", "_prior"
SWEEP, SWEEP_RUN = "_sweep", "_cell"
LINKED, _SHOWN = "_linked", "_shown"
ANALYSIS = "compare.look"
LESSON, STEP, CHALLENGE, DONE = "_lesson", "_step", "_challenge", "_done"
CONTRAST = "_contrast"
PLANE = "_plane"
_COMPARE_VIEW, _OPENED_VIEW = "_looked", "_opened_view"
_TABLE, _IN_TABLE = "runs_table", "_in_table"
Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = get_args(Plane)
DOWNLOAD, _BEST = "download", "_best_download"
_FORM = "form."
_FILES = _FORM + "files."  # the value of an upload cannot be assigned


# ---- script runs --------------------------------------------------------------------------------------


def begin_script() -> None:
    """Mark the run of the script as one of the app, and keep the values of forms on other pages."""
    st.session_state[_IN_APP] = True
    for key in [k for k in st.session_state if str(k).startswith(_FORM) and not str(k).startswith(_FILES)]:
        # assigning a widget's value to itself keeps it while another page is shown
        st.session_state[key] = st.session_state[key]


def end_script() -> None:
    st.session_state.pop(_IN_APP, None)


def in_app() -> bool:
    """Whether app.py runs the page."""
    return _IN_APP in st.session_state


def page_changed(title: str) -> bool:
    """Whether the previous run of the script showed another page; remembers this one."""
    before, st.session_state[_PAGE] = st.session_state.get(_PAGE), title
    return before != title


# ---- choices ------------------------------------------------------------------------------------------


def scan() -> Scan | None:
    return st.session_state.get(SCAN)


def set_scan(chosen: Scan, *, from_form: bool = False) -> None:
    """Choose a scan. Another scan clears run and comparison, and the forms unless it comes from them."""
    if not from_form:
        clear_forms()
    if chosen != scan():
        st.session_state[SCAN] = chosen
        set_run(None)
        st.session_state[COMPARED] = ()
        st.session_state.pop(_COMPARE_VIEW, None)


def run_id() -> str | None:
    return st.session_state.get(RUN)


def set_run(chosen: str | None) -> None:
    st.session_state[RUN] = chosen


def compared() -> tuple[str, ...]:
    """Return the runs to compare; empty stands for those of the current scan."""
    return st.session_state.get(COMPARED, ())


def set_compared(chosen: Sequence[str]) -> None:
    st.session_state[COMPARED] = tuple(chosen)


def shown() -> tuple[str, ...]:
    """Return all runs that Compare showed last, including those of its default selection."""
    return st.session_state.get(_SHOWN, ())


def set_shown(runs: Sequence[str]) -> None:
    st.session_state[_SHOWN] = tuple(runs)


def add_compared(run_id: str) -> None:
    """Add a run to a comparison whose runs the user chose."""
    chosen = compared()
    if chosen and run_id not in chosen:
        set_compared((*chosen, run_id))


def linked_runs() -> dict[str, RunConfig]:
    """Return the configurations of the runs that the address names, by id.

    They allow runs that are not on this server to be made again.
    """
    return st.session_state.get(LINKED, {})


def set_linked_runs(configs: dict[str, RunConfig]) -> None:
    st.session_state[LINKED] = configs


def compare_view() -> dict[str, Any]:
    """Return crosshair and window of the pictures on Compare, once the user has moved them.

    Downloads keep this object, which is updated in place, and use its values at the time of the click.
    """
    return st.session_state.setdefault(_COMPARE_VIEW, {})


def opened_view() -> str:
    """Return the view of the experiment that was opened last, after a number that grows with each; or ""."""
    return st.session_state.get(_OPENED_VIEW, "")


def set_opened_view(view: str) -> None:
    number = int(opened_view().partition(":")[0] or 0) + 1
    st.session_state[_OPENED_VIEW] = f"{number}:{view}"


def plane() -> Plane:
    """Return the plane of pictures side by side, shared by all pages."""
    chosen: Plane = st.session_state.get(PLANE, PLANES[0])
    return chosen


def set_plane(chosen: str) -> None:
    if chosen not in PLANES:
        raise ValueError(f"the plane is one of {', '.join(PLANES)}, got {chosen!r}.")
    st.session_state[PLANE] = chosen


def prior_runs() -> tuple[str, ...]:
    """Return the runs on Prior: a generated volume, or the passes that denoise one."""
    return st.session_state.get(PRIOR_RUNS, ())


def set_prior_runs(chosen: Sequence[str]) -> None:
    st.session_state[PRIOR_RUNS] = tuple(chosen)


def sweep() -> dict[str, str]:
    """Return the texts of the fields on What if and the methods, separated by commas.

    Empty before the first visit.
    """
    return st.session_state.get(SWEEP, {})


def set_sweep(typed: dict[str, str]) -> None:
    st.session_state[SWEEP] = typed


def sweep_run() -> str | None:
    """Return the run of the selected point of a sweep."""
    return st.session_state.get(SWEEP_RUN)


def set_sweep_run(run_id: str) -> None:
    st.session_state[SWEEP_RUN] = run_id


def download() -> str | None:
    """Return the run, or "reference", that is selected for download."""
    return st.session_state.get(DOWNLOAD)


def default_download(best: str, options: Sequence[str]) -> None:
    """Select this run for download until the user selects another; also if that one is no longer offered."""
    if download() in (None, st.session_state.get(_BEST)) or download() not in options:
        st.session_state[DOWNLOAD] = best
        st.session_state[_BEST] = best


def lesson() -> str | None:
    """Return the current lesson."""
    return st.session_state.get(LESSON)


def set_lesson(name: str | None) -> None:
    st.session_state[LESSON] = name


def step() -> int | None:
    """Return the number of the open step of the lesson, from 1; None while no step is open."""
    return st.session_state.get(STEP)


def set_step(number: int | None) -> None:
    st.session_state[STEP] = number


def done_lessons() -> tuple[str, ...]:
    """Return the lessons whose last step was opened."""
    return st.session_state.get(DONE, ())


def add_done_lesson(name: str) -> None:
    if name not in done_lessons():
        st.session_state[DONE] = (*done_lessons(), name)


def challenge() -> dict[str, Any]:
    """Return the state of the challenge as `pages.ui.learn.challenge` stores it.

    Empty before the first game.
    """
    return st.session_state.get(CHALLENGE, {})


def set_challenge(stored: dict[str, Any]) -> None:
    st.session_state[CHALLENGE] = stored


def contrast_game() -> dict[str, Any]:
    """Return the state of the contrast challenge as `pages.ui.learn.contrast` stores it.

    Empty before the first game.
    """
    return st.session_state.get(CONTRAST, {})


def set_contrast_game(stored: dict[str, Any]) -> None:
    st.session_state[CONTRAST] = stored


def forget_choices() -> None:
    """Forget all choices and the values of forms, before those of another address are restored."""
    clear_forms()
    for key in (
        SCAN,
        RUN,
        COMPARED,
        PRIOR_RUNS,
        SWEEP,
        LESSON,
        STEP,
        CHALLENGE,
        CONTRAST,
        PLANE,
        LINKED,
        _COMPARE_VIEW,
    ):
        st.session_state.pop(key, None)


def clear_forms() -> None:
    for key in [k for k in st.session_state if str(k).startswith(_FORM)]:
        del st.session_state[key]


# ---- the table of runs --------------------------------------------------------------------------------


def table_key(run_ids: Sequence[str]) -> str:
    """Return the key of the table that shows these runs; the same runs have the same key."""
    key = f"{_TABLE}.{hash(tuple(run_ids))}"
    st.session_state[_IN_TABLE] = (key, tuple(run_ids))
    return key


def ticked_runs() -> set[str]:
    """Return the runs that are ticked in the table shown last."""
    key, run_ids = st.session_state.get(_IN_TABLE, (_TABLE, ()))
    table = st.session_state.get(key)
    return {run_ids[i] for i in table["selection"]["rows"] if i < len(run_ids)} if table else set()


# ---- form fields --------------------------------------------------------------------------------------


def field(name: str) -> str:
    """Return the key of a form's widget. Other pages keep its value, except for uploads (`files.`)."""
    return _FORM + name


def value(name: str, default: Any = None) -> Any:
    return st.session_state.get(field(name), default)


def fill(values: dict[str, Any], *, overwrite: bool = False) -> None:
    """Set values of widgets before they are drawn."""
    for name, new in values.items():
        if overwrite or field(name) not in st.session_state:
            st.session_state[field(name)] = new
