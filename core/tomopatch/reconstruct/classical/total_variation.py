"""Total-variation reconstruction: a primal-dual iteration whose data step is ramp-filtered.

The data term of CT is badly conditioned: A.T A weights a frequency by about one over its magnitude. A ramp on
the detector undoes this, as in filtered backprojection. Here it acts on the step of the data term's dual. It
changes the speed of the iteration, not its limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from tomopatch.progress import State, Step, last
from tomopatch.projector import Projector
from tomopatch.reconstruct.classical.iterative import norm, relative_weights, sirt
from tomopatch.reconstruct.classical.tv_kernels import ascend, descend
from tomopatch.volume import MU_WATER

BALANCE = 600.0
"""Ratio of the primal steps to the dual steps."""

DATA_SHARE = 10.0
"""Share of the data term in the bound of the primal step; the share of the gradient is 2 to 6."""

RELAXATION = 1.8
"""Over-relaxation of all updates, 1 to 2."""

TOLERANCE = 0.008
"""Converged: the estimated distance to the limit, RMS, is at most this share of the volume's."""


def tv(
    A: Projector,
    y: Tensor,
    *,
    lam: float = 0.00025,
    num_iterations: int = 250,
    weights: Tensor | None = None,
    low: float | None = 0.0,
    high: float | None = None,
    x_init: Tensor | None = None,
    tolerance: float = TOLERANCE,
    state: State | None = None,
) -> Iterator[Step]:
    """Total variation in 3D: least squares with a preference for piecewise constant volumes.

    Minimises 1/(2 L) ||W^(1/2) (A x - y)||^2 + lam mu_water TV(x) over low <= x <= high, with L = max row sum
    times max column sum of A (an upper bound of ||A||^2) and W scaled to mean 1, so that the same `lam` has
    about the same effect for any number of views and any dose. TV is isotropic, per mm, on a voxel's smallest
    edge h: TV(x) = h sum |grad x|. Preconditioned primal-dual iteration (Pock & Chambolle 2011, alg. 1) with
    a `DataStep`. It stops when it has converged; `total` of a step is a forecast of that iteration.

    Parameters
    ----------
    y : Tensor (v, angle, u)
        Line integrals.
    lam : float
        Weight of the total variation, relative to water: contrasts well below it vanish.
    num_iterations : int
        Most iterations.
    weights : Tensor (v, angle, u) or None
        Inverse variances W; None = all equal.
    low, high : float or None
        Attenuation limits [1/mm]; None = free.
    x_init : Tensor (z, y, x) or None
        Initial volume; None = 10 iterations of SIRT.
    tolerance : float
        See `Convergence`; 0 = all iterations.
    """
    data = DataStep(A, y, weights)
    ratio = [min(A.vg.voxel_size) / s for s in A.vg.voxel_size]
    # The iteration converges if the squared norms of data term and gradient, times their dual steps and the
    # primal step, add up to at most 1. The gradient's is at most 4 sum(ratio^2) <= 4 sum(ratio).
    bound = DATA_SHARE + 2 * sum(ratio)
    primal_step = torch.full(A.domain_shape, BALANCE / bound, dtype=y.dtype, device=y.device)
    gradient_step = 0.5 / BALANCE
    if state is None:
        if x_init is None:
            x_init = last(sirt(A, y, num_iterations=10, low=low, high=high)).x
        x = x_init.contiguous().clone()
        done, p, q = 0, torch.zeros_like(y), x.new_zeros(3, *x.shape)
        largest, convergence = data.filtered_norm(), Convergence(tolerance)
    else:
        x, p, *parts = (state[name].clone() for name in ("x", "p", "q0", "q1", "q2"))
        done, q, largest = state["i"], torch.stack(parts), state["largest"]
        convergence = Convergence(tolerance, torch.as_tensor(state["changes"]).tolist())
    data_step = DATA_SHARE / (BALANCE * largest)
    scale, total = norm(y), min(num_iterations, convergence.USUAL)
    for i in range(done + 1, num_iterations + 1):
        moved, ahead = descend(
            x, q, data.gradient(p), primal_step, ratio=ratio, relaxation=RELAXATION, low=low, high=high
        )
        convergence.add(norm(ahead - moved) / norm(moved))
        residual = A(ahead) - y
        error = norm(residual) / scale
        data.ascend(p, residual, data_step, RELAXATION)
        ascend(q, ahead, ratio=ratio, step=gradient_step, lam=lam * MU_WATER, relaxation=RELAXATION)
        state = {
            "i": i, "x": x, "p": p, "q0": q[0], "q1": q[1], "q2": q[2], "largest": largest,
            "changes": torch.tensor(convergence.changes, dtype=torch.float64),
        }  # fmt: skip
        end = min(num_iterations, convergence.forecast(i))
        if end > i:  # forecasts vary: the total moves towards them slowly
            end = max(i + 1, round(total + 0.2 * (end - total)))
        total = end
        yield Step(i, total, moved, error, state=state)
        if i == total:
            return


class Convergence:
    """Forecast of the iteration number at which a linearly convergent method comes near its limit.

    The distance to the limit is the sum of all later changes: the last change times r / (1 - r), where each
    change is r times the one before. r is measured over the last WINDOW iterations and over half of them; the
    larger counts, because convergence slows down. At least LEAST iterations are made.

    Parameters
    ----------
    tolerance : float
        The iteration has converged when this distance is at most `tolerance`; 0 = never.
    changes : list of float
        Changes of the last iterations, relative to the estimate.
    """

    WINDOW, LEAST, USUAL, NEVER = 10, 30, 60, 2**31

    def __init__(self, tolerance: float, changes: list[float] | None = None) -> None:
        self.tolerance, self.changes = tolerance, changes or []

    def add(self, change: float) -> None:
        self.changes = [*self.changes[-self.WINDOW :], change]

    def forecast(self, i: int) -> int:
        """Iteration of convergence, at least i, if i iterations are done; NEVER if none is in sight."""
        if not self.tolerance:
            return self.NEVER
        if i < self.LEAST:
            return self.USUAL
        last = self.changes[-1]
        if last == 0:
            return i
        rate = max(
            (last / max(self.changes[-1 - n], 1e-30)) ** (1 / n) for n in (self.WINDOW, self.WINDOW // 2)
        )
        if not rate < 1:
            return self.NEVER
        distance = last * rate / (1 - rate)
        return i + max(0, math.ceil(math.log(self.tolerance / distance) / math.log(rate)))


class DataStep:
    """The data term |K x - b|^2 / 2 and its dual's step, with K = (W / L)^(1/2) A and b = (W / L)^(1/2) y.

    The dual p is updated by the proximal map in the metric of a step operator S on the detector's rows. With
    B = (1 + S)^-1 S, the map is p + B (K x - b - p). B is a convolution with the symbol s / (1 + s), where s
    is a multiple of the ramp. By the operator Jensen inequality, S is at most the convolution with the symbol
    s, whose norm `filtered_norm` measures.
    """

    def __init__(self, A: Projector, y: Tensor, weights: Tensor | None) -> None:
        self.A = A
        row_sums = A(torch.ones(A.domain_shape, dtype=y.dtype, device=y.device))
        bound = float(row_sums.max()) * float(A.T(torch.ones_like(y)).max())
        scale = 1 / bound if bound > 0 else 0.0  # no ray meets the volume: total variation alone
        self.root = (scale * relative_weights(y, weights)).sqrt()
        self.ramp = ramp(y.shape[2]).to(y)

    def gradient(self, p: Tensor) -> Tensor:
        """K.T p (z, y, x)."""
        return self.A.T(self.root * p)

    def ascend(self, p: Tensor, residual: Tensor, step: float, relaxation: float) -> None:
        """Relax p (v, angle, u) towards its proximal map; residual = A x - y may be overwritten."""
        s = step * self.ramp
        p.add_(convolved(residual.mul_(self.root).sub_(p), s / (1 + s)), alpha=relaxation)

    def filtered_norm(self) -> float:
        """Upper bound of |R^(1/2) K|^2 with the ramp R; see `LANCZOS_STEPS`.

        (Golub & Van Loan, Matrix Computations, sec. 10.1)
        """
        noise = torch.randn(self.root.shape, generator=torch.Generator().manual_seed(0))
        v = self.gradient(convolved(noise.to(self.root), self.ramp.sqrt()))
        before, beta = torch.zeros_like(v), norm(v)
        diagonal, off_diagonal = list[float](), list[float]()
        for _ in range(LANCZOS_STEPS):
            v = v / beta
            w = self.gradient(convolved(self.root * self.A(v), self.ramp))
            diagonal.append(float(w.flatten() @ v.flatten()))
            w = w - diagonal[-1] * v - (beta * before if off_diagonal else 0)
            before, beta = v, norm(w)
            off_diagonal.append(beta)
            v = w
        matrix = np.diag(diagonal) + np.diag(off_diagonal[:-1], 1) + np.diag(off_diagonal[:-1], -1)
        return MARGIN * float(np.linalg.eigvalsh(matrix)[-1]) or 1.0  # or no ray meets the volume


LANCZOS_STEPS, MARGIN = 6, 1.1
"""Steps of the Lanczos iteration and factor on its estimate, which then was an upper bound for parallel and
cone beams with 1 to 300 views; the estimate itself was up to 8 % too small.
"""

LOWEST = 0.05
"""Least value of the ramp, whose largest is 1: the step must be positive at frequency 0."""


def ramp(num: int) -> Tensor:
    """Ramp over the frequencies of rows of `num` pixels, padded to twice the length: LOWEST to 1."""
    return (2 * torch.fft.rfftfreq(2 * num)).clamp(min=LOWEST)


ROWS_AT_ONCE = 2**22
"""Elements that are transformed at once: one transform of all rows would need four times their memory."""


def convolved(y: Tensor, symbol: Tensor) -> Tensor:
    """Convolve the rows (last axis) of y, padded with zeros to twice the length, with a symmetric kernel.

    symbol : (u + 1) factors of the frequencies from 0 to Nyquist.
    """
    num = y.shape[2]
    parts = y.split(max(1, ROWS_AT_ONCE // math.prod(y.shape[1:])))
    return torch.cat(
        [torch.fft.irfft(torch.fft.rfft(part, 2 * num) * symbol, 2 * num)[..., :num] for part in parts]
    )
