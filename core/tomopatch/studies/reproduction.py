"""Reproduction of a stored result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import DEFAULT
from tomopatch.progress import Callback
from tomopatch.reconstruct.methods import make_params
from tomopatch.reconstruct.scaled import reconstruct_scaled
from tomopatch.runs.config import RunConfig
from tomopatch.runs.measured import prepare_any
from tomopatch.runs.provenance import made_with
from tomopatch.runs.run import FINISHED
from tomopatch.store.store import RunStore
from tomopatch.volume import MU_WATER

SAME_HU = 0.5
"""Largest difference of results that count as the same: the rounding error of files in whole HU."""


@dataclass(frozen=True)
class Reproduction:
    """Comparison of a reproduced result with the stored one.

    Attributes
    ----------
    equal : bool
        Whether every voxel has the same value.
    largest_hu, rms_hu : float
        Largest and root-mean-square difference [HU].
    changed : dict
        Versions, weights and machine that differ: name -> (then, now).
    """

    equal: bool
    largest_hu: float
    rms_hu: float
    changed: dict[str, tuple[str, str]]

    @property
    def same(self) -> bool:
        return self.largest_hu < SAME_HU

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"same": self.same}

    def sentence(self) -> str:
        """The comparison as a sentence."""
        if self.equal:
            text = "The result is equal, voxel by voxel."
        else:
            comparison = "is the same within" if self.same else "differs by up to"
            text = (
                f"The result {comparison} {self.largest_hu:.2g} HU ({self.rms_hu:.2g} HU root mean square)."
            )
        differs = ", ".join(
            f"{name} {then or '?'} then, {now or '?'} now" for name, (then, now) in self.changed.items()
        )
        return f"{text} Made with different software: {differs}." if differs else text


def reproduce(
    store: RunStore, run_id: str, *, prior: Callable[[str], PatchPrior], callback: Callback | None = None
) -> Reproduction:
    """Repeat a stored run and compare the results; `prior` loads a prior by its name.

    Raises
    ------
    ValueError
        If the run is not a finished reconstruction.
    """
    run = store.run(run_id)
    if not isinstance(run.config, RunConfig):
        raise ValueError(f"the run {run_id} is not a reconstruction; only reconstructions can be reproduced.")
    if run.status != "done":
        state = "was stopped early" if run.status in FINISHED else f"is {run.status}"
        raise ValueError(f"the run {run_id} {state}; only a completed run can be reproduced.")
    before = store.result(run_id).volume
    scan = run.config.scan
    prepared = prepare_any(scan, store)
    result = reconstruct_scaled(
        run.config.method,
        prepared.A,
        prepared.measurement,
        typical=prepared.typical,
        params=make_params(run.config.method, run.config.params),
        prior=prior(run.config.prior) if run.config.prior else None,
        callback=callback,
    )
    difference = (result.volume.data.cpu() - before.data) * (1000 / MU_WATER)
    then, now = store.made_with(run_id), made_with(run.config.prior or DEFAULT)
    if not run.config.prior:
        then, now = ({k: v for k, v in d.items() if k != "weights"} for d in (then, now))
    changed = {k: (then.get(k, ""), now.get(k, "")) for k in {**then, **now} if then.get(k) != now.get(k)}
    return Reproduction(
        torch.equal(result.volume.data.cpu(), before.data),
        float(difference.abs().max()),
        float(difference.square().mean().sqrt()),
        changed if then else {},
    )
