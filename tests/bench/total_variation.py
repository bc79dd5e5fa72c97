"""Speed of total variation: the ramp-filtered data step against the diagonal one (Pock & Chambolle 2011).

    python -m tests.bench.total_variation FOLDER [--volume NAME] [--settings NAME,NAME] [--grid ZxYxX]

Both minimise the same function, coarse to fine on the same grids. `tv` stops when it has converged. The
diagonal steps make 300 iterations on each grid, like TomoPatch 0.1. The columns are iterations on all grids,
seconds, and PSNR. Seconds of both methods come from one run, one after the other.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from tests.bench.prior import SETTINGS
from tomopatch.analysis.metrics import quality
from tomopatch.progress import last
from tomopatch.projector import Projector
from tomopatch.reconstruct.classical.coarse import LAM_POWER, coarser, on_grid
from tomopatch.reconstruct.classical.iterative import relative_weights, sirt
from tomopatch.reconstruct.classical.total_variation import tv
from tomopatch.reconstruct.classical.tv_kernels import ascend, descend
from tomopatch.reconstruct.diffusion.initial import tv_weight
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import simulate_scan, source_volume
from tomopatch.volume import MU_WATER, Volume

BEFORE = 300
"""Iterations on each grid with the diagonal steps."""


def diagonal(A: Projector, y: Tensor, *, lam: float, weights: Tensor | None, x_init: Tensor | None) -> Tensor:
    """Total variation with steps from the row and column sums of A (lemma 2, alpha = 1)."""
    rows, columns = A(torch.ones(A.domain_shape)), A.T(torch.ones_like(y))
    scale = 1 / (float(rows.max()) * float(columns.max()))
    W, root = relative_weights(y, weights), scale**0.5
    ratio, balance, relaxation = [min(A.vg.voxel_size) / s for s in A.vg.voxel_size], 30.0, 1.8
    dual_step = 1 / (balance * root * rows).clamp(min=1e-9)
    primal_step = balance / (root * columns + 2 * sum(ratio))
    shrink = 1 / (1 + dual_step / W.clamp(min=1e-12))
    x = (last(sirt(A, y, num_iterations=10)).x if x_init is None else x_init).contiguous().clone()
    p, q, moved = torch.zeros_like(y), x.new_zeros(3, *x.shape), x
    for _ in range(BEFORE):
        gradient = A.T(p).mul_(root)
        moved, ahead = descend(
            x, q, gradient, primal_step, ratio=ratio, relaxation=relaxation, low=0.0, high=None
        )
        p.lerp_(torch.addcmul(p, dual_step, A(ahead) - y, value=root).mul_(shrink), relaxation)
        ascend(q, ahead, ratio=ratio, step=0.5 / balance, lam=lam * MU_WATER, relaxation=relaxation)
    return moved


def grids(
    A: Projector, y: Tensor, weights: Tensor | None
) -> Iterator[tuple[Projector, Tensor, Tensor | None, float]]:
    """Projector, line integrals, inverse variances and weight of total variation, coarsest grid first."""
    levels = [(A, y, weights)]
    while (coarse := coarser(*levels[-1])) is not None:
        levels.append(coarse)
    for depth in range(len(levels) - 1, -1, -1):
        yield *levels[depth], tv_weight(A) * 2 ** (LAM_POWER * depth)


def measure(
    A: Projector, y: Tensor, weights: Tensor | None, reference: Volume
) -> list[tuple[int, float, float]]:
    """Iterations, seconds and PSNR [dB] of the diagonal steps, and of `tv`."""
    rows = []
    for filtered in (False, True):
        x, iterations, start = None, 0, time.perf_counter()
        for grid, line_integrals, inverse, lam in grids(A, y, weights):
            begin = None if x is None else on_grid(x, grid.domain_shape)
            if filtered:
                end = last(
                    tv(grid, line_integrals, lam=lam, weights=inverse, x_init=begin, num_iterations=1000)
                )
                x, made = end.x, end.i
            else:
                x, made = diagonal(grid, line_integrals, lam=lam, weights=inverse, x_init=begin), BEFORE
            iterations += made
        assert x is not None
        seconds = time.perf_counter() - start
        rows.append((iterations, seconds, quality(reference, Volume(x, A.vg)).psnr))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--volume", default="popi_4dct_phase00")
    parser.add_argument(
        "--settings", default="parallel 8,parallel 20,parallel 60 over 90 degrees,cone 20 at 1e4 photons"
    )
    parser.add_argument("--grid", default="64x128x128")
    arguments = parser.parse_args()
    path = next(arguments.folder.glob(f"{arguments.volume}.nii*"))
    shape = tuple(map(int, arguments.grid.split("x")))
    print(f"{'scan':<32}{'iterations':>16}{'seconds':>16}{'ratio':>7}{'PSNR, dB':>18}")
    for name in arguments.settings.split(","):
        scan = ScanConfig(source=str(path), grid=shape, **SETTINGS[name])
        prepared = simulate_scan(source_volume(scan), scan)
        m = prepared.measurement
        before, now = measure(prepared.A, m.projections, m.weights, prepared.reference)
        print(
            f"{name:<32}{f'{before[0]}, {now[0]}':>16}{f'{before[1]:.1f}, {now[1]:.1f}':>16}"
            f"{before[1] / now[1]:>7.1f}{f'{before[2]:.2f}, {now[2]:.2f}':>18}",
            flush=True,
        )


if __name__ == "__main__":
    main()
