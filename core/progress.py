"""How a running method tells what it is doing, and how it is asked to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Step:
    """One finished iteration.

    Attributes
    ----------
    i, total : int
        This is iteration i of total, counted from 1.
    x : Tensor (z, y, x)
        The current iterate, mu [1/mm]. A view of the method's own memory: copy what must outlive the call.
    residual : float or None
        |A(x) - y| / |y|, where the method knows it.
    sigma : float or None
        Diffusion noise level of the step, in network units (1000 HU); None for classic methods.
    noisy, denoised : Tensor (z, y, x) or None
        What the prior was given and what it returned, mu [1/mm].
    tiles : tuple of (z, y, x) or None
        Voxel offset of the tiling that the pass used; None for classic methods.
    """

    i: int
    total: int
    x: Tensor
    residual: float | None = None
    sigma: float | None = None
    noisy: Tensor | None = None
    denoised: Tensor | None = None
    tiles: tuple[int, int, int] | None = None


Callback = Callable[[Step], None]
"""Called once per iteration; returns nothing; raises StopIteration to stop the method."""


def stops(callback: Callback | None, step: Step) -> bool:
    """Tell the callback; True if it asked to stop. The method then returns what it has."""
    if callback is None:
        return False
    try:
        callback(step)
    except StopIteration:
        return True
    return False
