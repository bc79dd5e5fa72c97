"""Total-variation denoising of patches, an input of the network that needs no learning.

A network needs thousands of patches to learn that images have edges and smooth parts. It therefore also
receives the patch denoised by total variation, and learns the improvement over it.
"""

from __future__ import annotations

import numba as nb
import numpy as np
import torch
from torch import Tensor

from tomopatch.kernels import JIT, run_chunks


def rof(noisy: Tensor, strength: Tensor, voxel_size: Tensor, *, num_iterations: int = 12) -> Tensor:
    """argmin_x 1/2 |x - noisy|^2 + strength TV(x), for each patch separately. (Rudin, Osher, Fatemi 1992)

    A few steps of the primal-dual iteration for strongly convex problems (Chambolle & Pock 2011, alg. 2). In
    a constant patch with unit noise, a strength of about 0.6 leaves the least error.

    Parameters
    ----------
    noisy : Tensor (b, 1, z, y, x)
    strength : Tensor (b,)
        In the units of `noisy`.
    voxel_size : Tensor (b, 3)
        Edges (z, y, x) [mm]. A difference along an axis is multiplied by the smallest edge over the edge of
        this axis.
    """
    steps = _steps(voxel_size, num_iterations)
    if noisy.device.type == "cpu" and not torch.is_grad_enabled():
        x = noisy.to(torch.float32).contiguous().numpy()
        out = np.empty_like(x)
        arguments = (t.to(torch.float32).contiguous().numpy() for t in (strength, *steps))
        run_chunks(_on_cpu, len(x), x[:, 0], out[:, 0], *arguments)
        return torch.from_numpy(out).to(noisy.dtype)
    return _by_torch(noisy, strength, *steps)


def _steps(voxel_size: Tensor, num_iterations: int) -> tuple[Tensor, Tensor]:
    """Weights of the differences per axis (b, 3); primal step, dual step, theta (b, iterations, 3)."""
    ratio = voxel_size.amin(1, keepdim=True) / voxel_size
    norm2 = 4 * ratio.square().sum(1)  # bound of |gradient|^2
    step, dual_step = 2 * norm2.rsqrt(), 0.5 * norm2.rsqrt()
    steps = []
    for _ in range(num_iterations):
        theta = (1 + 2 * step).rsqrt()
        steps.append(torch.stack([step, dual_step, theta], 1))
        step, dual_step = step * theta, dual_step / theta
    return ratio, torch.stack(steps, 1)


def _by_torch(noisy: Tensor, strength: Tensor, ratio: Tensor, steps: Tensor) -> Tensor:
    lam = strength.to(noisy)[:, None, None, None, None]
    ratio = ratio.to(noisy)[:, :, None, None, None, None]
    x, ahead = noisy, noisy
    q = [torch.zeros_like(noisy) for _ in range(3)]
    for i in range(steps.shape[1]):
        step, dual_step, theta = steps[:, i].to(noisy)[:, :, None, None, None, None].unbind(1)
        for axis in range(3):
            n = noisy.shape[2 + axis] - 1
            front, back = ahead.narrow(2 + axis, 1, n), ahead.narrow(2 + axis, 0, n)
            q[axis].narrow(2 + axis, 0, n).add_((front - back).mul_(dual_step * ratio[:, axis]))
        length = q[0].square().addcmul_(q[1], q[1]).addcmul_(q[2], q[2]).sqrt_()
        shrink = torch.div(lam, length.clamp_(min=1e-12)).clamp_(max=1)
        target = noisy.clone()
        for axis in range(3):
            n = noisy.shape[2 + axis] - 1
            pull = q[axis].mul_(shrink).narrow(2 + axis, 0, n) * ratio[:, axis]
            target.narrow(2 + axis, 0, n).add_(pull)
            target.narrow(2 + axis, 1, n).sub_(pull)
        moved = target.mul_(step).add_(x).div_(1 + step)
        ahead = moved + theta * (moved - x)
        x = moved
    return x


@nb.njit(**JIT)
def _on_cpu(noisy, out, strength, ratio, steps, start, stop):
    """The same iteration for patches [start, stop), one at a time, so that each fits a core's cache."""
    nz, ny, nx = noisy.shape[1:]
    ahead = np.empty((nz, ny, nx), np.float32)
    q = np.empty((3, nz, ny, nx), np.float32)
    for b in range(start, stop):
        x = out[b]
        x[:] = noisy[b]
        ahead[:] = noisy[b]
        q[:] = 0
        rz, ry, rx = ratio[b]
        for i in range(steps.shape[1]):
            step, dual_step, theta = steps[b, i]
            _raise_dual(ahead, q, strength[b], dual_step * rz, dual_step * ry, dual_step * rx)
            _move(noisy[b], x, ahead, q, step, theta, rz, ry, rx)


@nb.njit(**JIT)
def _raise_dual(ahead, q, lam, dz, dy, dx):
    """q += steps times the differences of `ahead`, clipped to length lam. At the far ends q stays 0."""
    nz, ny, nx = ahead.shape
    for z in range(nz):
        below = ahead[min(z + 1, nz - 1)]
        for y in range(ny):
            here, next_y, next_z = ahead[z, y], ahead[z, min(y + 1, ny - 1)], below[y]
            qz, qy, qx = q[0, z, y], q[1, z, y], q[2, z, y]
            for x in range(nx - 1):
                a = qz[x] + dz * (next_z[x] - here[x])
                b = qy[x] + dy * (next_y[x] - here[x])
                c = qx[x] + dx * (here[x + 1] - here[x])
                shrink = min(np.float32(1), lam / max(np.float32(1e-12), np.sqrt(a * a + b * b + c * c)))
                qz[x], qy[x], qx[x] = a * shrink, b * shrink, c * shrink
            x = nx - 1
            a = qz[x] + dz * (next_z[x] - here[x])
            b = qy[x] + dy * (next_y[x] - here[x])
            shrink = min(np.float32(1), lam / max(np.float32(1e-12), np.sqrt(a * a + b * b)))
            qz[x], qy[x] = a * shrink, b * shrink


@nb.njit(**JIT)
def _move(noisy, x, ahead, q, step, theta, rz, ry, rx):
    """Move x towards noisy + div q, and `ahead` beyond it."""
    nz, ny, nx = x.shape
    share = step / (1 + step)
    nothing = np.zeros(nx, np.float32)
    for z in range(nz):
        for y in range(ny):
            before_z = q[0, z - 1, y] if z else nothing
            before_y = q[1, z, y - 1] if y else nothing
            qz, qy, qx = q[0, z, y], q[1, z, y], q[2, z, y]
            old, clean, beyond = x[z, y], noisy[z, y], ahead[z, y]
            left = np.float32(0)
            for i in range(nx):
                target = (
                    clean[i] + rz * (qz[i] - before_z[i]) + ry * (qy[i] - before_y[i]) + rx * (qx[i] - left)
                )
                left = qx[i]
                change = share * (target - old[i])
                old[i] += change
                beyond[i] = old[i] + theta * change
