"""Choosing a method and its parameters; the form is built from the fields of its params dataclass."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

import streamlit as st

from core.geometry import ConeBeam, ParallelBeam
from core.prior.files import priors
from core.reconstruct.methods import METHODS, available
from core.runs.config import RunConfig
from pages.ui import state, words

_PRIOR = "prior"


def fill(config: RunConfig | None) -> None:
    """Give the form the run's method and parameters, where it has no values yet."""
    if config is None:
        return
    state.fill({"method": config.method})
    if config.prior:
        state.fill({_PRIOR: config.prior})
    state.fill({_key(config.method, name): value for name, value in config.params.items()})


def choose(pg: ParallelBeam | ConeBeam) -> str:
    """The chosen method; those that cannot reconstruct this scan are named with the reason."""
    offered = available(pg)
    if state.value("method") not in offered:
        state.fill({"method": next(iter(offered))}, overwrite=True)
    state.fill({"method": next(iter(offered))})
    name = st.pills(
        "Method",
        list(offered),
        key=state.field("method"),
        format_func=lambda n: METHODS[n].label,
        required=True,
        help="How the volume is computed from the projections.",
    )
    assert name is not None
    st.caption(METHODS[name].summary)
    for other, method in METHODS.items():
        if other not in offered:
            st.caption(f"Not for this scan: {method.unsuited(pg)}")
    return name


def choose_prior(method: str) -> str:
    """The prior of a method that needs one, by name; empty for the others, and where there is none to choose."""
    there = priors() if METHODS[method].needs_prior else []
    if not there:
        return ""
    if state.value(_PRIOR) not in there:
        state.fill({_PRIOR: there[0]}, overwrite=True)
    return st.selectbox(
        "Prior",
        there,
        key=state.field(_PRIOR),
        format_func=words.prior_label,
        help="The network that knows what CT looks like: *base* comes closer, *small* takes half the time. One of your own is "
        "offered too once its file lies in the folder `pretrained`.",
    )


def choose_params(method: str) -> dict[str, Any]:
    """Widgets for each parameter of the method, and their values."""
    values = {}
    for parameter in fields(METHODS[method].params):
        key = _key(method, parameter.name)
        state.fill({key: parameter.default})
        values[parameter.name] = _widget(parameter, state.field(key))
    return values


def _widget(parameter: Field, key: str) -> Any:
    told, default = parameter.metadata, parameter.default
    label, hint = told.get("label", parameter.name), told.get("help")
    low, high = told.get("low"), told.get("high")
    if "choices" in told:
        return st.selectbox(label, told["choices"], key=key, format_func=words.choice, help=hint)
    if isinstance(default, bool):
        return st.checkbox(label, key=key, help=hint)
    if isinstance(default, int):
        step = told.get("step") or (10 if default >= 50 else 1)
        return int(st.number_input(label, low, high, st.session_state[key], int(step), key=key, help=hint))
    if isinstance(default, float):
        step = told.get("step") or (abs(default) / 10 or 0.1)
        return float(
            st.number_input(label, low, high, step=float(step), format=_digits(step), key=key, help=hint)
        )
    return st.text_input(label, key=key, help=hint)


def _key(method: str, name: str) -> str:
    return f"{method}.{name}"


def _digits(step: float) -> str:
    """A format that shows a step of this size."""
    decimals = 0
    while decimals < 8 and abs(step * 10**decimals - round(step * 10**decimals)) > 1e-9:
        decimals += 1
    return f"%.{decimals}f"
