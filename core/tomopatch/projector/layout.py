"""Change of layout between the arrays of the library and those of the kernels.

The inner loops of the kernels run along z or along the detector rows. For them this axis is last; in the
library it is first. Copies go by small square blocks, which fit into the cache for reading and for writing:
PyTorch's own copy took as long as the projection of a large volume.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from tomopatch.kernels import JIT, run_chunks

BLOCK = 16


@nb.njit(**JIT)
def _first_to_last(source: np.ndarray, target: np.ndarray, pad: int, start: int, stop: int) -> None:
    num_a, _, num_c = source.shape
    for b in range(start, stop):
        for c0 in range(0, num_c, BLOCK):
            for a0 in range(0, num_a, BLOCK):
                for c in range(c0, min(c0 + BLOCK, num_c)):
                    for a in range(a0, min(a0 + BLOCK, num_a)):
                        target[b, c, pad + a] = source[a, b, c]


@nb.njit(**JIT)
def _last_to_first(source: np.ndarray, target: np.ndarray, pad: int, start: int, stop: int) -> None:
    num_a, _, num_c = target.shape
    for b in range(start, stop):
        for a0 in range(0, num_a, BLOCK):
            for c0 in range(0, num_c, BLOCK):
                for a in range(a0, min(a0 + BLOCK, num_a)):
                    for c in range(c0, min(c0 + BLOCK, num_c)):
                        target[a, b, c] = source[b, c, pad + a]


def first_to_last(x: np.ndarray, pad: int = 0) -> np.ndarray:
    """(b, c, a + 2 pad) from x (a, b, c), with `pad` zeros at both ends of the last axis; float32."""
    a, b, c = x.shape
    out = np.empty((b, c, a + 2 * pad), np.float32)
    if pad:
        out[..., :pad] = 0
        out[..., -pad:] = 0
    run_chunks(_first_to_last, b, np.ascontiguousarray(x), out, pad)
    return out


def last_to_first(x: np.ndarray, pad: int = 0, num_c: int | None = None) -> np.ndarray:
    """(a, b, c) from x (b, c, a + 2 pad) without its padding; of axis c, only the first `num_c`; float32."""
    b, c, a = x.shape
    out = np.empty((a - 2 * pad, b, c if num_c is None else num_c), np.float32)
    run_chunks(_last_to_first, b, np.ascontiguousarray(x), out, pad)
    return out
