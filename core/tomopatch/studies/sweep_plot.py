"""A sweep as lines: what was measured against what was varied."""

from __future__ import annotations

import io
import math
from typing import Any

from tomopatch.reconstruct.methods import METHODS
from tomopatch.studies.sweep import MEASURED, VARIED, Cell, SweepConfig


def lines(sweep: SweepConfig, cells: list[Cell], x: str) -> dict[str, list[dict[str, Any]]]:
    """The finished cells as one line per method and combination of everything but `x`, by its name; x rising.

    Parameters
    ----------
    x : a name in VARIED
    """
    others = [name for name in sweep.varied if name != x]
    found: dict[str, list[dict[str, Any]]] = {}
    for cell in cells:
        row = cell.row()
        if row["psnr"] is None and row["seconds"] is None:
            continue
        parts = [METHODS[row["method"]].label, *(value_words(name, row[name]) for name in others)]
        found.setdefault(", ".join(parts), []).append(row)
    return {name: sorted(rows, key=lambda row: place(row[x])) for name, rows in found.items()}


def place(value: float | None) -> float:
    """Where a value stands on its axis; no noise is as good as endless photons."""
    return math.inf if value is None else value


def value_words(name: str, value: float | None) -> str:
    """20 views, 90°, 100 000 photons."""
    if value is None:
        return "no noise"
    if name == "photons":
        return f"{_count(value)} photons"
    return f"{value} views" if name == "num_views" else f"{value:g}°"


def ticks(x: str, rows: list[dict[str, Any]]) -> list[str]:
    """The values of x among these rows, rising, as an axis of categories shows them."""
    values = sorted({row[x] for row in rows}, key=place)
    return [tick(x, value) for value in values]


def tick(x: str, value: float | None) -> str:
    return "no noise" if value is None else _count(value) if x == "photons" else f"{value:g}"


def _count(value: float) -> str:
    """1e5 as 100 000, with a space that does not break."""
    return f"{value:,.0f}".replace(",", "\u202f")


def plot_png(sweep: SweepConfig, cells: list[Cell]) -> bytes:
    """PSNR, SSIM and time over what was varied most, as a PNG."""
    from matplotlib.figure import Figure

    x = (sweep.varied or ["num_views"])[0]
    found = lines(sweep, cells, x)
    order = ticks(x, [row for rows in found.values() for row in rows])
    figure = Figure(figsize=(12, 3.8), layout="constrained", facecolor="white")
    for axis, name in zip(figure.subplots(1, 3), ("psnr", "ssim", "seconds"), strict=True):
        for label, rows in found.items():
            known = [row for row in rows if row[name] is not None]
            at = [order.index(tick(x, row[x])) for row in known]
            axis.plot(at, [row[name] for row in known], "o-", label=label, markersize=4)
        axis.set_xticks(range(len(order)), order)
        axis.set_xlabel(VARIED[x])
        axis.set_title(MEASURED[name], fontsize=10)
        axis.grid(alpha=0.3)
    if found:
        figure.axes[0].legend(fontsize=8)
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=90)
    return out.getvalue()
