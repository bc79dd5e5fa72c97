"""What a session has chosen. Only this module spells session keys and URL parameters.

The order is scan -> run -> comparison: a change clears what depends on it. All of it is also in the URL, so that
a reload, which begins a new session, finds it again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.ui.session import loading

if TYPE_CHECKING:
    from tomopatch.runs.config import ScanConfig

_INSIDE, _SCAN, _RUN, _COMPARED, _RESTORED = "_inside", "_scan", "_run", "_compared", "_restored"
_PRIOR, _SWEEP, _CELL = "_prior", "_sweep", "_cell"
_LESSON, _STEP, _CHALLENGE = "_lesson", "_step", "_challenge"
_STEPS = tuple("123456789")
_LOOKED = "_looked"
_TABLE, _IN_TABLE = "runs_table", "_in_table"
_PLANE = "_plane"
_HEADED = "_headed"
_ADMINISTRATOR = "_administrator"
PLANES = ("axial", "coronal", "sagittal")
DOWNLOAD = "download"
_FORM = "form."
_FILES = _FORM + "files."  # uploads cannot be assigned
_MOST_NAMED = 200  # runs in an address: longer ones do not pass everywhere
_SAFE = ("phantom:", "volume:")  # a link must not make the server open files of its own disk


def enter() -> None:
    """A run of the app begins: pages can tell that they do not run alone."""
    st.session_state[_INSIDE] = True
    for key in [k for k in st.session_state if str(k).startswith(_FORM) and not str(k).startswith(_FILES)]:
        # assigning a widget's value to itself keeps it while another page is shown
        st.session_state[key] = st.session_state[key]
    _restore()


def leave() -> None:
    st.session_state.pop(_INSIDE, None)


def inside() -> bool:
    """Whether the page is run by app.py."""
    return _INSIDE in st.session_state


def turned_to(title: str) -> bool:
    """Whether the page before this run of the script was another; and this is now the one before."""
    before, st.session_state[_HEADED] = st.session_state.get(_HEADED), title
    return before != title


def _restore() -> None:
    """Take over what the URL says, once in a session."""
    if _RESTORED in st.session_state:
        return
    st.session_state[_RESTORED] = True
    text = text_of_scan = st.query_params.get("scan")
    if text and _SCAN not in st.session_state:
        loading.engine()
        from tomopatch.runs.config import (
            ScanConfig,  # with it comes the whole engine: not before it is needed
        )

        try:
            scan = ScanConfig.from_json(json.loads(text))
        except (ValueError, TypeError, RecursionError):
            st.toast("The scan in the address is not understood; choose one on Acquire.")
        else:
            if str(scan.source).startswith(_SAFE):
                st.session_state[_SCAN] = scan
            else:
                st.toast(
                    "The scan in the address is of a file, which no address opens; upload it on Acquire."
                )
    text = st.query_params.get("sweep")
    if text and _SWEEP not in st.session_state:
        try:
            st.session_state[_SWEEP] = {str(k): str(v) for k, v in json.loads(text).items()}
        except (ValueError, AttributeError, RecursionError):
            st.toast("The what-if in the address is not understood; choose one on What if.")
    text = st.query_params.get("challenge")
    if text and _CHALLENGE not in st.session_state:
        try:
            st.session_state[_CHALLENGE] = dict(json.loads(text))
        except (ValueError, TypeError, RecursionError):
            st.toast("The challenge in the address is not understood; start a new one on Learn.")
    if st.query_params.get("lesson"):
        st.session_state.setdefault(_LESSON, st.query_params["lesson"])
        step = st.query_params.get("step", "")
        st.session_state.setdefault(_STEP, int(step) if step in _STEPS else None)
    if st.query_params.get("run"):
        st.session_state.setdefault(_RUN, st.query_params["run"])
    if st.query_params.get("compare"):
        st.session_state.setdefault(_COMPARED, tuple(st.query_params["compare"].split(",")[:_MOST_NAMED]))
    if st.query_params.get("prior"):
        st.session_state.setdefault(_PRIOR, tuple(st.query_params["prior"].split(",")[:4]))
    if st.query_params.get("plane") in PLANES:
        st.session_state.setdefault(_PLANE, st.query_params["plane"])
    if not text_of_scan and _SCAN not in st.session_state:
        _scan_of_runs()


def _scan_of_runs() -> None:
    """An address may name runs alone: the first that is there knows its scan."""
    named = [name for name in (run_id(), *compared()) if name]
    if not named:
        return
    loading.engine()
    from pages.ui.session import engine  # as above: not before it is needed

    found = next((run for run in map(engine.known_run, named) if run is not None), None)
    if found is None:
        st.toast("The run in the address is not there (any more); choose another on Runs.")
    elif found.config.scan.source.startswith(_SAFE):
        st.session_state[_SCAN] = found.config.scan


def write_url() -> None:
    """Put the session's choices into the address; pages call it once they know them."""
    chosen = scan()
    wanted = {
        "scan": None if chosen is None else _short(chosen),
        "run": run_id(),
        "compare": ",".join(compared()[:_MOST_NAMED]) or None,
        "prior": ",".join(prior_runs()) or None,
        "plane": plane() if plane() != PLANES[0] else None,
        "lesson": lesson(),
        "step": str(step()) if step() else None,
        "challenge": json.dumps(challenge(), separators=(",", ":")) if challenge() else None,
        "sweep": json.dumps(sweep(), separators=(",", ":")) if sweep() else None,
    }
    for name, value in wanted.items():
        if value is None:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != value:
            st.query_params[name] = value


def scan() -> ScanConfig | None:
    return st.session_state.get(_SCAN)


def set_scan(chosen: ScanConfig, *, from_form: bool = False) -> None:
    """Another scan: the run and the comparison were of the old one, and so were the forms unless they chose it."""
    if not from_form:
        for key in [k for k in st.session_state if str(k).startswith(_FORM)]:
            del st.session_state[key]
    if chosen != scan():
        st.session_state[_SCAN] = chosen
        set_run(None)
        st.session_state[_COMPARED] = ()
        st.session_state.pop(_LOOKED, None)


def run_id() -> str | None:
    return st.session_state.get(_RUN)


def set_run(chosen: str | None) -> None:
    st.session_state[_RUN] = chosen


def compared() -> tuple[str, ...]:
    """The runs to compare; empty = those of the current scan."""
    return st.session_state.get(_COMPARED, ())


def set_compared(chosen: Sequence[str]) -> None:
    st.session_state[_COMPARED] = tuple(chosen)


def add_compared(run_id: str) -> None:
    """Another run for a comparison that was put together by hand."""
    chosen = compared()
    if chosen and run_id not in chosen:
        set_compared((*chosen, run_id))


def looked() -> dict[str, Any]:
    """Crosshair and window of Compare's pictures, once they were moved; the one object, kept up to date.

    A file that is made when its button is pressed sees by it what the person sees then.
    """
    return st.session_state.setdefault(_LOOKED, {})


def show_runs(run_ids: Sequence[str]) -> str:
    """The key of the table that shows these runs, the same as long as they are the same."""
    key = f"{_TABLE}.{hash(tuple(run_ids))}"
    st.session_state[_IN_TABLE] = (key, tuple(run_ids))
    return key


def ticked_runs() -> set[str]:
    """Those that are ticked in the table as it was last shown."""
    key, run_ids = st.session_state.get(_IN_TABLE, (_TABLE, ()))
    table = st.session_state.get(key)
    return {run_ids[i] for i in table["selection"]["rows"] if i < len(run_ids)} if table else set()


def administrator() -> bool:
    """Whether this session gave the administrator's password."""
    return get_script_run_ctx(suppress_warning=True) is not None and st.session_state.get(
        _ADMINISTRATOR, False
    )


def set_administrator() -> None:
    st.session_state[_ADMINISTRATOR] = True


def plane() -> str:
    """The plane in which volumes stand side by side, on all pages."""
    return st.session_state.get(_PLANE, PLANES[0])


def set_plane(chosen: str) -> None:
    if chosen not in PLANES:
        raise ValueError(f"the plane is one of {', '.join(PLANES)}, got {chosen!r}.")
    st.session_state[_PLANE] = chosen


def prior_runs() -> tuple[str, ...]:
    """What the Prior page shows: a drawn volume, or the passes that denoise one."""
    return st.session_state.get(_PRIOR, ())


def set_prior_runs(chosen: Sequence[str]) -> None:
    st.session_state[_PRIOR] = tuple(chosen)


def sweep() -> dict[str, str]:
    """What was typed on What if for each that is varied, and the methods with commas between; empty = nothing yet."""
    return st.session_state.get(_SWEEP, {})


def set_sweep(typed: dict[str, str]) -> None:
    st.session_state[_SWEEP] = typed


def cell() -> str | None:
    """The run behind the chosen point of a sweep."""
    return st.session_state.get(_CELL)


def set_cell(run_id: str) -> None:
    st.session_state[_CELL] = run_id


def download() -> str | None:
    """The run, or "reference", that is chosen for download."""
    return st.session_state.get(DOWNLOAD)


def lesson() -> str | None:
    """The lesson that is being read."""
    return st.session_state.get(_LESSON)


def set_lesson(name: str | None) -> None:
    st.session_state[_LESSON] = name


def step() -> int | None:
    """Which step of the lesson is being looked at, the first is 1; None = none, or the lesson itself is read."""
    return st.session_state.get(_STEP)


def set_step(number: int | None) -> None:
    st.session_state[_STEP] = number


def challenge() -> dict[str, Any]:
    """How far the search for a lesion is, as `pages.ui.learn.challenge` keeps it; empty = not begun."""
    return st.session_state.get(_CHALLENGE, {})


def set_challenge(kept: dict[str, Any]) -> None:
    st.session_state[_CHALLENGE] = kept


# ---- form fields ------------------------------------------------------------------------------------


def field(name: str) -> str:
    """The key of a form's widget. Its value is kept when the page is left; `files.` is for uploads, which are not."""
    return _FORM + name


def value(name: str, default: Any = None) -> Any:
    return st.session_state.get(field(name), default)


def fill(values: dict[str, Any], *, overwrite: bool = False) -> None:
    """Give widgets their values, before they are drawn."""
    for name, new in values.items():
        if overwrite or field(name) not in st.session_state:
            st.session_state[field(name)] = new


def _short(chosen: ScanConfig) -> str:
    """JSON of the fields that are not at their default."""
    defaults = {f.name: f.default for f in fields(chosen)}
    changed = {k: v for k, v in asdict(chosen).items() if v != defaults[k]}
    return json.dumps(changed, separators=(",", ":"))
