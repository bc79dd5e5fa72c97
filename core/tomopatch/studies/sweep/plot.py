"""Plots of a sweep: metrics against the varied quantities."""

from __future__ import annotations

import io
import math
from typing import Any

from tomopatch.reconstruct.methods import METHODS
from tomopatch.studies.sweep.cells import METRICS, Cell, metrics_of
from tomopatch.studies.sweep.config import QUANTITIES, SweepConfig
from tomopatch.studies.sweep.numbers import EXAMPLES, label_of, with_unit

ALL = {"photons": "no noise", "num_views": "all views", "angle_range": "all angles"}
"""Words for the value None of a quantity."""


def lines(sweep: SweepConfig, cells: list[Cell], x: str) -> dict[str, list[dict[str, Any]]]:
    """Group the finished cells into lines: one per method and combination of the other fields, sorted by `x`.

    Parameters
    ----------
    x : a name in QUANTITIES
    """
    others = [name for name in sweep.varied if name != x]
    found: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        row = cell.row()
        if row["seconds"] is None:
            continue
        parts = [METHODS[row["method"]].label, *(value_words(name, row[name]) for name in others)]
        found.setdefault(", ".join(parts), []).append(row)
    return {name: sorted(rows, key=lambda row: sort_key(row[x])) for name, rows in found.items()}


def sort_key(value: float | None) -> float:
    """Sort key of a value on its axis; None (no noise, all views) comes last."""
    return math.inf if value is None else value


def value_words(name: str, value: float | None) -> str:
    """A value with its unit: 20 views, 90°, 100 000 photons, tube voltage 80 kV."""
    if value is None:
        return ALL[name]
    if name == "photons":
        return f"{_count(value)} photons"
    if name in EXAMPLES:
        return f"{label_of(name)} {with_unit(name, tick(name, value))}"
    return f"{value} views" if name == "num_views" else f"{value:g}°"


def ticks(x: str, rows: list[dict[str, Any]]) -> list[str]:
    """Labels of the values of x in these rows, sorted, for a category axis."""
    values = sorted({row[x] for row in rows}, key=sort_key)
    return [tick(x, value) for value in values]


def tick(x: str, value: float | None) -> str:
    if value is None:
        return ALL[x]
    if x == "photons":
        return _count(value)
    return str(value) if isinstance(value, int) else f"{value:g}"


def _count(value: float) -> str:
    """Format 1e5 as 100 000, with narrow no-break spaces."""
    return f"{value:,.0f}".replace(",", "\u202f")


def plot_png(sweep: SweepConfig, cells: list[Cell]) -> bytes:
    """Plot two metrics and the time over the quantity with the most values, as a PNG."""
    from matplotlib.figure import Figure

    x = (sweep.varied or ["num_views"])[0]
    found = lines(sweep, cells, x)
    order = ticks(x, [row for rows in found.values() for row in rows])
    figure = Figure(figsize=(12, 3.8), layout="constrained", facecolor="white")
    shown = [*list(metrics_of(sweep.scan))[:2], "seconds"]
    for axis, name in zip(figure.subplots(1, 3), shown, strict=True):
        for label, rows in found.items():
            known = [row for row in rows if row[name] is not None]
            at = [order.index(tick(x, row[x])) for row in known]
            axis.plot(at, [row[name] for row in known], "o-", label=label, markersize=4)
        axis.set_xticks(range(len(order)), order)
        axis.set_xlabel(QUANTITIES[x])
        axis.set_title(METRICS[name], fontsize=10)
        axis.grid(alpha=0.3)
    if found:
        figure.axes[0].legend(fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=90)
    return out.getvalue()
