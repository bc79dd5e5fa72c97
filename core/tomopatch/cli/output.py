"""Output of the commands: progress on the terminal, and files of volumes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from tqdm import tqdm

from tomopatch.io.nifti import write_nifti
from tomopatch.notes import note
from tomopatch.progress import Step
from tomopatch.reconstruct.run import Result
from tomopatch.store.history import Point
from tomopatch.volume import Volume


def write_volume(path: Path, volume: Volume) -> None:
    """Write a NIfTI file, in a folder that is created if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, volume)


def note_plans(results: Iterable[Result]) -> None:
    """Print what the plans of reconstructions with a prior remark: clamped numbers and decisions."""
    for result in results:
        for remark in () if result.plan is None else result.plan.remarks:
            note(remark)


class ProgressBar:
    """Progress bar on stderr if that is a terminal: `with ProgressBar("SIRT") as callback`."""

    def __init__(self, label: str) -> None:
        self.bar = tqdm(desc=label, disable=not sys.stderr.isatty(), leave=False)

    def __enter__(self) -> Callable[[Step | Point], None]:
        return self._show

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def _show(self, step: Step | Point) -> None:
        self.bar.total = step.total
        self.bar.update(step.i - self.bar.n)
        if step.residual is not None:
            self.bar.set_postfix(residual=f"{step.residual:.3g}")
