"""What a lesson is made of."""

from __future__ import annotations

from dataclasses import dataclass, field

from core.runs.config import RunConfig, ScanConfig


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
