"""Joseph's method for parallel rays within the slices: the most common and cheapest case.

Height and slice separate in this case: every slice is projected in the same way, and the detector rows are
interpolated from the slices along z. Volumes are laid out (y, x, z), projections (view, u, z) and
(view, u, v), so that the inner loop runs over all slices at once.

See `joseph_general` for the table, the rules on threads and the samples that are left out at the edge.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from tomopatch.kernels import JIT
from tomopatch.projector.joseph_general import f32, inside

BLOCK = 8
"""Neighbouring rays that are projected together; 4 to 16 are as fast within a tenth."""

PAD = 1
"""Unused columns along x in a backprojection: with a power of two of them, those of one plane would share the
same few places of the processor's cache.
"""


@nb.njit(inline="always", **JIT)
def _drive(table, k, u, voxel_size):
    """Whether x drives the ray; crossing of plane 0 and slope in the other axis; step length [mm]."""
    oy = table[k, 4] + u * table[k, 10]
    ox = table[k, 5] + u * table[k, 11]
    dy = table[k, 1]
    dx = table[k, 2]
    length = math.sqrt((dy * voxel_size[1]) ** 2 + (dx * voxel_size[2]) ** 2)
    if abs(dx) >= abs(dy):
        return True, oy - ox * dy / dx, dy / dx, length / abs(dx)
    return False, ox - oy * dx / dy, dx / dy, length / abs(dy)


@nb.njit(**JIT)
def project_slices(volume, out, table, voxel_size, start, stop):
    """Line integrals out (view, u, z) of all slices, views [start, stop); volume (y, x, z).

    Neighbouring rays of a block cross the planes together, because they share columns of voxels.
    """
    num_y, num_x, num_z = volume.shape
    num_u = out.shape[1]
    first = np.empty(BLOCK)
    low = np.empty(BLOCK, np.int64)
    high = np.empty(BLOCK, np.int64)
    for k in range(start, stop):
        for u in range(0, num_u, BLOCK):
            by_x, _, slope, step = _drive(table, k, u, voxel_size)
            num, num_side = (num_x, num_y) if by_x else (num_y, num_x)
            count = min(BLOCK, num_u - u)
            for n in range(count):
                first[n] = _drive(table, k, u + n, voxel_size)[1]
                low[n], high[n] = inside(first[n], slope, num_side, 0, num)
                total = out[k, u + n]
                for m in range(num_z):
                    total[m] = 0
            for i in range(low[:count].min(), high[:count].max()):
                for n in range(count):
                    if i < low[n] or i >= high[n]:
                        continue
                    side = first[n] + i * slope
                    j = math.floor(side)
                    w1 = f32((side - j) * step)
                    w0 = f32((1 - (side - j)) * step)
                    j0, j1 = j, j + 1
                    if j < 0:
                        j0 = 0
                        w0 = f32(0)
                    if j1 >= num_side:
                        j1 = num_side - 1
                        w1 = f32(0)
                    a = volume[j0, i] if by_x else volume[i, j0]
                    b = volume[j1, i] if by_x else volume[i, j1]
                    total = out[k, u + n]
                    for m in range(num_z):
                        total[m] += w0 * a[m] + w1 * b[m]


@nb.njit(**JIT)
def backproject_slices(volume, by_x_planes, projections, table, voxel_size, start, stop):
    """Add the rays (view, u, z) that x (or y) drives to planes [start, stop) along that axis.

    volume is (y, x + PAD, z). Every column of voxels gathers the rays within one voxel of it, two at
    a time. So it is read and written once, where two rays one after the other would do it twice.
    """
    num_y, num_x, num_z = volume.shape
    num_x -= PAD
    num_u = projections.shape[1]
    first = np.empty(num_u)
    for k in range(projections.shape[0]):
        by_x, _, slope, step = _drive(table, k, 0, voxel_size)
        if by_x != by_x_planes:
            continue
        for u in range(num_u):
            first[u] = _drive(table, k, u, voxel_size)[1]
        spacing = first[1] - first[0] if num_u > 1 else 1.0  # of the rays, in voxels
        reach = abs(1 / spacing)
        for i in range(start, stop):
            for j in range(num_y if by_x else num_x):
                column = volume[j, i] if by_x else volume[i, j]
                nearest = (j - i * slope - first[0]) / spacing
                low = max(0, math.floor(nearest - reach))
                high = min(num_u, math.ceil(nearest + reach) + 1)
                waiting, w0 = -1, f32(0)
                for u in range(low, high):
                    w1 = f32((1 - abs(first[u] + i * slope - j)) * step)
                    if w1 <= 0:
                        continue
                    if waiting < 0:
                        waiting, w0 = u, w1
                        continue
                    a, b = projections[k, waiting], projections[k, u]
                    for m in range(num_z):
                        column[m] += w0 * a[m] + w1 * b[m]
                    waiting = -1
                if waiting >= 0:
                    a = projections[k, waiting]
                    for m in range(num_z):
                        column[m] += w0 * a[m]


@nb.njit(**JIT)
def rows_from_slices(slices, rows, table, start, stop):
    """rows (view, u, v) = slices (view, u, z) interpolated at the rows' heights."""
    num_z, num_v = slices.shape[2], rows.shape[2]
    for k in range(start, stop):
        for u in range(slices.shape[1]):
            z0 = table[k, 3] + u * table[k, 9]
            for v in range(num_v):
                z = z0 + v * table[k, 6]
                m = math.floor(z)
                w = f32(z - m)
                total = f32(0)
                if 0 <= m < num_z:
                    total += (1 - w) * slices[k, u, m]
                if 0 <= m + 1 < num_z:
                    total += w * slices[k, u, m + 1]
                rows[k, u, v] = total


@nb.njit(**JIT)
def slices_from_rows(rows, slices, table, start, stop):
    """Transpose of `rows_from_slices`; overwrites `slices`."""
    num_z, num_v = slices.shape[2], rows.shape[2]
    for k in range(start, stop):
        for u in range(rows.shape[1]):
            z0 = table[k, 3] + u * table[k, 9]
            for m in range(num_z):
                slices[k, u, m] = 0
            for v in range(num_v):
                z = z0 + v * table[k, 6]
                m = math.floor(z)
                w = f32(z - m)
                if 0 <= m < num_z:
                    slices[k, u, m] += (1 - w) * rows[k, u, v]
                if 0 <= m + 1 < num_z:
                    slices[k, u, m + 1] += w * rows[k, u, v]
