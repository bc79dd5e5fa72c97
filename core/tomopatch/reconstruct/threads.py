"""Threads of PyTorch's operations in a reconstruction.

The projector and the prior have threads of their own (`tomopatch.kernels`, `tomopatch.prior.tile_threads`).
PyTorch computes the other operations, which act on whole volumes. On small volumes such an operation takes
less time than the synchronisation of the threads after it, above all while other processes are busy.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 2**22
"""Voxels up to which one thread computes. On two idle cores total variation with 64 x 128 x 128 voxels takes
as long on one thread as on two, and 0.6 of the CPU time; with 128 x 256 x 256 it takes 1.3 times as long.
"""


@contextmanager
def few_threads(num_voxels: int) -> Iterator[None]:
    """Within this context, PyTorch uses one thread if volumes have up to SMALL voxels."""
    before = torch.get_num_threads()
    if num_voxels <= SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
