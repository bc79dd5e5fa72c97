"""Numbers and times as text."""

from __future__ import annotations

import math
from collections.abc import Iterable


def sentence(text: str) -> str:
    """Return the text with a capital first letter, unless it begins with a file name."""
    return text if "." in text.partition(" ")[0] else text[:1].upper() + text[1:]


def times(shape: Iterable[object]) -> str:
    """Format a shape, e.g. 64 × 128 × 128."""
    return " × ".join(str(n) for n in shape)


def count(n: float) -> str:
    """Format a number with thin spaces between groups of digits, e.g. 100 000."""
    return f"{n:,.0f}".replace(",", "\u202f")


def plural(n: int, noun: str) -> str:
    """Format a number of things, e.g. 1 run, 3 runs."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def percent(share: float) -> str:
    """Format a share of 1, with more digits below 10 %."""
    return f"{share:.2%}" if share < 0.1 else f"{share:.0%}"


def seconds(value: float) -> str:
    """Format a duration in seconds or minutes."""
    if not math.isfinite(value):
        return "…"
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min"
