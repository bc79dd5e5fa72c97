"""Plots of the pages as PNG and SVG files, drawn with matplotlib on white for papers and slides."""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import plotly.graph_objects as go
import streamlit as st

_DASHES = {"solid": "-", "dash": "--", "dot": ":", "longdashdot": "-."}
_TYPES = {"png": "image/png", "svg": "image/svg+xml"}


def download_buttons(figure: go.Figure, name: str, caption: str, *, key: str) -> None:
    """Offer the plot as files `tomopatch-NAME.png` and `.svg`; `caption` stands below the curves."""
    with st.container(horizontal=True, key=f"figure_files.{key}"):
        for kind in _TYPES:
            st.download_button(
                f"Figure ({kind.upper()})",
                partial(figure_bytes, figure, kind, caption),
                f"tomopatch-{name}.{kind}",
                _TYPES[kind],
                key=f"figure.{key}.{kind}",
                on_click="ignore",
                help="These curves on a white ground, for a paper or a slide.",
            )


def figure_bytes(figure: go.Figure, kind: str, caption: str = "") -> bytes:
    """Return the lines of a plot, their error bars and the axes as a file.

    Raises
    ------
    ValueError
        If `kind` is neither "png" nor "svg".
    """
    from matplotlib.figure import Figure

    if kind not in _TYPES:
        raise ValueError(f"a figure is saved as png or svg, got {kind!r}.")
    drawn = Figure(figsize=(7.2, 4.4), layout="constrained")
    axes = drawn.subplots()
    categories = list(figure.layout.xaxis.categoryarray or ())
    for trace in figure.data:
        x = [categories.index(v) if v in categories else v for v in trace.x]
        y = [float("nan") if v is None else v for v in trace.y]
        options: dict[str, Any] = {
            "color": trace.line.color,
            "linestyle": _DASHES.get(trace.line.dash or "solid", "-"),
            "linewidth": trace.line.width or 1.6,
            "marker": "o" if "markers" in (trace.mode or "") else None,
            "markersize": 5,
            "drawstyle": "steps-mid" if trace.line.shape == "hvh" else "default",
            "label": trace.name if trace.showlegend is not False else None,
        }
        errors = trace.error_y.array
        if errors is None:
            axes.plot(x, y, **options)
        else:
            axes.errorbar(x, y, yerr=list(errors), capsize=3, **options)
    _set_axis(axes.xaxis, axes.set_xscale, axes.set_xlim, figure.layout.xaxis)
    _set_axis(axes.yaxis, axes.set_yscale, axes.set_ylim, figure.layout.yaxis)
    if categories:
        axes.set_xticks(range(len(categories)), [str(c) for c in categories])
    axes.grid(alpha=0.25)
    if any(trace.name for trace in figure.data):
        axes.legend(fontsize=9)
    drawn.text(0.01, -0.02, f"{caption}\nTomoPatch. Simulated; not for diagnosis.", fontsize=8, va="top")
    out = io.BytesIO()
    drawn.savefig(out, format=kind, dpi=270, bbox_inches="tight")
    return out.getvalue()


def _set_axis(axis: Any, set_scale: Any, set_limits: Any, layout: Any) -> None:
    """Copy title, scale, limits and ticks; Plotly gives logarithmic limits as powers of ten."""
    logarithmic = layout.type == "log"
    axis.set_label_text(layout.title.text or "")
    if logarithmic:
        set_scale("log")
    if layout.range:
        set_limits(*((10**v for v in layout.range) if logarithmic else layout.range))
    if layout.tickvals:
        axis.set_ticks(list(layout.tickvals), [f"{v:g}" for v in layout.tickvals])
        axis.set_ticks([], minor=True)
