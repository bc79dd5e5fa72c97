"""Iterative reconstruction by least squares: SIRT and CGLS.

Both take and return attenuation mu [1/mm] on the projector's grid. `weights` are inverse variances of the
rays due to photon noise; see `relative_weights`. Each method is a generator of steps; `state` is that of an
earlier step.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tomopatch.progress import State, Step
from tomopatch.projector import Projector


def sirt(
    A: Projector,
    y: Tensor,
    *,
    num_iterations: int = 100,
    low: float | None = 0.0,
    high: float | None = None,
    x_init: Tensor | None = None,
    state: State | None = None,
) -> Iterator[Step]:
    """Simultaneous iterative reconstruction: x <- clip(x + C A.T(R (y - A(x)))).

    R and C are the inverse row and column sums of A, so no step size is needed. Rays that meet no voxel, and
    voxels that no ray meets, get weight 0. (Kak & Slaney, sec. 7.4)

    Parameters
    ----------
    y : Tensor (v, angle, u)
        Line integrals, dimensionless (-log transmission).
    low, high : float or None
        Attenuation limits [1/mm], applied each iteration; None = free.
    x_init : Tensor (z, y, x) or None
        Initial volume; None = zero.
    """
    R, C = _inverse_sums(A, y)
    done, x = (0, _begin(A, y, x_init)) if state is None else (state["i"], state["x"].clone())
    scale = norm(y)
    for i in range(done + 1, num_iterations + 1):
        residual = y - A(x)
        # residual of the previous iterate; that of the new one would cost another projection
        error = norm(residual) / scale
        x = _clip(x.addcmul_(C, A.T(residual.mul_(R))), low, high)
        yield Step(i, num_iterations, x, error, state={"i": i, "x": x})


def cgls(
    A: Projector,
    y: Tensor,
    *,
    num_iterations: int = 20,
    weights: Tensor | None = None,
    x_init: Tensor | None = None,
    state: State | None = None,
) -> Iterator[Step]:
    """Conjugate gradients on the weighted normal equations A.T W A x = A.T W y.

    Converges fast, then fits the noise: the number of iterations is the regularisation. (Hestenes & Stiefel
    1952; Bjorck 1996, Numerical Methods for Least Squares Problems, alg. 7.4.1)

    Parameters
    ----------
    y : Tensor (v, angle, u)
        Line integrals.
    weights : Tensor (v, angle, u) or None
        Inverse variances W; None = all equal.
    x_init : Tensor (z, y, x) or None
        Initial volume; None = zero.
    """
    root = relative_weights(y, weights).sqrt()
    if state is None:
        done, x = 0, _begin(A, y, x_init)
        residual = (y if x_init is None else y - A(x)) * root
        direction = A.T(residual * root)
        power = _dot(direction, direction)
    else:
        done, power = state["i"], state["power"]
        x, residual, direction = (state[name].clone() for name in ("x", "residual", "direction"))
    scale = norm(y * root)
    for i in range(done + 1, num_iterations + 1):
        projected = A(direction) * root
        length = _dot(projected, projected)
        if length == 0:  # solved exactly, or no ray meets the volume
            yield Step(num_iterations, num_iterations, x, norm(residual) / scale)
            return
        step = power / length
        x = x.add_(direction, alpha=step)
        residual = residual.sub_(projected, alpha=step)
        gradient = A.T(residual * root)
        previous, power = power, _dot(gradient, gradient)
        direction = gradient + direction * (power / previous)
        state = {"i": i, "x": x, "residual": residual, "direction": direction, "power": power}
        yield Step(i, num_iterations, x, norm(residual) / scale, state=state)


MISMATCH = 0.02
"""Standard deviation of the discretisation error of a line integral, relative to the mean line integral.

From the first version; sensitivity not measured. Posterior sampling has its own value, `POSTERIOR_MISMATCH`.
"""


def relative_weights(y: Tensor, weights: Tensor | None) -> Tensor:
    """Inverse variances of the rays (v, angle, u) with mean 1: photon noise and discretisation error.

    Without the second term, rays through air, with many photons, would weigh a hundred times as much as rays
    through the object, although the grid describes them no better.
    """
    if weights is None:
        return torch.ones_like(y)
    mismatch = (MISMATCH * y.abs().mean()).square()
    combined = 1 / (1 / weights.clamp(min=1e-12) + mismatch)
    return combined / combined.mean()


# ---- helpers ------------------------------------------------------------------------------------------


def _begin(A: Projector, y: Tensor, x_init: Tensor | None) -> Tensor:
    return torch.zeros(A.domain_shape, dtype=y.dtype, device=y.device) if x_init is None else x_init.clone()


def _inverse_sums(A: Projector, y: Tensor) -> tuple[Tensor, Tensor]:
    """1 / row sums and 1 / column sums of A; 0 where nothing is seen."""
    rows, columns = A(torch.ones(A.domain_shape, dtype=y.dtype, device=y.device)), A.T(torch.ones_like(y))
    return tuple(torch.where(s > 1e-6 * s.max(), 1 / s, 0.0) for s in (rows, columns))  # type: ignore[return-value]


def _clip(x: Tensor, low: float | None, high: float | None) -> Tensor:
    return x if low is None and high is None else x.clamp_(low, high)


def _dot(a: Tensor, b: Tensor) -> float:
    return float((a.flatten() @ b.flatten()).double())


def norm(x: Tensor) -> float:
    """Euclidean norm; 1 instead of 0, so that it can divide."""
    return float(torch.linalg.vector_norm(x)) or 1.0
