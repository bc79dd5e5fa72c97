"""The address of a session: a reload or a shared link restores the choices in `pages.ui.session.state`.

This module alone names the parameters of the URL.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.ui.session import loading, state

if TYPE_CHECKING:
    from tomopatch.runs.config import RunConfig, Scan

_RESTORED = "_restored"
_STEPS = tuple("123456789")
_MAX_RUNS = 200  # runs in an address; longer addresses are not accepted everywhere
_MAX_PRIOR_RUNS = 4
_MAX_LINKED = 12  # runs whose settings are in the address
_MAX_LINKED_CHARACTERS = 4000
DEFAULT_ANALYSIS = "Line"
"""Analysis on Compare that is not written into the address."""
_PARAMETERS = (
    "scan", "run", "compare", "runs", "prior", "plane", "analysis", "lesson", "step", "challenge", "contrast",
    "sweep",
)  # fmt: skip
_CHALLENGES = {"challenge": state.CHALLENGE, "contrast": state.CONTRAST}
_MAX_CHARACTERS = 100_000  # of a scan in an address; one with all lesions has 2000
_MAX_REASON = 250  # characters of the reason why a scan in an address cannot be used
_SAFE_SOURCES = ("phantom:", "volume:", "scan:")  # a link must not make the server open its files


def restore() -> None:
    """Take over the choices in the URL: once in a session, and after Back or Forward of the browser."""
    first = _RESTORED not in st.session_state
    st.session_state[_RESTORED] = True
    if not first:
        if not (_went_through_history() and set(_PARAMETERS) & set(st.query_params)):
            return
        state.forget_choices()
    parameters = st.query_params
    if parameters.get("scan") and state.SCAN not in st.session_state:
        _restore_scan(parameters["scan"])
    if parameters.get("sweep") and state.SWEEP not in st.session_state:
        try:
            typed = {str(k): str(v) for k, v in json.loads(parameters["sweep"]).items()}
            st.session_state[state.SWEEP] = typed
        except (ValueError, AttributeError, RecursionError):
            st.toast("The values for What if in this link are not readable. Choose others on What if.")
    for name, key in _CHALLENGES.items():
        if parameters.get(name) and key not in st.session_state:
            try:
                st.session_state[key] = dict(json.loads(parameters[name]))
            except (ValueError, TypeError, RecursionError):
                st.toast("The challenge in this link is not readable. Start a new one on Learn.")
    if parameters.get("lesson"):
        st.session_state.setdefault(state.LESSON, parameters["lesson"])
        step = parameters.get("step", "")
        st.session_state.setdefault(state.STEP, int(step) if step in _STEPS else None)
    for name in parameters.get("done", "").split(",")[:_MAX_RUNS]:
        if name.isidentifier():
            state.add_done_lesson(name)
    if parameters.get("run"):
        st.session_state.setdefault(state.RUN, parameters["run"])
    if parameters.get("compare"):
        st.session_state.setdefault(state.COMPARED, tuple(parameters["compare"].split(",")[:_MAX_RUNS]))
    if parameters.get("prior"):
        st.session_state.setdefault(state.PRIOR_RUNS, tuple(parameters["prior"].split(",")[:_MAX_PRIOR_RUNS]))
    if parameters.get("plane") in state.PLANES:
        st.session_state.setdefault(state.PLANE, parameters["plane"])
    if parameters.get("analysis"):
        state.fill({state.ANALYSIS: parameters["analysis"]})  # Compare replaces an unknown one
    if parameters.get("runs"):
        _restore_linked_runs(parameters["runs"])
        _compare_missing_runs()
    if not parameters.get("scan") and state.SCAN not in st.session_state:
        _restore_scan_of_runs()


def _went_through_history() -> bool:
    """Whether this run of the script follows Back or Forward of the browser."""
    return bool(getattr(get_script_run_ctx(suppress_warning=True), "is_history_navigation", False))


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


def _restore_linked_runs(text: str) -> None:
    """Take over the methods and settings of the runs in an address; unusable ones are left out."""
    loading.engine()
    from tomopatch.parsing import parse_json
    from tomopatch.runs.config import RunConfig

    scan, found = state.scan(), {}
    try:
        stored = parse_json(text, most=_MAX_CHARACTERS)
        for run_id, values in list(stored.items())[:_MAX_LINKED]:
            if scan is not None:
                values = {"scan": scan.to_json()} | values
            config = RunConfig.from_json(values)
            if config.scan.source.startswith(_SAFE_SOURCES):
                found[str(run_id)] = config
    except (ValueError, TypeError, AttributeError):
        return  # the runs themselves may exist
    state.set_linked_runs(found)


def _compare_missing_runs() -> None:
    """Compare the runs of a link without a choice if some are missing here; else the default shows them."""
    from pages.ui.session import engine

    linked = tuple(state.linked_runs())
    if len(linked) > 1 and not all(map(engine.known_run, linked)):
        st.session_state.setdefault(state.COMPARED, linked)


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
    """Write the session's choices into the URL in one message."""
    scan = state.scan()
    analysis = state.value(state.ANALYSIS)
    wanted = {
        "scan": None if scan is None else _json(_changed_values(scan)),
        "run": state.run_id(),
        "compare": ",".join(state.compared()[:_MAX_RUNS]) or None,
        "runs": _linked_runs(scan),
        "prior": ",".join(state.prior_runs()) or None,
        "plane": state.plane() if state.plane() != state.PLANES[0] else None,
        "analysis": analysis if analysis != DEFAULT_ANALYSIS else None,
        "lesson": state.lesson(),
        "step": str(state.step()) if state.step() else None,
        "done": ",".join(state.done_lessons()) or None,
        "challenge": _json(state.challenge()) if state.challenge() else None,
        "contrast": _json(state.contrast_game()) if state.contrast_game() else None,
        "sweep": _json(state.sweep()) if state.sweep() else None,
    }
    before = st.query_params.to_dict()
    others = {name: value for name, value in before.items() if name not in wanted}
    after = others | {name: value for name, value in wanted.items() if value is not None}
    if after != before:
        st.query_params.from_dict(after)


def _linked_runs(scan: Scan | None) -> str | None:
    """Return methods and changed settings of the named runs as JSON; those of missing runs are kept."""
    chosen = (state.run_id(), *state.compared())
    named = dict.fromkeys(name for name in (*chosen, *(() if state.compared() else state.shown())) if name)
    if scan is None or not named:
        return None
    from pages.ui.session import engine  # imports the engine

    stored = {}
    for run_id in list(named)[:_MAX_LINKED]:
        run = engine.known_run(run_id)
        config = state.linked_runs().get(run_id) if run is None else run.config
        if config is None:
            continue
        if config.scan != scan and run_id not in chosen:
            continue  # shown before another scan was chosen
        values = _changed_settings(config)
        if config.scan != scan:
            values["scan"] = _changed_values(config.scan)
        stored[run_id] = values
    text = _json(stored)
    return text if stored and len(text) <= _MAX_LINKED_CHARACTERS else None


def _changed_settings(config: RunConfig) -> dict[str, Any]:
    """Return the method of a run and the settings that differ from their defaults."""
    from tomopatch.runs.config import RunConfig

    defaults = RunConfig(config.scan, config.method, prior=config.prior).params
    params = {name: value for name, value in config.params.items() if value != defaults[name]}
    return (
        {"method": config.method}
        | ({"params": params} if params else {})
        | ({"prior": config.prior} if config.prior else {})
    )


def _changed_values(scan: Scan) -> dict[str, Any]:
    """Return the values of a scan that differ from their defaults."""
    from tomopatch.schema import changed_values  # imports the engine

    return changed_values(scan)


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
