"""Iterative reconstruction: SIRT, CGLS and total variation.

All take and return attenuation mu [1/mm] on the projector's grid. `weights` are inverse variances of the
rays due to photon noise; see `relative_weights`. Each method is a generator of steps; `state` is that of an
earlier step.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from tomopatch.progress import State, Step, last
from tomopatch.projector import Projector
from tomopatch.reconstruct.total_variation import ascend, descend


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
    scale = _norm(y)
    for i in range(done + 1, num_iterations + 1):
        residual = y - A(x)
        # residual of the previous iterate; that of the new one would cost another projection
        error = _norm(residual) / scale
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
    scale = _norm(y * root)
    for i in range(done + 1, num_iterations + 1):
        projected = A(direction) * root
        length = _dot(projected, projected)
        if length == 0:  # solved exactly, or no ray meets the volume
            yield Step(num_iterations, num_iterations, x, _norm(residual) / scale)
            return
        step = power / length
        x = x.add_(direction, alpha=step)
        residual = residual.sub_(projected, alpha=step)
        gradient = A.T(residual * root)
        previous, power = power, _dot(gradient, gradient)
        direction = gradient + direction * (power / previous)
        state = {"i": i, "x": x, "residual": residual, "direction": direction, "power": power}
        yield Step(i, num_iterations, x, _norm(residual) / scale, state=state)


def tv(
    A: Projector,
    y: Tensor,
    *,
    lam: float = 5e-6,
    num_iterations: int = 250,
    weights: Tensor | None = None,
    low: float | None = 0.0,
    high: float | None = None,
    x_init: Tensor | None = None,
    balance: float = 30.0,
    relaxation: float = 1.8,
    state: State | None = None,
) -> Iterator[Step]:
    """Total variation in 3D: least squares with a preference for piecewise constant volumes.

    Minimises 1/(2 L) ||W^(1/2) (A x - y)||^2 + lam TV(x) over low <= x <= high, with L = max row sum times
    max column sum of A (an upper bound of ||A||^2) and W scaled to mean 1, so that the same `lam` has about
    the same effect for any number of views and any dose. TV is isotropic, per mm, on a voxel's smallest edge
    h: TV(x) = h sum |grad x|. Diagonally preconditioned primal-dual iteration (Pock & Chambolle 2011, alg. 1,
    lemma 2 with alpha = 1).

    Parameters
    ----------
    y : Tensor (v, angle, u)
        Line integrals.
    lam : float
        Weight of the total variation [1/mm]: contrasts well below it vanish.
    weights : Tensor (v, angle, u) or None
        Inverse variances W; None = all equal.
    low, high : float or None
        Attenuation limits [1/mm]; None = free.
    x_init : Tensor (z, y, x) or None
        Initial volume; None = 10 iterations of SIRT.
    balance, relaxation : float
        Affect the speed only: ratio of primal to dual steps, and over-relaxation (1 to 2).
    """
    row_sums, column_sums = (
        A(torch.ones(A.domain_shape, dtype=y.dtype, device=y.device)),
        A.T(torch.ones_like(y)),
    )
    seen = float(row_sums.max()) * float(column_sums.max())
    data_scale = 1 / seen if seen > 0 else 0.0  # no ray meets the volume: total variation alone
    W = relative_weights(y, weights)
    ratio = [min(A.vg.voxel_size) / s for s in A.vg.voxel_size]

    # Row and column sums of root * A and of the gradient bound the steps; `balance` then shifts weight from
    # dual to primal steps. It changes the speed, not the limit: volumes vary by tenths of water, duals by
    # about lam.
    root = data_scale**0.5
    dual_step = 1 / (balance * root * row_sums).clamp(min=1e-9)
    primal_step = balance / (root * column_sums + 2 * sum(ratio))
    shrink_data = 1 / (1 + dual_step / W.clamp(min=1e-12))
    gradient_step = 0.5 / balance  # one for all axes, or the projection below would not be the proximal map

    if state is None:
        if x_init is None:
            x_init = last(sirt(A, y, num_iterations=10, low=low, high=high)).x
        x = x_init.contiguous().clone()
        done, p, q = 0, torch.zeros_like(y), x.new_zeros(3, *x.shape)
    else:
        x, p, *parts = (state[name].clone() for name in ("x", "p", "q0", "q1", "q2"))
        done, q = state["i"], torch.stack(parts)
    scale = _norm(y)
    for i in range(done + 1, num_iterations + 1):
        gradient = A.T(p).mul_(root)
        moved, ahead = descend(
            x, q, gradient, primal_step, ratio=ratio, relaxation=relaxation, low=low, high=high
        )
        residual = A(ahead) - y
        error = _norm(residual) / scale
        p.lerp_(torch.addcmul(p, dual_step, residual, value=root).mul_(shrink_data), relaxation)
        ascend(q, ahead, ratio=ratio, step=gradient_step, lam=lam, relaxation=relaxation)
        state = {"i": i, "x": x, "p": p, "q0": q[0], "q1": q[1], "q2": q[2]}
        yield Step(i, num_iterations, moved, error, state=state)


MISMATCH = 0.02
"""Standard deviation of the discretisation error of a line integral, relative to the mean line integral."""


def relative_weights(y: Tensor, weights: Tensor | None) -> Tensor:
    """Inverse variances of the rays with mean 1: photon noise and discretisation error.

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


def _norm(x: Tensor) -> float:
    return float(torch.linalg.vector_norm(x)) or 1.0
