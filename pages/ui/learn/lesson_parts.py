"""What a lesson is made of, and what several of them scan."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pages.ui.session import routes
from tomopatch.runs.config import RunConfig, ScanConfig

GRID = (64, 128, 128)
LIGHT, MIDDLE, SMALL = (64, 96, 96), (48, 96, 96), (32, 96, 96)
"""For what takes longer: a step of a lesson should be done within half a minute on a laptop (`tests.bench.lessons`)."""
THIN = (16, 64, 64)
"""For curves, of which each point is a run."""
THORAX = ScanConfig("phantom:thorax:0", GRID, num_views=180)
SPHERES = ScanConfig("phantom:spheres", GRID, num_views=180)


@dataclass(frozen=True)
class Step:
    """Something to look at: what for, and the app's state in which it can be seen.

    Attributes
    ----------
    text : str
    label : str
        Of the button.
    page : str
        Where the button leads.
    scan : ScanConfig
        The current scan there.
    runs : tuple of RunConfig
        Queued, and what Compare shows; on Reconstruct the first is the current run.
    sweep : dict
        What is typed on What if; see `state.sweep`.
    plane : str
        In which volumes stand side by side; see `state.plane`.
    """

    text: str
    label: str
    page: str
    scan: ScanConfig
    runs: tuple[RunConfig, ...] = ()
    sweep: dict[str, str] = field(default_factory=dict)
    plane: str = "axial"


@dataclass(frozen=True)
class Lesson:
    """A lesson: what it is about, its steps, what else to try, and a question with its answer."""

    title: str
    minutes: int
    lead: str
    steps: tuple[Step, ...]
    tries: tuple[str, ...]
    question: str
    answer: str


def compare(text: str, label: str, *runs: RunConfig, plane: str = "axial") -> Step:
    """A step that shows these runs side by side."""
    return Step(text, label, routes.COMPARE, runs[0].scan, runs, plane=plane)


def run(
    scan: ScanConfig, method: str, changes: dict[str, Any] | None = None, *, prior: str = "", **params: Any
) -> RunConfig:
    """A run by this method, of the scan with some of its fields changed."""
    return RunConfig(replace(scan, **(changes or {})), method, params, prior)
