"""Plots of the errors of runs: histogram, calibration, and noise power spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from torch import Tensor

from pages.ui.charts.colours import REFERENCE, Line
from pages.ui.charts.figures import LEGEND, height_with
from tomopatch.analysis.errors import CalibrationBin

_LAYOUT: dict[str, Any] = {
    "margin": {"l": 0, "r": 8, "t": 8, "b": 0},
    "showlegend": True,
    "legend": LEGEND,
}
_DECADES: dict[str, Any] = {"type": "log", "dtick": 1, "exponentformat": "power", "minor": {"ticks": ""}}
"""Logarithmic axis with a label at each power of ten and none in between."""


def histogram(runs: Sequence[tuple[str, Line, Tensor, Tensor]]) -> go.Figure:
    """Return a plot of the shares of voxels by error, with a logarithmic axis for rare errors.

    runs : (name, line, bin centres [HU], shares)
    """
    figure = go.Figure()
    for name, line, centres, shares in runs:
        figure.add_scatter(
            x=centres.tolist(),
            y=[s or None for s in (100 * shares).tolist()],  # a logarithmic axis has no zero
            name=name,
            mode="lines",
            line={**line.options(1.8), "shape": "hvh"},
            hovertemplate="%{y:.2~g} %",
        )
    figure.update_layout(hovermode="x unified", uirevision="errors", height=height_with(len(runs)), **_LAYOUT)
    figure.update_xaxes(title="Error [HU], run − reference", zeroline=True)
    figure.update_yaxes(title="Voxels [%]", **_DECADES)
    return figure


def calibration(runs: Sequence[tuple[str, Line, list[CalibrationBin]]]) -> go.Figure:
    """Return a plot of true against predicted deviation, with a dashed line where they agree.

    runs : (name, line, bins)
    """
    figure = go.Figure()
    ends = [(b.predicted, b.rms) for _, _, bins in runs for b in bins]
    top = max((max(pair) for pair in ends), default=1.0)
    figure.add_scatter(
        x=[0, top],
        y=[0, top],
        mode="lines",
        name="as predicted",
        line={"color": REFERENCE, "width": 1.5, "dash": "dash"},
        hoverinfo="skip",
    )
    for name, line, bins in runs:
        figure.add_scatter(
            x=[b.predicted for b in bins],
            y=[b.rms for b in bins],
            name=name,
            mode="lines+markers",
            line=line.options(1.8),
            marker={"size": 7},
            hovertemplate="predicted %{x:.3~g} HU, true %{y:.3~g} HU",
        )
    figure.update_layout(
        hovermode="closest", uirevision="calibration", height=height_with(len(runs)), **_LAYOUT
    )
    figure.update_xaxes(title="Predicted deviation [HU]", rangemode="tozero", zeroline=False)
    figure.update_yaxes(title="True error, RMS [HU]", rangemode="tozero", zeroline=False)
    return figure


def spectrum(runs: Sequence[tuple[str, Line, Tensor, Tensor]]) -> go.Figure:
    """Return a plot of the noise power of the error.

    runs : (name, line, frequencies [1/mm], power [HU^2 mm^2])
    """
    figure = go.Figure()
    for name, line, frequency, power in runs:
        figure.add_scatter(
            x=(10 * frequency).tolist(),
            y=[p or None for p in power.tolist()],
            name=name,
            mode="lines",
            line=line.options(1.8),
            hovertemplate="%{y:.3~g} HU²mm²",
        )
    figure.update_layout(
        hovermode="x unified", uirevision="spectrum", height=height_with(len(runs)), **_LAYOUT
    )
    figure.update_xaxes(title="Cycles per cm", zeroline=False, rangemode="tozero")
    figure.update_yaxes(title="Power [HU² mm²]", **_DECADES)
    return figure
