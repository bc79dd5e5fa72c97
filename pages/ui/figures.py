"""Plots: the figures of a run's steps, and values along a line."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from core.runs.history import Point
from core.runs.sweep import MEASURED, VARIED
from core.runs.sweep_plot import tick, ticks
from core.volume import VolumeGeometry
from pages.ui import colours
from pages.ui.colours import COLOURS, REFERENCE, Line

AXES = {"across (x)": 2, "front to back (y)": 1, "feet to head (z)": 0}

LEGEND = {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"}
"""Above the curves: more lines of it take room from the plot instead of covering it."""
HEIGHT = 300
"""Of a plot beside a table."""
_QUIET = {"margin": {"l": 0, "r": 8, "t": 8, "b": 0}, "hovermode": "x unified", "showlegend": True}


def height_with(count: int) -> int:
    """Pixels of a plot with so many lines: as many as before for the curves, however long the legend is."""
    return HEIGHT + 20 * max(0, count // 2 - 3)


_SERIES = {"psnr": ("PSNR [dB]", 1.0), "residual": ("Residual", 1.0), "sigma": ("Noise σ [HU]", 1000.0)}


def shown(points: Sequence[Point]) -> list[str]:
    """Which figures these steps have."""
    return [name for name in _SERIES if any(getattr(p, name) is not None for p in points)]


def steps(
    points: Sequence[Point], planned: int = 1, *, colour: str = COLOURS[0], height: int = 190
) -> go.Figure:
    """PSNR, residual and noise level after each step, where known; the axis is as long as the whole run.

    The iterations of a start, however many, lie left of 0 on a ground of their own. As long as there are no others,
    `planned` says how many steps will follow. `colour` is the method's: the figures differ by their titles.
    """
    names = shown(points)
    figure = make_subplots(
        1, max(1, len(names)), horizontal_spacing=0.06, subplot_titles=[_SERIES[name][0] for name in names]
    )
    end = max((p.total for p in points if not p.stage), default=planned)
    before = max(1.0, end / 5) if any(p.stage for p in points) else 0.0
    starts = [p for p in points if p.stage]  # of one grid or of several: one after the other
    places = {id(p): p.i for p in points} | {
        id(p): (rank / len(starts) - 1) * before for rank, p in enumerate(starts, 1)
    }
    for column, name in enumerate(names, 1):
        known = [p for p in points if getattr(p, name) is not None]
        figure.add_scatter(
            x=[places[id(p)] for p in known],
            y=[getattr(p, name) * _SERIES[name][1] for p in known],
            mode="lines+markers" if len(known) <= 30 else "lines",
            line={"color": colour, "width": 2},
            marker={"size": 5},
            hovertemplate="%{y:.4~g}<extra></extra>",
            row=1,
            col=column,
        )
        if name != "psnr":
            figure.update_yaxes(type="log", row=1, col=column, **_log_ticks(figure.data[-1].y))
    figure.update_layout(
        height=height,
        **_QUIET | {"showlegend": False, "hovermode": "x", "margin": {"l": 0, "r": 8, "t": 24, "b": 0}},
    )
    figure.update_xaxes(range=[-before - 0.02 * end, end + 0.03 * max(end, 2)], zeroline=False)
    if before:
        every = math.ceil(end / 8)
        ticks = range(every, end + 1, every)
        figure.update_xaxes(tickvals=[-before / 2, *ticks], ticktext=["start", *map(str, ticks)], tickangle=0)
        figure.add_vrect(
            x0=-before, x1=0, fillcolor=REFERENCE, opacity=0.16, line_width=0, row="all", col="all"
        )
    figure.update_annotations(font_size=12)
    return figure


def _log_ticks(values: Sequence[float]) -> dict[str, Any]:
    """Round values on a logarithmic axis, written out; plotly's own are lone digits between powers of ten."""
    known = [v for v in values if v > 0]
    if not known:
        return {}
    low, high = math.log10(min(known)), math.log10(max(known))
    span = high - low
    if span < 0.15:
        return {"nticks": 4, "tickformat": ".3~g"}
    digits: tuple[float, ...] = (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    if span > 0.6:
        digits = (1, 2, 5) if span <= 2 else (1,)
    ticks = [d * 10**e for e in range(math.floor(low) - 1, math.ceil(high) + 1) for d in digits]
    return {"tickvals": ticks, "ticktext": [f"{t:.4g}" for t in ticks]}


def sweep(
    found: dict[str, list[dict[str, Any]]],
    x: str,
    measure: str,
    chosen: str | None = None,
    height: int = 330,
    planned: Sequence[float | None] = (),
) -> go.Figure:
    """What was measured against what was varied, a line each; the run that is looked at is ringed.

    Parameters
    ----------
    found : see `core.runs.sweep_plot.lines`
    x, measure : names in VARIED and MEASURED
    planned : sequence of float or None
        All values of `x` that are asked for: their axis stands from the first point on.
    """
    figure = go.Figure()
    rows = [row for line in found.values() for row in line] + [{x: value} for value in planned]
    told = colours.of_runs([line[0]["method"] for line in found.values()])
    for (name, line), drawn in zip(found.items(), told, strict=True):
        known = [row for row in line if row[measure] is not None]
        figure.add_scatter(
            x=[tick(x, row[x]) if x == "photons" else row[x] for row in known],
            y=[row[measure] for row in known],
            name=name,
            mode="lines+markers",
            line=drawn.drawn(2),
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
    )  # a click means one point
    figure.update_xaxes(title=VARIED[x], zeroline=False)
    figure.update_yaxes(title=MEASURED[measure], zeroline=False)
    if x == "photons":
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
    """Values [HU] along an axis through the crosshair.

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
            line=line.drawn(3 if line.colour == REFERENCE else 1.6),
            hovertemplate="%{y:.0f} HU",
        )
    figure.update_layout(height=height_with(len(volumes)), legend=LEGEND, uirevision="profile", **_QUIET)
    half = geometry.size[axis] / 2
    figure.update_xaxes(title="mm from the centre", zeroline=False, range=[-half, half])
    figure.update_yaxes(title="HU", zeroline=False)
    if not volumes:
        figure.update_yaxes(range=[-1000, 1000])  # before there is anything
    return figure
