"""Choosing a method and its parameters; the form is built from the fields of its params dataclass."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

import streamlit as st

from pages.ui.session import state, words
from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.prior.files import priors_for
from tomopatch.reconstruct.methods import METHODS, available, make_params
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.runs.config import RunConfig

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


def choose_prior(method: str, params: dict[str, Any]) -> str:
    """Name of the prior, among those trained for the mode; empty for methods without one."""
    if not METHODS[method].needs_prior:
        return ""
    there = priors_for(make_params(method, params).trained_mode)
    if not there:
        return ""
    if state.value(_PRIOR) not in there:
        state.fill({_PRIOR: there[0]}, overwrite=True)
    return st.selectbox(
        "Prior",
        there,
        key=state.field(_PRIOR),
        format_func=words.prior_label,
        help="The network that knows what CT looks like. *base* restores better, *small* takes half the time. Put the file of "
        "your own prior into the folder `pretrained` to choose it here.",
    )


def choose_params(method: str) -> dict[str, Any]:
    """Widgets for each parameter of the method, and their values."""
    values: dict[str, Any] = {}
    for parameter in fields(METHODS[method].params):
        key = _key(method, parameter.name)
        state.fill({key: parameter.default})
        disabled = values.get("mode") == "restore" and parameter.name in POSTERIOR_ONLY
        value = _widget(parameter, state.field(key), disabled)
        values[parameter.name] = parameter.default if disabled else value
    return values


POSTERIOR_ONLY = ("condition", "eta")
"""Parameters of diffusion without effect in the mode 'restore'."""


WATCH_IT_FORM = {"mode": "posterior", "condition": "scan", "num_steps": 20, "num_samples": 1}


def presets(method: str) -> None:
    """Buttons that set several parameters at once."""
    if METHODS[method].params is DiffusionParams:
        st.button(
            "Watch it form",
            key="preset.watch",
            width="stretch",
            on_click=lambda: state.fill(
                {_key(method, name): value for name, value in WATCH_IT_FORM.items()}, overwrite=True
            ),
            help="Set the method to sample from noise in 20 steps. Press *Run* to watch the volume form.",
        )


def _widget(parameter: Field, key: str, disabled: bool = False) -> Any:
    told, default = parameter.metadata, parameter.default
    label, hint = told.get("label", parameter.name), told.get("help")
    low, high = told.get("low"), told.get("high")
    if "choices" in told:
        names = told.get("names", {})
        return st.selectbox(
            label,
            told["choices"],
            key=key,
            format_func=lambda value: names.get(value) or words.choice(value),
            help=hint,
            disabled=disabled,
        )
    if isinstance(default, bool):
        return st.checkbox(label, key=key, help=hint, disabled=disabled)
    if isinstance(default, int):
        step = told.get("step") or (10 if default >= 50 else 1)
        return int(
            st.number_input(
                label, low, high, st.session_state[key], int(step), key=key, help=hint, disabled=disabled
            )
        )
    if isinstance(default, float):
        step = told.get("step") or (abs(default) / 10 or 0.1)
        return float(
            st.number_input(
                label,
                low,
                high,
                step=float(step),
                format=_digits(step),
                key=key,
                help=hint,
                disabled=disabled,
            )
        )
    return st.text_input(label, key=key, help=hint, disabled=disabled)


def _key(method: str, name: str) -> str:
    return f"{method}.{name}"


def _digits(step: float) -> str:
    """A format that shows a step of this size."""
    decimals = 0
    while decimals < 8 and abs(step * 10**decimals - round(step * 10**decimals)) > 1e-9:
        decimals += 1
    return f"%.{decimals}f"
