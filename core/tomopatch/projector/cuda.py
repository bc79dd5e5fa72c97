"""CUDA projector: tomosipo 0.7 on the ASTRA toolbox. Imported only if there is a CUDA device.

Calling ASTRA without CUDA kills the process instead of raising an exception, so `why_not` is called first.
"""

from __future__ import annotations

import importlib.util

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.views import Views
from tomopatch.volume import VolumeGeometry

WIDTH = 32
"""Volume and detector widths are padded to multiples of this; with others ASTRA silently corrupted data."""


def why_not() -> str | None:
    """Return the reason why this projector cannot run here, as a sentence; None if it can."""
    if not torch.cuda.is_available():
        return "There is no CUDA device."
    for package in ("astra", "tomosipo"):
        if importlib.util.find_spec(package) is None:
            return f"A CUDA device is here but {package} is not installed (see docs/projectors.md)."
    import astra

    return None if astra.use_cuda() else "The astra-toolbox that is installed was built without CUDA."


def unsuited(views: Views) -> str | None:
    """Return the reason not to use ASTRA with these rays, as a sentence; None if it can be used."""
    tilted = not views.cone and np.abs(views.source[:, 0]).max() > 1e-6 * np.abs(views.source).max()
    return "ASTRA is 3 % off where parallel rays are tilted." if tilted else None


class TomosipoOperator:
    """A and its transpose on CUDA tensors, float32, without copies.

    Volume and detector are padded to widths that are multiples of 32, on the side where the centre of the
    geometry can move with them, and cropped again. For a cone beam ASTRA's backprojection is close to the
    transpose but not exact: solvers that need an exact transpose differentiate `forward`.
    """

    device = torch.device("cuda")

    def __init__(self, vg: VolumeGeometry, views: Views) -> None:
        reason = why_not() or unsuited(views)
        if reason is not None:
            raise ValueError(f"the projector 'tomosipo' cannot run here: {reason} Use backend='joseph'.")
        import tomosipo

        self.shape, self.det_shape = vg.shape, views.det_shape
        padded = (vg.shape[0], vg.shape[1], _up(vg.shape[2]))
        self.det_padded = (views.det_shape[0], _up(views.det_shape[1]))
        pos = np.add(vg.pos, (0.0, 0.0, (padded[2] - vg.shape[2]) / 2 * vg.voxel_size[2]))
        size = [n * s for n, s in zip(padded, vg.voxel_size, strict=True)]
        volume = tomosipo.volume(shape=padded, pos=tuple(pos), size=tuple(size))
        shift = (self.det_padded[1] - views.det_shape[1]) / 2
        vectors = {"det_pos": views.det_pos + shift * views.det_u, "det_v": views.det_v, "det_u": views.det_u}
        if views.cone:
            detector = tomosipo.cone_vec(shape=self.det_padded, src_pos=views.source, **vectors)
        else:
            detector = tomosipo.parallel_vec(shape=self.det_padded, ray_dir=views.source, **vectors)
        self.padded = padded
        self.operator = tomosipo.operator(volume, detector)

    def forward(self, x: Tensor) -> Tensor:
        """Projections (v, view, u) of x (z, y, x)."""
        x = _pad_last(x.to("cuda", torch.float32), self.padded[2])
        return self.operator(x)[..., : self.det_shape[1]].contiguous()

    def transpose(self, y: Tensor) -> Tensor:
        """Backprojection (z, y, x) of y (v, view, u)."""
        y = _pad_last(y.to("cuda", torch.float32), self.det_padded[1])
        return self.operator.T(y)[..., : self.shape[2]].contiguous()


def _up(n: int) -> int:
    return -(-n // WIDTH) * WIDTH


def _pad_last(x: Tensor, n: int) -> Tensor:
    return torch.nn.functional.pad(x, (0, n - x.shape[-1])).contiguous()
