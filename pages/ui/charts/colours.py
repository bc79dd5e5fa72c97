"""Colours and dashes of lines in plots: the reference, each method, and further runs of a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tomopatch.reconstruct.methods import METHODS

REFERENCE = "#8a8f98"
COLOURS = ("#0097e2", "#5a39ff", "#29a669", "#884a97", "#d37900", "#c41829", "#4a79ff")
"""Distinct for colour-blind users, also from the reference.

Contrast of at least 3:1 on light and dark backgrounds.
"""
DASHES = ("solid", "dash", "dot", "longdashdot")
"""Dashes of further lines once all colours are in use."""


class Line(NamedTuple):
    """Colour and dash of a run in plots."""

    colour: str
    dash: str = "solid"

    def options(self, width: float) -> dict[str, Any]:
        """Return the line as Plotly options."""
        return {"color": self.colour, "dash": self.dash, "width": width}


def of_runs(methods: Sequence[str]) -> list[Line]:
    """Return a line for each run: that of its method, or the next free line for further runs of a method."""
    lines = [Line(colour, dash) for dash in DASHES for colour in COLOURS]
    own = dict(zip(METHODS, lines, strict=False))
    free = [line for line in lines if line not in {own.get(method) for method in methods}]
    out: list[Line] = []
    seen: set[str] = set()
    for method in methods:
        first = method in own and method not in seen
        out.append(own[method] if first else free.pop(0) if free else lines[len(out) % len(lines)])
        seen.add(method)
    return out
