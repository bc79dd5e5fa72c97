"""Coarse to fine: cheap iterations with a coarser grid and detector settle the large structures.

This matters most for missing angles: on the finest grid alone, total variation then takes thousands of
iterations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from torch import Tensor
from torch.nn import functional

from tomopatch.geometry.views import Views
from tomopatch.progress import State, Step
from tomopatch.projector import Projector
from tomopatch.reconstruct.classical.total_variation import Convergence, tv
from tomopatch.volume import Shape, VolumeGeometry

LEAST = 32
"""Smallest number of voxels across a coarser grid."""

LAM_POWER = -0.75
"""Exponent of the best weight of total variation as a function of the sampling ratio."""

COARSER_COST = 0.2
"""Cost of an iteration on a grid of half the resolution: a quarter for the rays, an eighth for the voxels."""

SET_UP = 10
"""Cost of the first step on a grid in further iterations: the bound of the data term's norm."""


def on_grid(x: Tensor, shape: Shape) -> Tensor:
    """x (z, y, x) interpolated to another grid of the same extent."""
    return functional.interpolate(x[None, None], shape, mode="trilinear", align_corners=False)[0, 0]


def on_grid_of(step: Step, shape: Shape) -> Tensor:
    """The iterate of a step on another grid; for steps that compute their iterate on demand."""
    return on_grid(step.x, shape)


def coarser(
    A: Projector, y: Tensor, weights: Tensor | None = None
) -> tuple[Projector, Tensor, Tensor | None] | None:
    """Projector, line integrals, inverse variances at half the resolution; None if A's grid is coarse enough.

    Detector pixels are averaged along with the axes of the grid: rows with z, columns with x and y. An odd
    last row or column is left out.
    """
    vg = A.vg.halved()
    if max(vg.shape[1:]) < LEAST or vg.shape[1:] == A.vg.shape[1:]:
        return None
    views = A.pg.views()
    num_v, num_u = views.det_shape
    by_v = 2 if vg.shape[0] < A.vg.shape[0] and num_v > 1 else 1
    by_u = 2 if num_u > 1 else 1
    kept = (num_v // by_v * by_v, num_u // by_u * by_u)
    # centre of the pixels that are kept
    det_pos = views.det_pos - (num_v - kept[0]) / 2 * views.det_v - (num_u - kept[1]) / 2 * views.det_u
    binned = Views(
        views.cone,
        views.source,
        det_pos,
        by_v * views.det_v,
        by_u * views.det_u,
        (kept[0] // by_v, kept[1] // by_u),
    )

    def mean(values: Tensor) -> Tensor:
        parts = values[: kept[0], :, : kept[1]].unflatten(2, (-1, by_u)).unflatten(0, (-1, by_v))
        return parts.mean((1, 4))

    variances = None if weights is None else mean(1 / weights.clamp(min=1e-12)) / (by_v * by_u)
    return Projector(vg, binned, A.backend), mean(y), None if variances is None else 1 / variances


def num_grids(vg: VolumeGeometry) -> int:
    """Number of grids that `tv_coarse_to_fine` works on."""
    coarse = vg.halved()
    if max(coarse.shape[1:]) < LEAST or coarse.shape[1:] == vg.shape[1:]:
        return 1
    return 1 + num_grids(coarse)


def tv_coarse_to_fine(
    A: Projector,
    y: Tensor,
    *,
    lam: float,
    num_iterations: int,
    weights: Tensor | None = None,
    low: float | None = 0.0,
    x_init: Tensor | None = None,
    state: State | None = None,
) -> Iterator[Step]:
    """`tv`, started from its result at half the resolution, and so on recursively.

    Steps on coarser grids have the stage "initial". Their estimates are interpolated to the finest grid, and
    they have no state. `work` is a share of all grids' work.
    """
    levels = [(A, y, weights)]
    if x_init is None and state is None:
        while (coarse := coarser(*levels[-1])) is not None:
            levels.append(coarse)
    usual = min(num_iterations, Convergence.USUAL)
    done, work, share = 0, 0.0, 0.0  # work in iterations on the finest grid
    for depth in range(len(levels) - 1, 0, -1):
        A_coarse, y_coarse, weights_coarse = levels[depth]
        # with half the voxels across, the sampling ratio doubles
        lam_coarse = lam * 2 ** (LAM_POWER * depth)
        later = (usual + SET_UP) * sum(COARSER_COST**d for d in range(depth))
        work += SET_UP * COARSER_COST**depth
        for step in tv(
            A_coarse, y_coarse, lam=lam_coarse, num_iterations=num_iterations, weights=weights_coarse,
            low=low, x_init=x_init,
        ):  # fmt: skip
            now, here = work + step.i * COARSER_COST**depth, work + step.total * COARSER_COST**depth
            share = max(share, now / (here + later))
            yield replace(
                step,
                i=done + step.i,
                total=done + step.total + usual * (depth - 1),
                iterate=partial(on_grid_of, step, A.domain_shape),
                stage="initial",
                work=share,
                state=None,
            )
        done, work = done + step.i, now
        x_init = on_grid(step.x, levels[depth - 1][0].domain_shape)
    work += SET_UP
    for step in tv(
        A, y, lam=lam, num_iterations=num_iterations, weights=weights, low=low, x_init=x_init, state=state
    ):
        share = max(share, (work + step.i) / (work + step.total))
        yield replace(step, work=share)
