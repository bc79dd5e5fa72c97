"""Plots: how the residual falls, and values along a line."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from core.volume import VolumeGeometry

# Okabe and Ito's colours, told apart by colour-blind eyes; both on light and on dark ground
COLOURS = ("#0e9bb5", "#e69f00", "#cc79a7", "#2f9e6e", "#d55e00", "#7a78d6", "#a89c00", "#8a8f98")
AXES = {"across (x)": 2, "front to back (y)": 1, "feet to head (z)": 0}

_QUIET = {"margin": {"l": 0, "r": 8, "t": 8, "b": 0}, "hovermode": "x unified", "showlegend": True}


def residuals(values: Sequence[float], total: int, height: int = 190) -> go.Figure:
    """The residual after each iteration, on a logarithmic scale; the axis is as long as the whole run."""
    figure = go.Figure(
        go.Scatter(
            x=np.arange(1, len(values) + 1),
            y=np.asarray(values),
            mode="lines",
            line={"color": COLOURS[0], "width": 2},
            hovertemplate="%{y:.4f}<extra></extra>",
        )
    )
    figure.update_layout(height=height, **_QUIET | {"showlegend": False})
    figure.update_xaxes(title="iteration", range=[0, max(total, len(values), 2)])
    figure.update_yaxes(title="residual", type="log", nticks=4)
    return figure


def profiles(
    volumes: Sequence[tuple[str, np.ndarray]],
    geometry: VolumeGeometry,
    cursor: tuple[float, float, float],
    axis: int,
) -> go.Figure:
    """Values [HU] along an axis through the crosshair; the first volume is the reference.

    Parameters
    ----------
    volumes : (name, HU (z, y, x))
    cursor : fractions (z, y, x)
    axis : 0, 1 or 2
    """
    figure = go.Figure()
    for k, (name, hu) in enumerate(volumes):
        at: list[int | slice] = [min(n - 1, int(f * n)) for f, n in zip(cursor, hu.shape, strict=True)]
        at[axis] = slice(None)
        n = hu.shape[axis]
        place = (np.arange(n) + 0.5) / n * geometry.size[axis] - geometry.size[axis] / 2
        line = (
            {"color": "#8a8f98", "width": 3}
            if k == 0
            else {"color": COLOURS[(k - 1) % len(COLOURS)], "width": 1.6}
        )
        figure.add_scatter(
            x=place, y=hu[tuple(at)], name=name, mode="lines", line=line, hovertemplate="%{y:.0f} HU"
        )
    figure.update_layout(height=300, legend={"orientation": "h", "y": 1.12}, uirevision="profile", **_QUIET)
    figure.update_xaxes(title="mm from the centre", zeroline=False)
    figure.update_yaxes(title="HU", zeroline=False)
    return figure
