"""How a running method tells what it is doing, and how it is asked to stop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from torch import Tensor

State = Mapping[str, Any]
"""What a method needs to go on after a step: tensors and numbers by name. Its tensors may be the method's own memory."""


@dataclass(frozen=True)
class Tiles:
    """The tiles that a pass of the prior computed: boxes of `size` voxels that wrap around at the volume's ends.

    size : (z, y, x)
    starts : tuple of (z, y, x)
        First voxel of each; may lie beyond the end, where the tile begins anew on the other side. The volume is
        taken as continued to a multiple of `size`.
    """

    size: tuple[int, int, int]
    starts: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True, eq=False)
class Step:
    """One finished iteration.

    Attributes
    ----------
    i, total : int
        This is iteration i of total, counted from 1, of its stage.
    iterate : Tensor (z, y, x) or f() -> Tensor
        The current iterate, mu [1/mm], or how to make it, where most callbacks will not look at most steps.
    x : Tensor (z, y, x)
        The current iterate. A view of the method's own memory: copy what must outlive the call.
    residual : float or None
        |A(x) - y| / |y|, where the method knows it.
    sigma : float or None
        Diffusion noise level of the step, in network units (1000 HU); None for classic methods.
    noisy, denoised : Tensor (z, y, x) or None
        What the prior was given and what it returned, mu [1/mm].
    tiles : Tiles or None
        What the pass was made of; None for classic methods.
    stage : str
        "" is the method proper; "start" is what makes the estimate that it begins with.
    work : float or None
        Share of the whole run's work that is done, 0 to 1, where its steps differ in cost; None = i of total.
    state : f() -> State, or None
        What the method takes as `resume` to go on after this step with the same result. To be called within the
        callback, and not for the last step of a stage. None = it can only begin anew.
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
    state: Callable[[], State] | None = None

    @cached_property
    def x(self) -> Tensor:
        return self.iterate() if callable(self.iterate) else self.iterate


Callback = Callable[[Step], None]
"""Called once per iteration; returns nothing; raises StopIteration to stop the method."""


def nested(name: str, state: State) -> dict[str, Any]:
    """The state of a part of a method, as names in that of the whole."""
    return {f"{name}.{key}": value for key, value in state.items()}


def state_of(name: str, state: State | None) -> dict[str, Any] | None:
    """What `nested` put there; None where there is nothing of it."""
    return {
        k.removeprefix(f"{name}."): v for k, v in (state or {}).items() if k.startswith(f"{name}.")
    } or None


def stops(callback: Callback | None, step: Step) -> bool:
    """Tell the callback; True if it asked to stop. The method then returns what it has."""
    if callback is None:
        return False
    try:
        callback(step)
    except StopIteration:
        return True
    return False
