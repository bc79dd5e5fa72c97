"""Owners of runs: on a shared server only those who asked for a run may stop, rename or delete it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tomopatch.runs.limits import shared
from tomopatch.store.store import RunStore

MOST = 100
"""Owners that are noted of a run; with so many nobody may delete it alone anyway."""


@dataclass
class Owners:
    """Rules about who may change a run. On a server that is not shared everybody may change everything.

    Parameters
    ----------
    store : RunStore
        Keeps the owners with each run.
    visitor : f() -> str
        Id of the visitor who asks; the same after a reload of the page.
    administrator : f() -> bool
        Whether this visitor is an administrator, who may change every run.
    """

    store: RunStore
    visitor: Callable[[], str]
    administrator: Callable[[], bool]

    def join(self, run_id: str) -> None:
        """The visitor asked for a run that exists already, and owns it together with the others from now on."""
        if shared():
            owners, visitor = self.store.run(run_id).owners, self.visitor()
            if visitor not in owners and len(owners) < MOST:
                self.store.update(run_id, owners=[*owners, visitor])

    def leave(self, run_id: str) -> str:
        """Reason why the visitor may not stop or delete a run; empty if there is none.

        A run that others asked for, too, goes on without this visitor.
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
        """Reason why the visitor may not change a run; empty if there is none."""
        if not shared() or self.administrator() or self.visitor() in self.store.run(run_id).owners:
            return ""
        return "This run belongs to another visitor: only they or an administrator can change it."

    def refusal_to_pin(self) -> str:
        """Reason why the visitor may not exempt runs from eviction; empty if there is none."""
        if not shared() or self.administrator():
            return ""
        return "On this server only an administrator can keep runs for good."
