"""Steps of a method.

A method is a generator of steps. Each step carries the current estimate and the state from which the same
method continues. The consumer of the steps shows them, keeps them, or stops early.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

State = Mapping[str, Any]
"""Everything that a method needs to continue after a step: tensors, numbers, texts, and the states of its
parts, by name. The method may reuse the tensors: copy them if they must outlive the step.
"""


@dataclass(frozen=True)
class Tiles:
    """Tiles that a pass of the prior computed: boxes of `size` voxels that wrap around at the volume's ends.

    size : (z, y, x)
    starts : tuple of (z, y, x)
        First voxel of each; may lie beyond the end, where the tile wraps around. The volume is taken as
        extended to a multiple of `size`.
    """

    size: tuple[int, int, int]
    starts: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Step:
    """One finished iteration.

    Attributes
    ----------
    i, total : int
        Iteration i of total in its stage, counted from 1.
    iterate : Tensor (z, y, x) or f() -> Tensor
        The current estimate, mu [1/mm], or a function that computes it, if most steps are not looked at.
    x : Tensor (z, y, x)
        The current estimate. It may be the method's own memory: copy it if it must outlive the step.
    residual : float or None
        |A(x) - y| / |y|, if the method knows it.
    sigma : float or None
        Diffusion noise level of the step, in network units (1000 HU); None for classical methods.
    noisy, denoised : Tensor (z, y, x) or None
        Input and output of the prior, mu [1/mm].
    tiles : Tiles or None
        Tiles of the pass; None for classical methods.
    stage : str
        "" is the method proper; "initial" makes its first estimate: an initial reconstruction, coarser grids.
    work : float or None
        Share of the whole run's work that is done, 0 to 1, if the steps differ in cost; None = i of total.
    state : State or None
        The method continues after this step, to the same result, if it is given this state. None = it can
        only start anew.
    std : Tensor (z, y, x) or None
        Expected error of the estimate per voxel [1/mm], if the method knows it.
    initial : Tensor (z, y, x) or None
        The initial reconstruction [1/mm] that the prior changed.
    plan : object or None
        The resolved parameters of the method; see `tomopatch.reconstruct.diffusion.plan.Plan`.
    """

    i: int
    total: int
    iterate: Tensor | Callable[[], Tensor]
    residual: float | None = None
    sigma: float | None = None
    noisy: Tensor | None = None
    denoised: Tensor | None = None
    tiles: Tiles | None = None
    stage: str = ""
    work: float | None = None
    state: State | None = None
    std: Tensor | None = None
    initial: Tensor | None = None
    plan: Any = None

    @cached_property
    def x(self) -> Tensor:
        return self.iterate() if callable(self.iterate) else self.iterate


Callback = Callable[[Step], None]
"""Called once per step; returns nothing; raises StopIteration to stop the method."""


class Interrupted(Exception):
    """Interruption of a step between two batches of tiles. The last step that was yielded is the result."""


def last(steps: Iterable[Step], callback: Callback | None = None) -> Step:
    """Run a method to its end, or until the callback raises StopIteration, and return the last step.

    Raises
    ------
    Interrupted
        If the first step was interrupted.
    """
    step: Step | None = None
    try:
        for step in steps:
            if stops(callback, step):
                break
    except Interrupted:
        if step is None:
            raise
    if step is None:
        raise ValueError("the method has no step; expected at least one.")
    return step


def stops(callback: Callback | None, step: Step) -> bool:
    """Call the callback; True if it asked to stop."""
    if callback is None:
        return False
    try:
        callback(step)
    except StopIteration:
        return True
    return False


def moved(state: State, device: torch.device) -> dict[str, Any]:
    """The state with its tensors on the device; random generators' states stay on the CPU."""

    def move(name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return moved(value, device)
        return value.to(device) if isinstance(value, Tensor) and name != "generator" else value

    return {name: move(name, value) for name, value in state.items()}
