"""Small curves of PSNR, residual and noise level over the steps of a run.

They are redrawn every few seconds while a run works. A plotting library would block the browser for half a
second before the first drawing and for a tenth of a second with each.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import streamlit as st

from tomopatch.store.history import Point

SERIES = {"psnr": ("PSNR [dB]", 1.0), "residual": ("Residual", 1.0), "sigma": ("Noise σ [HU]", 1000.0)}
"""Title and unit factor of each quantity."""
MAX_DOTS = 30
"""Largest number of points that are marked individually."""
MAX_READ = 100
"""Largest number of points that show their value under the pointer."""

Tick = tuple[float, str]


class Curve(NamedTuple):
    """One quantity over the steps.

    Attributes
    ----------
    name : key of SERIES
    x : positions on the common axis; iterations of the initial reconstruction lie left of 0
    y : values in the unit of the title
    y_ticks : values and their labels
    """

    name: str
    x: list[float]
    y: list[float]
    y_ticks: list[Tick]

    @property
    def is_log(self) -> bool:
        return self.name != "psnr"

    def heights(self, values: Sequence[float]) -> list[float]:
        """Return the heights of values between the lower edge (0) and the upper edge (1)."""
        scale = math.log if self.is_log else float
        ends = [scale(v) for v in self.y]
        low, high = min(ends), max(ends)
        # equal values: one percent around them
        room = 0.08 * (high - low) or (0.01 if self.is_log else max(abs(high) * 0.01, 1e-6))
        return [(scale(v) - low + room) / (high - low + 2 * room) for v in values]


class Curves(NamedTuple):
    """Curves and their common axis.

    Attributes
    ----------
    begin, end : limits of the axis
    initial : position at which the initial reconstruction begins; 0 without one
    ticks : positions on the axis and their labels
    """

    curves: list[Curve]
    begin: float
    initial: float
    end: float
    ticks: list[Tick]

    def share(self, x: float) -> float:
        """Return a position on the axis between the left edge (0) and the right edge (1)."""
        return (x - self.begin) / (self.end - self.begin)


def available(points: Sequence[Point]) -> list[str]:
    """Return the quantities that these steps have."""
    return [name for name in SERIES if any(_known(p, name) for p in points)]


def curves(points: Sequence[Point], planned: int = 1) -> Curves:
    """Return PSNR, residual and noise level after each step, where known, on an axis for the whole run.

    All iterations of the initial reconstruction share a fixed part of the axis left of 0. `planned` is the
    number of steps to expect while only the initial reconstruction is known.
    """
    end = max((p.total for p in points if not p.stage), default=planned)
    initial = [p for p in points if p.stage]  # on one grid or several, in sequence
    before = max(1.0, end / 5) if initial else 0.0
    positions = {id(p): float(p.i) for p in points} | {
        id(p): (rank / len(initial) - 1) * before for rank, p in enumerate(initial, 1)
    }
    drawn = []
    for name in available(points):
        known = [p for p in points if _known(p, name)]
        y = [getattr(p, name) * SERIES[name][1] for p in known]
        ticks = _log_ticks(min(y), max(y)) if name != "psnr" else _ticks(min(y), max(y))
        drawn.append(Curve(name, [positions[id(p)] for p in known], y, ticks))
    every = max(1, math.ceil(_round_step(end / 7)))
    x_ticks: list[Tick] = [(k, str(k)) for k in range(every, end + 1, every)]
    if before:
        x_ticks.insert(0, (-before / 2, "initial"))
    return Curves(drawn, -before - 0.02 * end, -before, end + 0.03 * max(end, 2), x_ticks)


def curves_view(points: Sequence[Point], planned: int, colour: str, *, key: str) -> None:
    """Draw the curves side by side in this colour."""
    _component()(key=key, data=html(curves(points, planned), colour))


def html(drawn: Curves, colour: str) -> str:
    """Return the curves as HTML."""
    last = ", ".join(f"{SERIES[c.name][0]} {c.y[-1]:.4g}" for c in drawn.curves)
    panels = "".join(_panel(c, drawn) for c in drawn.curves)
    label = f"Curves over the steps; last values: {last}"
    return f'<div class="curves" role="img" aria-label="{label}" style="--line: {colour}">{panels}</div>'


def _panel(curve: Curve, axis: Curves) -> str:
    across = [100 * axis.share(x) for x in curve.x]
    up = [100 * h for h in curve.heights(curve.y)]
    lines = [
        (100 * h, label)
        for h, (_, label) in zip(curve.heights([v for v, _ in curve.y_ticks]), curve.y_ticks, strict=True)
    ]
    lines = [(h, label) for h, label in lines if 0 <= h <= 100]
    grid = "".join(f"M0 {100 - h:.2f}H100" for h, _ in lines)
    line = "M" + "L".join(f"{x:.2f} {100 - y:.2f}" for x, y in zip(across, up, strict=True))
    dots = (
        "".join(f"M{x:.2f} {100 - y:.2f}h0" for x, y in zip(across, up, strict=True))
        if len(up) <= MAX_DOTS
        else ""
    )
    ground = 100 * axis.share(0.0) if axis.initial < 0 else 0.0
    return (
        f"<figure><figcaption>{SERIES[curve.name][0]}</figcaption><div>"
        '<svg viewBox="0 0 100 100" preserveAspectRatio="none">'
        f'<path class="ground" d="M0 0H{ground:.2f}V100H0Z"/><path class="grid" d="{grid}"/>'
        f'<path class="line" d="{line}"/><path class="dots" d="{dots}"/></svg>'
        + "".join(f'<span class="y" style="bottom: {h:.2f}%">{label}</span>' for h, label in lines)
        + "".join(
            f'<span class="x" style="left: {100 * axis.share(x):.2f}%">{label}</span>'
            for x, label in axis.ticks
        )
        + f'<div class="read">{"".join(_readings(curve, across))}</div></div></figure>'
    )


def _readings(curve: Curve, across: list[float]) -> Iterator[str]:
    """Yield a strip for each point that shows its value under the pointer."""
    every = math.ceil(len(across) / MAX_READ)
    chosen = list(range(len(across) - 1, -1, -every))[::-1]  # includes the last point
    edges = [0.0, *((across[a] + across[b]) / 2 for a, b in pairwise(chosen)), 100.0]
    for k, (left, right) in zip(chosen, pairwise(edges), strict=True):
        place = "initial" if curve.x[k] <= 0 else f"{curve.x[k]:g}"
        yield f'<i style="flex-grow: {right - left:.2f}"><b>{place}: {curve.y[k]:.4g}</b></i>'


def _known(point: Point, name: str) -> bool:
    value = getattr(point, name)
    return value is not None and math.isfinite(value) and (name == "psnr" or value > 0)


# ---- round numbers ------------------------------------------------------------------------------------


def _round_step(least: float) -> float:
    """Return the smallest of 1, 2, 5 times a power of ten that is at least `least`."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= least * (1 - 1e-9))


def _ticks(low: float, high: float) -> list[Tick]:
    """Return about four round values."""
    step = _round_step(max(high - low, abs(high) * 0.01, 1e-6) / 4)
    return [
        (k * step, f"{k * step:.4g}") for k in range(math.ceil(low / step) - 1, math.floor(high / step) + 2)
    ]


def _log_ticks(low: float, high: float) -> list[Tick]:
    """Return round values on a logarithmic axis."""
    span = math.log10(high / low)
    if span < 0.15:
        return [(v, label) for v, label in _ticks(low, high) if v > 0]
    digits: tuple[float, ...] = (1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9)
    if span > 0.6:
        digits = (1, 2, 5) if span <= 2 else (1,)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1)
    return [(d * 10.0**e, f"{d * 10.0**e:.4g}") for e in powers for d in digits]


@cache
def _component() -> Any:
    return st.components.v2.component(
        "tomopatch_curves",
        html='<div class="place"></div>',
        css=(Path(__file__).parent / "curves.css").read_text("utf-8"),
        js="export default ({ parentElement, data }) => "
        "{ parentElement.querySelector('.place').innerHTML = data; };",
    )
