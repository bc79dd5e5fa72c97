"""Sum of exponentials over the energies of a spectrum, as a compiled kernel."""

from __future__ import annotations

import numpy as np
from numba import njit

from tomopatch.kernels import JIT, run_chunks

BLOCK = 256
"""Number of rays that are summed together; their values stay in the fastest cache."""
_LOG2_E = float(np.log2(np.e))
_SMALLEST = np.float32(-126.0)
"""Smallest exponent of two of a normal float32; more attenuation gives 1e-38."""


def _coefficients(degree: int) -> tuple[np.float32, ...]:
    """Coefficients of a polynomial for 2^f with f from -0.5 to 0.5; at degree 6 its error is below 1e-7."""
    f = np.cos(np.linspace(0, np.pi, 2001)) / 2  # Chebyshev nodes
    fit = np.polynomial.Chebyshev.fit(f, np.exp2(f), degree, domain=[-0.5, 0.5])
    return tuple(np.float32(c) for c in fit.convert(kind=np.polynomial.Polynomial).coef)


_C0, _C1, _C2, _C3, _C4, _C5, _C6 = _coefficients(6)


def spectral_sums(paths: np.ndarray, attenuation: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sum_e weights[s, e] exp(-sum_m attenuation[e, m] paths[m, r]).

    Parameters
    ----------
    paths : float32 array (materials, rays)
        Path lengths [mm of pure material].
    attenuation : array (energies, materials)
        Attenuation coefficients [1/mm].
    weights : array (2, energies)
        Weights of the energies in two signals, each with sum 1.

    Returns
    -------
    float32 array (2, rays)
        Relative errors are below 1e-6, for sums above 1e-37.
    """
    out = np.empty((2, paths.shape[1]), np.float32)
    exponents = np.ascontiguousarray(attenuation * -_LOG2_E, np.float32)
    blocks = -(-paths.shape[1] // BLOCK)
    run_chunks(_sum, blocks, np.ascontiguousarray(paths), exponents, weights.astype(np.float32), out)
    return out


@njit(**JIT)
def _sum(
    paths: np.ndarray, exponents: np.ndarray, weights: np.ndarray, out: np.ndarray, start: int, stop: int
) -> None:
    """Sum the blocks of rays from `start` to `stop`."""
    materials, rays = paths.shape
    x = np.empty(BLOCK, np.float32)
    first = np.empty(BLOCK, np.float32)
    second = np.empty(BLOCK, np.float32)
    for block in range(start, stop):
        low = block * BLOCK
        count = min(BLOCK, rays - low)
        longest = np.float32(0.0)
        for m in range(materials):
            for r in range(count):
                longest = max(longest, abs(paths[m, low + r]))
        if longest == 0:  # air
            out[:, low : low + count] = 1.0
            continue
        first[:] = 0.0
        second[:] = 0.0
        for e in range(exponents.shape[0]):
            for r in range(count):
                x[r] = exponents[e, 0] * paths[0, low + r]
            for m in range(1, materials):
                for r in range(count):
                    x[r] += exponents[e, m] * paths[m, low + r]
            for r in range(count):
                # 2^x = 2^whole 2^part; the bits of a float32 hold its exponent, with an offset of 127
                clamped = max(x[r], _SMALLEST)
                whole = np.int32(clamped - np.float32(0.5))
                part = clamped - np.float32(whole)
                value = _C6
                value = value * part + _C5
                value = value * part + _C4
                value = value * part + _C3
                value = value * part + _C2
                value = value * part + _C1
                value = value * part + _C0
                value *= np.int32((whole + np.int32(127)) << np.int32(23)).view(np.float32)
                first[r] += weights[0, e] * value
                second[r] += weights[1, e] * value
        out[0, low : low + count] = first[:count]
        out[1, low : low + count] = second[:count]
