"""Sweep: one run for every combination of numbers of views, angle ranges, doses, effect settings and methods.

A cell of a sweep is an ordinary run, so a sweep resumes where it stopped: stored runs are not repeated.
"""

from tomopatch.studies.sweep.cells import (
    METRICS,
    Cell,
    format_cells,
    look_up,
    metrics_of,
    seconds_left,
    table,
)
from tomopatch.studies.sweep.config import QUANTITIES, VARIED, SweepConfig, read_values, suited, varied_of
from tomopatch.studies.sweep.run import run_sweep

__all__ = [
    "METRICS",
    "QUANTITIES",
    "VARIED",
    "Cell",
    "SweepConfig",
    "format_cells",
    "look_up",
    "metrics_of",
    "read_values",
    "run_sweep",
    "seconds_left",
    "suited",
    "table",
    "varied_of",
]
