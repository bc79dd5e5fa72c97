"""Owners of runs: on a shared server only the visitors who submitted a run may stop, rename or delete it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tomopatch.runs.limits import shared
from tomopatch.store.store import RunStore

MAX_OWNERS = 100
"""Number of owners that are recorded per run."""


@dataclass
class Owners:
    """Rules about who may change a run. On a server that is not shared, every visitor may change every run.

    Parameters
    ----------
    store : RunStore
        Stores the owners with each run.
    visitor : f() -> str
        Id of the visitor who asks; the same after a reload of the page.
    administrator : f() -> bool
        Whether this visitor is an administrator, who may change every run.
    """

    store: RunStore
    visitor: Callable[[], str]
    administrator: Callable[[], bool]

    def join(self, run_id: str) -> None:
        """Make the visitor an owner of a run that exists already."""
        if shared():
            owners, visitor = self.store.run(run_id).owners, self.visitor()
            if visitor not in owners and len(owners) < MAX_OWNERS:
                self.store.update(run_id, owners=[*owners, visitor])

    def leave(self, run_id: str) -> str:
        """Return the reason why the visitor may not stop or delete a run; empty if they may.

        A run with other owners stays, and the visitor is no longer one of them.
        """
        refusal = self.refusal(run_id)
        if refusal or not shared() or self.administrator():
            return refusal
        owners = self.store.run(run_id).owners
        if len(owners) < 2:
            return ""
        self.store.update(run_id, owners=[owner for owner in owners if owner != self.visitor()])
        return "Another visitor asked for this run, too: it stays for them."

    def refusal(self, run_id: str) -> str:
        """Return the reason why the visitor may not change a run; empty if they may."""
        if not shared() or self.administrator() or self.visitor() in self.store.run(run_id).owners:
            return ""
        return "This run belongs to another visitor: only they or an administrator can change it."

    def refusal_to_pin(self) -> str:
        """Return the reason why the visitor may not exempt runs from eviction; empty if they may."""
        if not shared() or self.administrator():
            return ""
        return "On this server only an administrator can keep runs for good."
