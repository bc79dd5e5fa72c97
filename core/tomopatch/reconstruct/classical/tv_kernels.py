"""Both halves of a primal-dual iteration of total variation: steps of the volume and of its dual.

On a CPU each half is one pass over the volume; torch's operations would read and write it some thirty times.
Volumes are (z, y, x), the dual q is (3, z, y, x). D is the forward difference along each axis times `ratio`,
zero at the far ends. q is zero there as well, because it starts as zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numba as nb
import numpy as np
import torch
from torch import Tensor

from tomopatch.kernels import JIT, run_chunks
from tomopatch.projector.joseph_general import f32


def has_kernels(x: Tensor) -> bool:
    """Whether the kernels below can process x (on the CPU); elsewhere torch's operations do the same."""
    return x.device.type == "cpu"


def descend(
    x: Tensor,
    q: Tensor,
    gradient: Tensor,
    steps: Tensor,
    *,
    ratio: Sequence[float],
    relaxation: float,
    low: float | None,
    high: float | None,
) -> tuple[Tensor, Tensor]:
    """Return moved = clip(x - steps (gradient + D^T q)) and 2 moved - x; relax x towards `moved`.

    gradient : Tensor (z, y, x)
        Gradient of the data term; may be overwritten.
    """
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    if has_kernels(x):
        moved, ahead = torch.empty_like(x), torch.empty_like(x)
        volumes = (v.numpy() for v in (x, moved, ahead, gradient, steps, q))
        run_chunks(_descend, x.shape[0], *volumes, np.asarray(ratio), relaxation, low, high)
        return moved, ahead
    for axis in range(3):
        n = x.shape[axis] - 1
        part = q[axis].narrow(axis, 0, n)
        gradient.narrow(axis, 0, n).sub_(part, alpha=ratio[axis])
        gradient.narrow(axis, 1, n).add_(part, alpha=ratio[axis])
    moved = torch.addcmul(x, steps, gradient, value=-1).clamp_(low, high)
    ahead = 2 * moved - x
    x.lerp_(moved, relaxation)
    return moved, ahead


def ascend(
    q: Tensor, ahead: Tensor, *, ratio: Sequence[float], step: float, lam: float, relaxation: float
) -> None:
    """Relax q towards q + step D ahead, shortened to a length of at most `lam`."""
    if has_kernels(q):
        run_chunks(
            _ascend, ahead.shape[0], q.numpy(), ahead.numpy(), step * np.asarray(ratio), lam, relaxation
        )
        return
    raised = q.clone()
    for axis in range(3):
        n = ahead.shape[axis] - 1
        out, factor = raised[axis].narrow(axis, 0, n), step * ratio[axis]
        out.add_(ahead.narrow(axis, 1, n), alpha=factor).sub_(ahead.narrow(axis, 0, n), alpha=factor)
    length = torch.linalg.vector_norm(raised, dim=0)
    shorter = lam / length.clamp_(min=lam) if lam > 0 else torch.zeros_like(length)
    q.lerp_(raised.mul_(shorter), relaxation)


# ---- kernels for slices [start, stop) --------------------------------------------------------------------


@nb.njit(**JIT)
def _descend(x, moved, ahead, gradient, steps, q, ratio, relaxation, low, high, start, stop):
    nz, ny, nx = x.shape
    relaxation, low, high = f32(relaxation), f32(low), f32(high)
    rz, ry, rx = f32(ratio[0]), f32(ratio[1]), f32(ratio[2])
    for z in range(start, stop):
        for y in range(ny):
            here, to, beyond = x[z, y], moved[z, y], ahead[z, y]
            step, slope = steps[z, y], gradient[z, y]
            qz, qy, qx = q[0, z, y], q[1, z, y], q[2, z, y]
            # before the first: the last, which is zero
            z_before, y_before = q[0, (z or nz) - 1, y], q[1, z, (y or ny) - 1]
            for i in range(nx):
                downhill = slope[i] + rz * (z_before[i] - qz[i]) + ry * (y_before[i] - qy[i]) - rx * qx[i]
                if i:
                    downhill += rx * qx[i - 1]
                old = here[i]
                new = min(max(old - step[i] * downhill, low), high)
                to[i] = new
                beyond[i] = f32(2) * new - old
                here[i] = old + relaxation * (new - old)


@nb.njit(**JIT)
def _ascend(q, ahead, steps, lam, relaxation, start, stop):
    nz, ny, nx = ahead.shape
    lam, relaxation, least = f32(lam), f32(relaxation), f32(max(lam, 1e-30))
    step_z, step_y, step_x = f32(steps[0]), f32(steps[1]), f32(steps[2])
    for z in range(start, stop):
        for y in range(ny):
            here, above, behind = ahead[z, y], ahead[min(z + 1, nz - 1), y], ahead[z, min(y + 1, ny - 1)]
            qz, qy, qx = q[0, z, y], q[1, z, y], q[2, z, y]
            for i in range(nx):
                raised_z = qz[i] + step_z * (above[i] - here[i])
                raised_y = qy[i] + step_y * (behind[i] - here[i])
                raised_x = qx[i]
                if i + 1 < nx:
                    raised_x += step_x * (here[i + 1] - here[i])
                length = math.sqrt(raised_z * raised_z + raised_y * raised_y + raised_x * raised_x)
                shorter = lam / max(length, least)
                qz[i] += relaxation * (raised_z * shorter - qz[i])
                qy[i] += relaxation * (raised_y * shorter - qy[i])
                qx[i] += relaxation * (raised_x * shorter - qx[i])
