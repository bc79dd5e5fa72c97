"""Total-variation denoising of patches: what is known of images without learning, for the network to start from.

A network that must first learn that images have edges and smooth parts spends its first thousands of patches on
that. So it is given the patch denoised by total variation, and learns what is better than that.
"""

from __future__ import annotations

import torch
from torch import Tensor


def rof(noisy: Tensor, strength: Tensor, voxel_size: Tensor, *, num_iterations: int = 12) -> Tensor:
    """argmin_x 1/2 |x - noisy|^2 + strength TV(x), each patch for itself. (Rudin, Osher, Fatemi 1992)

    The primal-dual iteration for strongly convex problems (Chambolle & Pock 2011, alg. 2), a few steps of it: in a
    flat patch of unit noise a strength of about 0.6 leaves the least error.

    Parameters
    ----------
    noisy : Tensor (b, 1, z, y, x)
    strength : Tensor (b,)
        In the units of `noisy`.
    voxel_size : Tensor (b, 3)
        (z, y, x) in mm; differences count per mm, in units of the smallest edge.
    """
    lam = strength.to(noisy)[:, None, None, None, None]
    ratio = (voxel_size.amin(1, keepdim=True) / voxel_size).to(noisy)[:, :, None, None, None, None]
    norm2 = 4 * ratio.square().sum(1)  # bound of |gradient|^2
    step, dual_step = 2 * norm2.rsqrt(), 0.5 * norm2.rsqrt()
    x, ahead = noisy, noisy
    q = [torch.zeros_like(noisy) for _ in range(3)]
    for _ in range(num_iterations):
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
        theta = (1 + 2 * step).rsqrt()
        step, dual_step = step * theta, dual_step / theta
        ahead = moved + theta * (moved - x)
        x = moved
    return x
