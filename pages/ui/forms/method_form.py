"""Form of a method and its parameters, built from the fields of the parameter dataclass."""

from __future__ import annotations

from dataclasses import Field, fields
from typing import Any

import streamlit as st

from pages.ui.session import state
from pages.ui.texts import labels
from tomopatch.geometry.beams import Geometry
from tomopatch.prior.files import default_prior, priors_for
from tomopatch.reconstruct.methods import METHODS, available, make_params
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.runs.config import RunConfig

_PRIOR = "prior"


def fill(config: RunConfig | None) -> None:
    """Set fields without a value to the run's method and parameters."""
    if config is None:
        return
    state.fill({"method": config.method})
    if config.prior:
        state.fill({_PRIOR: config.prior})
    state.fill({_key(config.method, name): value for name, value in config.params.items()})


def choose(pg: Geometry) -> str:
    """Let the user choose a method; name unavailable methods with the reason."""
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
        help="Method that computes the volume from the projections.",
    )
    assert name is not None
    st.caption(METHODS[name].summary)
    for other, method in METHODS.items():
        if other not in offered:
            st.caption(method.unsuited(pg))
    return name


def choose_prior(method: str, params: dict[str, Any]) -> str:
    """Return the chosen prior among those trained for the mode; empty for methods without a prior."""
    if not METHODS[method].needs_prior:
        return ""
    names = priors_for(make_params(method, params).trained_mode)
    if not names:
        return ""
    if state.value(_PRIOR) not in names:
        state.fill({_PRIOR: names[0]}, overwrite=True)
    return st.selectbox(
        "Prior",
        names,
        key=state.field(_PRIOR),
        format_func=labels.prior_label,
        help="Trained network. *base* restores better, *small* takes half the time. Files in the folder "
        "`pretrained` appear here.",
    )


def choose_params(method: str) -> dict[str, Any]:
    """Draw a widget for each parameter of the method and return their values."""
    values: dict[str, Any] = {}
    for parameter in fields(METHODS[method].params):
        key = _key(method, parameter.name)
        state.fill({key: parameter.default})
        disabled = values.get("mode") == "restore" and parameter.name in POSTERIOR_ONLY
        value = _widget(parameter, state.field(key), disabled)
        values[parameter.name] = parameter.default if disabled else value
    return values


POSTERIOR_ONLY = ("condition", "eta")
"""Parameters of diffusion that have no effect in the mode 'restore'."""


WATCH_IT_FORM = {"mode": "posterior", "condition": "scan", "num_steps": 20, "num_samples": 1}


def presets(method: str) -> None:
    """Draw buttons that set several parameters at once."""
    if METHODS[method].params is DiffusionParams:
        st.button(
            "Watch it form",
            key="preset.watch",
            width="stretch",
            on_click=_watch_it_form,
            args=(method,),
            help="Choose sampling from noise in 20 steps. Then press *Run* to watch the volume form.",
        )


def _watch_it_form(method: str) -> None:
    chosen: dict[str, Any] = {_key(method, name): value for name, value in WATCH_IT_FORM.items()}
    prior = default_prior(make_params(method, WATCH_IT_FORM).trained_mode, sampling=True)
    state.fill(chosen | {_PRIOR: prior}, overwrite=True)


def _widget(parameter: Field, key: str, disabled: bool = False) -> Any:
    metadata, default = parameter.metadata, parameter.default
    label, hint = metadata.get("label", parameter.name), metadata.get("help")
    low, high = metadata.get("low"), metadata.get("high")
    if "choices" in metadata:
        names = metadata.get("names", {})
        return st.selectbox(
            label,
            metadata["choices"],
            key=key,
            format_func=lambda value: names.get(value) or labels.choice_label(value),
            help=hint,
            disabled=disabled,
        )
    if isinstance(default, bool):
        return st.checkbox(label, key=key, help=hint, disabled=disabled)
    if isinstance(default, int):
        step = metadata.get("step") or (10 if default >= 50 else 1)
        return int(
            st.number_input(
                label, low, high, st.session_state[key], int(step), key=key, help=hint, disabled=disabled
            )
        )
    if isinstance(default, float):
        step = metadata.get("step") or (abs(default) / 10 or 0.1)
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
    """Return a number format with enough decimals for this step."""
    decimals = 0
    while decimals < 8 and abs(step * 10**decimals - round(step * 10**decimals)) > 1e-9:
        decimals += 1
    return f"%.{decimals}f"
