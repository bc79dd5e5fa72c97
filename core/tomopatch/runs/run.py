"""A run: its config, status and figures, as read from the store."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, Generic, Literal, TypeVar, get_args

from pydantic import SkipValidation

from tomopatch.analysis.metrics import Quality
from tomopatch.reconstruct.diffusion.plan import Plan
from tomopatch.reconstruct.held_out import MeasuredQuality
from tomopatch.runs.prior import Config, read_config
from tomopatch.schema import Flag, Real, Whole, read, record

ACTIVE = ("queued", "running")
FINISHED = ("done", "stopped")
Status = Literal["queued", "running", "done", "stopped", "cancelled", "failed"]
STATUSES: tuple[str, ...] = get_args(Status)

_RENAMED = {"patient": "background", "begun": "attempts"}
"""Keys of a run's state in stores of earlier versions, and their names now."""

C = TypeVar("C", bound=Config, covariant=True)


@record
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
    measured : MeasuredQuality or None
        Figures of a reconstruction of a measured scan, which has no reference.
    """

    id: str
    config: SkipValidation[C]
    status: Status
    created: Real
    seconds: Real = 0.0
    peak_memory_mb: Real = 0.0
    residuals: tuple[Real, ...] = ()
    metrics: Quality | None = None
    message: str = ""
    device: str = "cpu"
    name: str = ""
    pinned: Flag = False
    attempts: Whole = 0
    lost: Whole = 0
    kept_steps: Whole = 0
    background: Flag = False
    owners: tuple[str, ...] = ()
    plan: Plan | None = None
    measured: MeasuredQuality | None = None


def read_run(run_id: str, state: dict[str, Any], config: dict[str, Any]) -> Run[Any]:
    """Return the run that these files describe.

    Raises
    ------
    ValueError
        If its config is of another version, or a file is damaged.
    """
    values = {"id": run_id, "config": read_config(config)}
    values |= {new: state[old] for old, new in _RENAMED.items() if old in state}
    values |= {f.name: state[f.name] for f in fields(Run) if f.name in state}
    try:
        return read(Run, values)
    except ValueError as error:
        raise ValueError(f"the run {run_id} is damaged ({error}); delete it.") from error
