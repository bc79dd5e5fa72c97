"""The figures of a run's steps as small curves.

They are drawn anew every few seconds while a run works. A plotting library takes the browser a tenth of a second each time
and half a second before the first, in which no control answers.
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
"""What each figure is called, and its factor."""
MAX_DOTS = 30
"""Points of a line that are marked one by one."""
MAX_READ = 100
"""Points of a line that tell their value under the pointer."""

Tick = tuple[float, str]


class Curve(NamedTuple):
    """One figure over the steps.

    Attributes
    ----------
    name : in SERIES
    x : places on the axis of all curves; the iterations of a start lie left of 0
    y : values, in the units of its title
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
        """Of values, from the lower edge (0) to the upper (1)."""
        scale = math.log if self.is_log else float
        ends = [scale(v) for v in self.y]
        low, high = min(ends), max(ends)
        room = 0.08 * (high - low) or max(abs(high) * 0.01, 1e-6)
        return [(scale(v) - low + room) / (high - low + 2 * room) for v in values]


class Curves(NamedTuple):
    """The curves and their common axis: where it begins, where on it the start begins (0 = there is none), and where it ends."""

    curves: list[Curve]
    begin: float
    start: float
    end: float
    ticks: list[Tick]

    def share(self, x: float) -> float:
        """A place on the axis, from the left edge (0) to the right (1)."""
        return (x - self.begin) / (self.end - self.begin)


def shown(points: Sequence[Point]) -> list[str]:
    """Which figures these steps have."""
    return [name for name in SERIES if any(_known(p, name) for p in points)]


def curves(points: Sequence[Point], planned: int = 1) -> Curves:
    """PSNR, residual and noise level after each step, where known; the axis is as long as the whole run.

    The iterations of a start, however many, lie left of 0 on a ground of their own. As long as there are no others,
    `planned` says how many steps will follow.
    """
    end = max((p.total for p in points if not p.stage), default=planned)
    starts = [p for p in points if p.stage]  # of one grid or of several: one after the other
    before = max(1.0, end / 5) if starts else 0.0
    places = {id(p): float(p.i) for p in points} | {
        id(p): (rank / len(starts) - 1) * before for rank, p in enumerate(starts, 1)
    }
    drawn = []
    for name in shown(points):
        known = [p for p in points if _known(p, name)]
        y = [getattr(p, name) * SERIES[name][1] for p in known]
        ticks = _log_ticks(min(y), max(y)) if name != "psnr" else _ticks(min(y), max(y))
        drawn.append(Curve(name, [places[id(p)] for p in known], y, ticks))
    every = max(1, math.ceil(_round_step(end / 7)))
    x_ticks: list[Tick] = [(k, str(k)) for k in range(every, end + 1, every)]
    if before:
        x_ticks.insert(0, (-before / 2, "start"))
    return Curves(drawn, -before - 0.02 * end, -before, end + 0.03 * max(end, 2), x_ticks)


def curves_view(points: Sequence[Point], planned: int, colour: str, *, key: str) -> None:
    """Draw the curves beside each other, in this colour."""
    _component()(key=key, data=html(curves(points, planned), colour))


def html(drawn: Curves, colour: str) -> str:
    """The curves as they are put into the page."""
    last = ", ".join(f"{SERIES[c.name][0]} {c.y[-1]:.4g}" for c in drawn.curves)
    panels = "".join(_panel(c, drawn) for c in drawn.curves)
    return f'<div class="curves" role="img" aria-label="Over the steps, at last: {last}" style="--line: {colour}">{panels}</div>'


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
    ground = 100 * axis.share(0.0) if axis.start < 0 else 0.0
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
    """A strip for each point, which tells its value as long as the pointer is in it."""
    every = math.ceil(len(across) / MAX_READ)
    chosen = list(range(len(across) - 1, -1, -every))[::-1]  # with the last
    edges = [0.0, *((across[a] + across[b]) / 2 for a, b in pairwise(chosen)), 100.0]
    for k, (left, right) in zip(chosen, pairwise(edges), strict=True):
        place = "start" if curve.x[k] <= 0 else f"{curve.x[k]:g}"
        yield f'<i style="flex-grow: {right - left:.2f}"><b>{place}: {curve.y[k]:.4g}</b></i>'


def _known(point: Point, name: str) -> bool:
    value = getattr(point, name)
    return value is not None and math.isfinite(value) and (name == "psnr" or value > 0)


# ---- round numbers ------------------------------------------------------------------------------------


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not less."""
    power = 10.0 ** math.floor(math.log10(least))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= least * (1 - 1e-9))


def _ticks(low: float, high: float) -> list[Tick]:
    """About four round values."""
    step = _round_step(max(high - low, abs(high) * 0.01, 1e-6) / 4)
    return [
        (k * step, f"{k * step:.4g}") for k in range(math.ceil(low / step) - 1, math.floor(high / step) + 2)
    ]


def _log_ticks(low: float, high: float) -> list[Tick]:
    """Round values on a logarithmic axis."""
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
        js="export default ({ parentElement, data }) => { parentElement.querySelector('.place').innerHTML = data; };",
    )
