"""One colour for one meaning: the reference, each method, and further runs of a method."""

from __future__ import annotations

from collections.abc import Sequence

from core.reconstruct.methods import METHODS

REFERENCE = "#8a8f98"
COLOURS = ("#0097e2", "#5a39ff", "#29a669", "#884a97", "#d37900", "#c41829", "#4a79ff")
"""Told apart by colour-blind eyes too, from the reference as well; 3:1 or more on light and on dark ground."""


def of_runs(methods: Sequence[str]) -> list[str]:
    """A colour for each of these runs: its method's, or for a further one of that method the next that is free."""
    own = dict(zip(METHODS, COLOURS, strict=False))
    free = [c for c in COLOURS if c not in {own.get(method) for method in methods}]
    out: list[str] = []
    seen: set[str] = set()
    for method in methods:
        first = method in own and method not in seen
        out.append(own[method] if first else free.pop(0) if free else COLOURS[len(out) % len(COLOURS)])
        seen.add(method)
    return out
