"""Numbers and times as text."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

_MARKUP = re.compile(r"[\\`*~\[\]{}|$<>#]|(?<!\w)_|_(?!\w)|:(?=[\w/])")
"""Characters that begin Markdown or a Streamlit directive."""
_LINK = re.compile(r"(?<=:)(?=//)|(?<=www)(?=\.)|(?<=@)(?=\w)", re.IGNORECASE)
"""Places inside a bare web address. Markdown turns these addresses into links even if they are escaped."""
_JOINER = "\u2060"  # invisible


def sentence(text: str) -> str:
    """Return the text with a capital first letter, unless it begins with a file name."""
    return text if "." in text.partition(" ")[0] else text[:1].upper() + text[1:]


def plain(text: str, longest: int = 400) -> str:
    """Return a text of at most `longest` characters in one line, with possible markup escaped.

    For text from files, links and users, and for error messages, which may repeat this text.
    """
    text = " ".join(text.split())
    if len(text) > longest:
        text = text[: longest - 1].rstrip() + "…"
    return _MARKUP.sub(r"\\\g<0>", _LINK.sub(_JOINER, text))


def times(shape: Iterable[object]) -> str:
    """Format a shape, e.g. 64 × 128 × 128."""
    return " × ".join(str(n) for n in shape)


def count(n: float) -> str:
    """Format a number with thin spaces between groups of digits, e.g. 100 000."""
    return f"{n:,.0f}".replace(",", "\u202f")


def plural(n: int, noun: str) -> str:
    """Format a number of things, e.g. 1 run, 3 runs."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def ordinal(n: int) -> str:
    """Format an ordinal number, e.g. 2nd, 10th."""
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"


def length(mm: float) -> str:
    """Format a length in mm, µm or nm."""
    unit, factor = next(((u, f) for u, f in (("mm", 1.0), ("µm", 1e3)) if mm * f >= 0.1), ("nm", 1e6))
    return f"{mm * factor:.3g} {unit}"


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
