"""CUDA projector that needs only torch: Joseph's method in Triton, which torch brings on Linux.

It uses the discretisation of the CPU projector (`joseph_general`), for any vector geometry. The transpose
has the same weights. It adds atomically: two runs differ by the rounding of float32 sums in another order.
"""

from __future__ import annotations

import functools
import importlib.util
import subprocess

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.views import Views
from tomopatch.projector.joseph import index_table
from tomopatch.volume import VolumeGeometry

BLOCK = (4, 32)
"""Rows and columns of a program's block of rays: one warp per row."""
WARPS = 4


@functools.cache
def why_not() -> str | None:
    """Return the reason why this projector cannot run here, as a sentence; None if it can.

    A kernel of one line is compiled to find out.
    """
    if not torch.cuda.is_available():
        return "There is no CUDA device."
    if importlib.util.find_spec("triton") is None:
        return "A CUDA device is here but triton is not installed (torch brings it on Linux)."
    from tomopatch.projector.triton_kernels import write_one

    try:
        out = torch.zeros(1, device="cuda")
        write_one[(1,)](out)
        works = bool(out.item() == 1)
    except (RuntimeError, OSError, ImportError, AssertionError, subprocess.SubprocessError) as error:
        return f"Triton cannot compile here; it needs a C compiler and Python's headers ({error})."
    return None if works else "Triton's kernels give wrong numbers here."


class TritonOperator:
    """A and its transpose on CUDA tensors, float32. Needs the memory of one more volume while it runs."""

    def __init__(self, vg: VolumeGeometry, views: Views) -> None:
        self.device = torch.device("cpu" if _interpreted() else "cuda")
        reason = why_not() if self.device.type == "cuda" else None
        if reason is not None:
            raise ValueError(f"the projector 'triton' cannot run here: {reason} Use backend='joseph'.")
        self.shape, self.voxel_size, self.cone = vg.shape, vg.voxel_size, views.cone
        self.range_shape = num_v, num_views, num_u = views.det_shape[0], views.num_views, views.det_shape[1]
        table = index_table(vg, views)
        self.rays = (num_v, num_views, num_u)
        self.strides = (num_views * num_u, num_u, 1)
        # on a detector that lies on its side, the columns of a program still run across z
        if np.abs(table[:, 9]).sum() > np.abs(table[:, 6]).sum():
            table = table[:, [0, 1, 2, 3, 4, 5, 9, 10, 11, 6, 7, 8]]
            self.rays, self.strides = self.rays[::-1], self.strides[::-1]
        self.table = torch.from_numpy(np.ascontiguousarray(table)).to(self.device)

    def forward(self, x: Tensor) -> Tensor:
        """Projections (v, view, u) of x (z, y, x)."""
        x = x.to(self.device, torch.float32).contiguous()
        y = torch.empty(self.range_shape, device=x.device)
        self._walk(x, x.transpose(1, 2).contiguous(), y, transpose=False)
        return y

    def transpose(self, y: Tensor) -> Tensor:
        """Backprojection (z, y, x) of y (v, view, u)."""
        y = y.to(self.device, torch.float32).contiguous()
        x = torch.zeros(self.shape, device=y.device)
        along_x = torch.zeros_like(x.transpose(1, 2), memory_format=torch.contiguous_format)
        self._walk(x, along_x, y, transpose=True)
        return x.add_(along_x.transpose(1, 2))

    def _walk(self, x: Tensor, x_zxy: Tensor, y: Tensor, transpose: bool) -> None:
        import triton.language as tl

        from tomopatch.projector.triton_kernels import walk

        rows, columns = (-(-n // b) for n, b in zip(self.rays[::2], BLOCK, strict=True))
        walk[(rows * self.rays[1] * columns,)](
            x,
            x_zxy,
            y,
            self.table.to(x.device),
            *self.voxel_size,
            *self.shape,
            *self.rays,
            *self.strides,
            CONE=self.cone,
            TRANSPOSE=transpose,
            INDEX=tl.int64 if x.numel() + x[0].numel() > 2**31 - 1 else tl.int32,
            ROWS=BLOCK[0],
            COLUMNS=BLOCK[1],
            num_warps=WARPS,
        )


def _interpreted() -> bool:
    """Whether Triton interprets kernels on the CPU (TRITON_INTERPRET=1 before its import), for tests."""
    if importlib.util.find_spec("triton") is None:
        return False
    import triton

    return bool(triton.knobs.runtime.interpret)
