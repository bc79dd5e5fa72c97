"""Plots of a sweep and of values along a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from pages.ui.charts import colours
from pages.ui.charts.colours import REFERENCE, Line
from tomopatch.studies.sweep import METRICS, QUANTITIES
from tomopatch.studies.sweep.plot import tick, ticks
from tomopatch.volume import VolumeGeometry

AXES = {"across (x)": 2, "front to back (y)": 1, "feet to head (z)": 0}

LEGEND = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
"""Legend above the curves, where it does not cover them."""
HEIGHT = 300
"""Height in pixels of a plot next to a table."""
_QUIET = {"margin": {"l": 0, "r": 8, "t": 8, "b": 0}, "hovermode": "x unified", "showlegend": True}


def height_with(count: int) -> int:
    """Return the height of a plot with `count` lines, so that the legend does not shrink the curves."""
    return HEIGHT + 20 * max(0, count // 2 - 3)


def sweep(
    found: dict[str, list[dict[str, Any]]],
    x: str,
    measure: str,
    chosen: str | None = None,
    height: int = 330,
    planned: Sequence[float | None] = (),
) -> go.Figure:
    """Return a plot of a metric against the varied quantity, with the selected run ringed.

    Parameters
    ----------
    found : see `tomopatch.studies.sweep.plot.lines`
    x, measure : keys of QUANTITIES and METRICS
    planned : sequence of float or None
        All requested values of `x`; they fix the axis before all points exist.
    """
    figure = go.Figure()
    rows = [row for line in found.values() for row in line] + [{x: value} for value in planned]
    categories = x == "photons" or any(row[x] is None for row in rows)
    styles = colours.of_runs([line[0]["method"] for line in found.values()])
    for (name, line), style in zip(found.items(), styles, strict=True):
        known = [row for row in line if row[measure] is not None]
        figure.add_scatter(
            x=[tick(x, row[x]) if categories else row[x] for row in known],
            y=[row[measure] for row in known],
            name=name,
            mode="lines+markers",
            line=style.options(2),
            marker={
                "opacity": 1,
                "size": 10,
                "line": {"color": REFERENCE, "width": [3 if row["run"] == chosen else 0 for row in known]},
            },
            # a click must not fade the other points
            selected={"marker": {"opacity": 1}},
            unselected={"marker": {"opacity": 1}},
            hovertemplate="%{y:.4~g}, %{x}",
        )
    figure.update_layout(height=height, legend=LEGEND, uirevision=f"{x} {measure}", **_QUIET)
    figure.update_layout(
        clickmode="event+select", dragmode="pan", hovermode="closest"
    )  # a click selects one point
    figure.update_xaxes(title=QUANTITIES[x], zeroline=False)
    figure.update_yaxes(title=METRICS[measure], zeroline=False)
    if categories:
        figure.update_xaxes(type="category", categoryorder="array", categoryarray=ticks(x, rows))
    else:
        values = sorted({row[x] for row in rows})
        log = x == "num_views"
        ends = [math.log10(v) if log else v for v in (values[0], values[-1])]
        room = 0.06 * (ends[1] - ends[0]) or 0.5
        figure.update_xaxes(
            tickvals=values, type="log" if log else "linear", range=[ends[0] - room, ends[1] + room]
        )
    if measure == "seconds":
        figure.update_yaxes(rangemode="tozero")
    return figure


def profiles(
    volumes: Sequence[tuple[str, Line, np.ndarray]],
    geometry: VolumeGeometry,
    cursor: tuple[float, float, float],
    axis: int,
) -> go.Figure:
    """Return a plot of values [HU] along an axis through the crosshair.

    Parameters
    ----------
    volumes : (name, line, HU (z, y, x))
    cursor : fractions (z, y, x)
    axis : 0, 1 or 2
    """
    figure = go.Figure()
    for name, line, hu in volumes:
        at: list[int | slice] = [min(n - 1, int(f * n)) for f, n in zip(cursor, hu.shape, strict=True)]
        at[axis] = slice(None)
        n = hu.shape[axis]
        place = (np.arange(n) + 0.5) / n * geometry.size[axis] - geometry.size[axis] / 2
        figure.add_scatter(
            x=place,
            y=hu[tuple(at)],
            name=name,
            mode="lines",
            line=line.options(3 if line.colour == REFERENCE else 1.6),
            hovertemplate="%{y:.0f} HU",
        )
    figure.update_layout(height=height_with(len(volumes)), legend=LEGEND, uirevision="profile", **_QUIET)
    half = geometry.size[axis] / 2
    figure.update_xaxes(title="mm from the centre", zeroline=False, range=[-half, half])
    figure.update_yaxes(title="HU", zeroline=False)
    if not volumes:
        figure.update_yaxes(range=[-1000, 1000])  # while no volume exists
    return figure
