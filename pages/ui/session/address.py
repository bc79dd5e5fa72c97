"""The address of a session: a reload or a shared link restores the choices in `pages.ui.session.state`.

This module alone names the parameters of the URL.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import streamlit as st

from pages.ui.session import loading, state

if TYPE_CHECKING:
    from tomopatch.runs.config import Scan

_RESTORED = "_restored"
_STEPS = tuple("123456789")
_MAX_RUNS = 200  # runs in an address; longer addresses are not accepted everywhere
_MAX_PRIOR_RUNS = 4
_MAX_CHARACTERS = 100_000  # of a scan in an address; one with all lesions has 2000
_MAX_REASON = 250  # characters of the reason why a scan in an address cannot be used
_SAFE_SOURCES = ("phantom:", "volume:", "scan:")  # a link must not make the server open its files


def restore() -> None:
    """Take over the choices in the URL, once in a session."""
    if _RESTORED in st.session_state:
        return
    st.session_state[_RESTORED] = True
    parameters = st.query_params
    if parameters.get("scan") and state.SCAN not in st.session_state:
        _restore_scan(parameters["scan"])
    if parameters.get("sweep") and state.SWEEP not in st.session_state:
        try:
            typed = {str(k): str(v) for k, v in json.loads(parameters["sweep"]).items()}
            st.session_state[state.SWEEP] = typed
        except (ValueError, AttributeError, RecursionError):
            st.toast("The values for What if in this link are not readable. Choose others on What if.")
    if parameters.get("challenge") and state.CHALLENGE not in st.session_state:
        try:
            st.session_state[state.CHALLENGE] = dict(json.loads(parameters["challenge"]))
        except (ValueError, TypeError, RecursionError):
            st.toast("The challenge in this link is not readable. Start a new one on Learn.")
    if parameters.get("lesson"):
        st.session_state.setdefault(state.LESSON, parameters["lesson"])
        step = parameters.get("step", "")
        st.session_state.setdefault(state.STEP, int(step) if step in _STEPS else None)
    if parameters.get("run"):
        st.session_state.setdefault(state.RUN, parameters["run"])
    if parameters.get("compare"):
        st.session_state.setdefault(state.COMPARED, tuple(parameters["compare"].split(",")[:_MAX_RUNS]))
    if parameters.get("prior"):
        st.session_state.setdefault(state.PRIOR_RUNS, tuple(parameters["prior"].split(",")[:_MAX_PRIOR_RUNS]))
    if parameters.get("plane") in state.PLANES:
        st.session_state.setdefault(state.PLANE, parameters["plane"])
    if not parameters.get("scan") and state.SCAN not in st.session_state:
        _restore_scan_of_runs()


def _restore_scan(text: str) -> None:
    loading.engine()
    from pages.ui.texts import messages
    from tomopatch.parsing import parse_json
    from tomopatch.runs.config import scan_from_json  # imports the engine

    try:
        scan = scan_from_json(parse_json(text, most=_MAX_CHARACTERS))
    except ValueError as error:
        reason = messages.error_sentence(error, _MAX_REASON)
        st.toast(
            f"**The scan in this link cannot be used.** {reason} Choose one on Acquire.", duration="infinite"
        )
        return
    if str(scan.source).startswith(_SAFE_SOURCES):
        st.session_state[state.SCAN] = scan
    else:
        st.toast("This link names a file of the server, which links cannot open; upload it on Acquire.")


def _restore_scan_of_runs() -> None:
    """Take the scan of the first existing run in an address that names runs alone."""
    named = [name for name in (state.run_id(), *state.compared()) if name]
    if not named:
        return
    loading.engine()
    from pages.ui.session import engine
    from pages.ui.texts import messages

    found = next((run for run in map(engine.known_run, named) if run is not None), None)
    if found is None:
        st.toast(f"{messages.missing_runs(len(named))} Choose another on Runs.")
    elif found.config.scan.source.startswith(_SAFE_SOURCES):
        st.session_state[state.SCAN] = found.config.scan


def write() -> None:
    """Write the session's choices into the URL."""
    scan = state.scan()
    wanted = {
        "scan": None if scan is None else _changed_values(scan),
        "run": state.run_id(),
        "compare": ",".join(state.compared()[:_MAX_RUNS]) or None,
        "prior": ",".join(state.prior_runs()) or None,
        "plane": state.plane() if state.plane() != state.PLANES[0] else None,
        "lesson": state.lesson(),
        "step": str(state.step()) if state.step() else None,
        "challenge": _json(state.challenge()) if state.challenge() else None,
        "sweep": _json(state.sweep()) if state.sweep() else None,
    }
    for name, value in wanted.items():
        if value is None:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != value:
            st.query_params[name] = value


def _changed_values(scan: Scan) -> str:
    """Return the values of a scan that differ from their defaults as JSON."""
    from tomopatch.schema import changed_values  # imports the engine

    return _json(changed_values(scan))


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
