"""One line for one meaning: the reference, each method, and further runs of a method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tomopatch.reconstruct.methods import METHODS

REFERENCE = "#8a8f98"
COLOURS = ("#0097e2", "#5a39ff", "#29a669", "#884a97", "#d37900", "#c41829", "#4a79ff")
"""Told apart by colour-blind eyes too, from the reference as well; 3:1 or more on light and on dark ground."""
DASHES = ("solid", "dash", "dot", "longdashdot")
"""When all colours are taken, they come again in dashes."""


class Line(NamedTuple):
    """How a run is drawn in plots."""

    colour: str
    dash: str = "solid"

    def drawn(self, width: float) -> dict[str, Any]:
        """As plotly takes it."""
        return {"color": self.colour, "dash": self.dash, "width": width}


def of_runs(methods: Sequence[str]) -> list[Line]:
    """A line for each of these runs: its method's, or for a further one of that method the next that is free."""
    own = {method: Line(colour) for method, colour in zip(METHODS, COLOURS, strict=False)}
    lines = [Line(colour, dash) for dash in DASHES for colour in COLOURS]
    free = [line for line in lines if line not in {own.get(method) for method in methods}]
    out: list[Line] = []
    seen: set[str] = set()
    for method in methods:
        first = method in own and method not in seen
        out.append(own[method] if first else free.pop(0) if free else lines[len(out) % len(lines)])
        seen.add(method)
    return out
