"""What one server lets people do, read from the environment; the README lists it under "Sharing it"."""

from __future__ import annotations

import math
import os


def limit(name: str, usual: float) -> float:
    """The number in the environment variable TOMOPATCH_`name`, or the usual one.

    Raises
    ------
    ValueError
        If it is not a number of 0 or more.
    """
    text = os.environ.get(f"TOMOPATCH_{name}", "").strip()
    try:
        value = float(text) if text else usual
    except ValueError:
        value = math.nan
    if not value >= 0:
        raise ValueError(f"TOMOPATCH_{name} must be a number of 0 or more, got {text!r}.")
    return value


def checkpoint_seconds() -> float:
    """Between two checkpoints of a run, at least."""
    return limit("CHECKPOINT_SECONDS", 10.0)
