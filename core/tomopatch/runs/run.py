"""A run: its config, status and figures, as read from the store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tomopatch.analysis.metrics import Quality
from tomopatch.reconstruct.plan import Plan
from tomopatch.runs.prior import Config, read_config

ACTIVE = ("queued", "running")
FINISHED = ("done", "stopped")
STATUSES = (*ACTIVE, *FINISHED, "cancelled", "failed")

_RENAMED = {"patient": "background", "begun": "attempts"}
"""Keys of a run's state in stores of earlier versions, and their names now."""

C = TypeVar("C", bound=Config, covariant=True)


@dataclass(frozen=True)
class Run(Generic[C]):
    """A stored run.

    Attributes
    ----------
    metrics : Quality or None
        None if there was no reference.
    message : str
        Reason of a failure.
    name : str
        Name given by a user.
    pinned : bool
        A pinned run is never evicted.
    attempts : int
        Number of workers that began or resumed it.
    lost : int
        Number of workers that died in a row without progress.
    kept_steps : int
        Steps in the checkpoint when the last of these workers died.
    background : bool
        A background run gives way to all others.
    owners : tuple of str
        Visitors who submitted it.
    plan : Plan or None
        Resolved settings of a reconstruction with a prior.
    """

    id: str
    config: C
    status: str
    created: float
    seconds: float = 0.0
    peak_memory_mb: float = 0.0
    residuals: tuple[float, ...] = ()
    metrics: Quality | None = None
    message: str = ""
    device: str = "cpu"
    name: str = ""
    pinned: bool = False
    attempts: int = 0
    lost: int = 0
    kept_steps: int = 0
    background: bool = False
    owners: tuple[str, ...] = ()
    plan: Plan | None = None


def read_run(run_id: str, state: dict[str, Any], config: dict[str, Any]) -> Run[Any]:
    """Return the run that these files describe.

    Raises
    ------
    ValueError
        If its config is of another version, or a file is damaged.
    """
    known = read_config(config)
    state = {new: state[old] for old, new in _RENAMED.items() if old in state} | state
    try:
        metrics = state.get("metrics")
        if state["status"] not in STATUSES:
            raise ValueError(f"unknown status {state['status']!r}")
        return Run(
            id=run_id,
            config=known,
            status=state["status"],
            created=float(state["created"]),
            seconds=float(state.get("seconds", 0.0)),
            peak_memory_mb=float(state.get("peak_memory_mb", 0.0)),
            residuals=tuple(map(float, state.get("residuals", ()))),
            metrics=None if metrics is None else Quality(**{k: float(v) for k, v in metrics.items()}),
            message=str(state.get("message", "")),
            device=str(state.get("device", "cpu")),
            name=str(state.get("name", "")),
            pinned=state.get("pinned") is True,
            attempts=int(state.get("attempts", 0)),
            lost=int(state.get("lost", 0)),
            kept_steps=int(state.get("kept_steps", 0)),
            background=state.get("background") is True,
            owners=tuple(map(str, state.get("owners", ()))),
            plan=None if state.get("plan") is None else Plan.from_json(state["plan"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the run {run_id} is damaged ({error!r}); delete it.") from error
