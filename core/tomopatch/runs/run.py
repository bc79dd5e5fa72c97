"""A run as it is known: what it was asked for, how far it is, what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from tomopatch.analysis.metrics import Quality
from tomopatch.runs.prior import Config, read_config

ACTIVE = ("queued", "running")
FINISHED = ("done", "stopped")
STATUSES = (*ACTIVE, *FINISHED, "cancelled", "failed")

C = TypeVar("C", bound=Config, covariant=True)


@dataclass(frozen=True)
class Run(Generic[C]):
    """A run as the store knows it. `metrics` only where a reference was known; `message` says what went wrong.

    `name` is what somebody calls it; a pinned run is never removed to make room. `begun` counts the workers that
    had it, `lost` those that died one after the other without progress, and `kept_steps` the steps in the checkpoint
    when the last of them died; a patient run gives way to others. `owners` are the visitors who asked for it.
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
    begun: int = 0
    lost: int = 0
    kept_steps: int = 0
    patient: bool = False
    owners: tuple[str, ...] = ()


def read_run(run_id: str, state: dict[str, Any], config: dict[str, Any]) -> Run[Any]:
    """The run that these files tell of.

    Raises
    ------
    ValueError
        If its config is of another version, or the files do not say what they should.
    """
    known = read_config(config)
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
            begun=int(state.get("begun", 0)),
            lost=int(state.get("lost", 0)),
            kept_steps=int(state.get("kept_steps", 0)),
            patient=state.get("patient") is True,
            owners=tuple(map(str, state.get("owners", ()))),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"the run {run_id} is damaged ({error!r}); delete it.") from error
