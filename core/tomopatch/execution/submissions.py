"""Visitors of the active runs, and the limits of how many runs may wait."""

from __future__ import annotations

from collections.abc import Sequence

from tomopatch.runs.limits import limit


class Submissions:
    """Who submitted each active run, and which of them are background runs."""

    def __init__(self) -> None:
        self._visitors: dict[str, str] = {}  # by run, without background runs
        self._background: set[str] = set()

    def add(self, run_id: str, visitor: str | None, *, background: bool) -> None:
        """Record a run; the visitor of a run of an earlier server is None."""
        if background:
            self._background.add(run_id)
        elif visitor is not None:
            self._visitors[run_id] = visitor

    def remove(self, run_id: str) -> None:
        """Drop the record of a run that is over."""
        self._visitors.pop(run_id, None)
        self._background.discard(run_id)

    def refusal(self, active: Sequence[str], visitor: str, *, background: bool) -> str:
        """Reason why a visitor cannot submit a further run; empty if possible.

        Parameters
        ----------
        active : list of str
            Ids of the active runs.
        background : bool
            Whether the further run is a background run.

        Raises
        ------
        ValueError
            If the environment holds an invalid limit.
        """
        waiting = sum((run_id in self._background) == background for run_id in active)
        if waiting >= limit("QUEUE_LENGTH"):
            sweeps = " of sweeps" if background else ""
            runs = "run waits" if waiting == 1 else "runs wait"
            return f"The queue{sweeps} is full: {waiting} {runs}. Try again when some of them are done."
        own = sum(self._visitors.get(run_id) == visitor for run_id in active)
        if not background and own >= limit("SESSION_RUNS"):
            runs = "run" if own == 1 else "runs"
            return f"You have {own} {runs} waiting, the most that one visitor may have. Cancel one, or wait."
        return ""
