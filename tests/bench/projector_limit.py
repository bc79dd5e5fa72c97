"""CPU projector against the limit of this machine.

    python -m tests.bench.projector_limit [--grids 64x128x128,128x256x256] [--views 20]

For A and A.T, parallel and cone beam, the operations of Joseph's method and the least memory traffic are
counted: every crossing of a ray with a plane of voxels costs the same few operations; the volume is read
(A.T: written) once, the projections are written (read) once. There are three floors:

- *operations*: at the rate of large matrix products;
- *memory*: at the bandwidth of a large copy;
- *inner loops*: the time that the inner loops take on arrays in the first-level cache. No order of the loops
  is faster. The rest of the measured time reads the volume from slower memory for every view.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable

import numba as nb
import numpy as np
import torch

from tests.bench.prior import shape_of
from tests.bench.roofline import seconds, speed
from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.kernels import JIT, NUM_THREADS, run_chunks
from tomopatch.projector import Projector
from tomopatch.projector.joseph import index_table
from tomopatch.volume import Shape, VolumeGeometry

CPU = torch.device("cpu")
CALLS = 20_000  # of an inner loop in one measurement


@nb.njit(**JIT)
def crossings(table: np.ndarray, cone: bool, shape: tuple[int, int, int], num_u: int, num_v: int):
    """Crossings of detector columns, and of their rays, with planes inside the volume, in all views."""
    columns, rays = 0, 0
    num_z, num_y, num_x = shape
    for k in range(len(table)):
        for u in range(num_u):
            y, x = table[k, 4] + u * table[k, 10], table[k, 5] + u * table[k, 11]
            oy, ox, dy, dx = y, x, table[k, 1], table[k, 2]
            if cone:
                oy, ox, dy, dx = table[k, 1], table[k, 2], y - table[k, 1], x - table[k, 2]
            by_x = abs(dx) >= abs(dy)
            for i in range(num_x if by_x else num_y):
                side = oy + (i - ox) * dy / dx if by_x else ox + (i - oy) * dx / dy
                if not -1 < side < (num_y if by_x else num_x):
                    continue
                columns += 1
                if cone:
                    t = (i - ox) / dx if by_x else (i - oy) / dy
                    first = table[k, 0] + t * (table[k, 3] + u * table[k, 9] - table[k, 0])
                    low = max(0, math.floor((-1 - first) / (t * table[k, 6])) + 1)
                    rays += max(0, min(num_v, math.ceil((num_z - first) / (t * table[k, 6]))) - low)
    return columns, rays


# ---- the inner loops of the kernels, per crossing of a detector column with a plane of voxels ----------


@nb.njit(**JIT)
def weighted_sum(total, a, b, start, stop):
    """A, parallel: the ray gathers two columns of voxels."""
    for call in range(start, stop):
        w = np.float32(call & 7)
        for m in range(len(total)):
            total[m] += w * a[m] + w * b[m]


@nb.njit(**JIT)
def weighted_adds(values, a, b, start, stop):
    """A.T, parallel: the ray is spread over two columns of voxels."""
    for call in range(start, stop):
        w = np.float32(call & 7)
        for m in range(len(values)):
            a[m] += w * values[m]
        for m in range(len(values)):
            b[m] += w * values[m]


@nb.njit(**JIT)
def gathered_sum(total, a, b, run, index, fraction, step, start, stop):
    """A, cone: a run of voxels is formed, then each ray interpolates along it."""
    for call in range(start, stop):
        w = np.float32(call & 7)
        for m in range(len(run)):
            run[m] = w * a[m] + w * b[m]
        for n in range(len(total)):
            z = np.float32(np.int32(n)) * step
            below = np.int32(z)
            index[n] = np.uint32(below)
            fraction[n] = z - np.float32(below)
        for n in range(len(total)):
            m_ = np.uint64(index[n])
            below_value = run[m_]
            total[n] += below_value + fraction[n] * (run[m_ + np.uint64(1)] - below_value)


@nb.njit(**JIT)
def scattered_adds(values, a, b, run, index, fraction, step, start, stop):
    """A.T, cone: the rays are added to a run, which is spread over two columns of voxels."""
    for call in range(start, stop):
        w = np.float32(call & 7)
        for n in range(len(values)):
            z = np.float32(np.int32(n)) * step
            below = np.int32(z)
            index[n] = np.uint32(below)
            fraction[n] = z - np.float32(below)
        for m in range(len(run)):
            run[m] = 0
        for n in range(len(values)):
            m_ = np.uint64(index[n])
            upper = fraction[n] * values[n]
            run[m_] += values[n] - upper
            run[m_ + np.uint64(1)] += upper
        for m in range(len(run)):
            a[m] += w * run[m]
        for m in range(len(run)):
            b[m] += w * run[m]


def inner_seconds(cone: bool, transpose: bool, num_z: int, num_v: int) -> float:
    """Seconds of the inner loops for one detector column and one plane, on all threads."""

    def work(start: int, stop: int) -> None:
        z = [np.ones(num_z + 2, np.float32) for _ in range(4)]
        v = [np.ones(num_v, dtype) for dtype in (np.float32, np.uint32, np.float32)]
        if cone:
            loops, step = scattered_adds if transpose else gathered_sum, np.float32(num_z / num_v)
            loops(v[0], z[0], z[1], z[2], v[1], v[2], step, start, stop)
        else:
            (weighted_adds if transpose else weighted_sum)(z[0][2:], z[1][2:], z[2][2:], start, stop)

    return seconds(lambda: run_chunks(work, CALLS, chunks_per_thread=1), CPU) / CALLS


def operations(cone: bool, num_z: int, num_v: int) -> int:
    """Additions and multiplications for one detector column and one plane: A and A.T need the same number."""
    return 4 * num_z if not cone else 4 * num_z + 6 * num_v


def rows(vg: VolumeGeometry, pg: Geometry, rate: float, bandwidth: float) -> None:
    """Print one line for A and one for A.T."""
    A, cone = Projector(vg, pg, "joseph"), isinstance(pg, ConeBeam)
    x, y = torch.rand(A.domain_shape), torch.rand(A.range_shape)
    num_z, (rows_v, rows_u) = vg.shape[0], pg.det_shape
    columns, rays = crossings(index_table(vg, pg.views()), cone, vg.shape, rows_u, rows_v)
    num_v = round(rays / columns)  # rays of a column that are inside the volume, on average
    for name, work in (("A", lambda: A(x)), ("A.T", lambda: A.T(y))):
        measured(
            f"{'x'.join(map(str, vg.shape))}, {'cone' if cone else 'parallel'}, {name}",
            work,
            columns * operations(cone, num_z, num_v),
            4 * (x.numel() + y.numel()),
            columns * inner_seconds(cone, name == "A.T", num_z, num_v),
            rate,
            bandwidth,
        )


def measured(
    name: str,
    work: Callable[[], object],
    count: int,
    traffic: int,
    inner: float,
    rate: float,
    bandwidth: float,
) -> None:
    found = seconds(work, CPU)
    floors = count / rate, traffic / bandwidth, inner
    times = " | ".join(f"{1e3 * t:.1f}" for t in (*floors, found))
    print(
        f"| {name} | {count / 1e9:.2f} | {traffic / 1e6:.1f} | {times} | {found / max(floors):.1f} |",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--grids", default="64x128x128,128x256x256")
    parser.add_argument("--views", type=int, default=20)
    arguments = parser.parse_args()
    rate, bandwidth = speed(CPU, torch.float32)
    limits = f"{rate / 1e9:.0f} GFLOP/s in matrix products, {bandwidth / 1e9:.1f} GB/s in a copy"
    print(f"{NUM_THREADS} threads, {limits}\n")
    print(
        "| grid, beam | GFLOP | MB | operations, ms | memory, ms | inner loops, ms | measured, ms | ratio |"
    )
    print("|---" * 8 + "|")
    for grid in arguments.grids.split(","):
        shape: Shape = shape_of(grid)
        vg = VolumeGeometry(shape, (3.0, 3.0, 3.0))
        for pg in (
            ParallelBeam.circular(vg, num_views=arguments.views),
            ConeBeam.circular(vg, num_views=arguments.views, src_orig_dist=800.0, src_det_dist=1200.0),
        ):
            rows(vg, pg, rate, bandwidth)


if __name__ == "__main__":
    main()
