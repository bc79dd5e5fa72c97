"""Joseph's method for detector columns along z: circular, limited and helical scans.

All rays of a detector column cross the voxel planes at the same (y, x) places and differ in z alone.
Interpolation in the plane is therefore done once per column, for a whole run of voxels along z. Each ray then
needs one linear interpolation along that run, which vectorises. Volumes are laid out (y, x, z), projections
(view, u, v): z and v fastest. The volume has one voxel of zeros at both ends of z, so that no ray needs a
bounds check.

See `joseph_general` for the table, the rules on threads and the samples that are left out at the edge.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from tomopatch.kernels import JIT
from tomopatch.projector.joseph_general import f32, inside

PAD = 1


@nb.njit(inline="always", **JIT)
def _column(table, k, cone, u):
    """Origin and direction (z, y, x) of the ray of pixel (0, u) in view k."""
    z = table[k, 3] + u * table[k, 9]
    y = table[k, 4] + u * table[k, 10]
    x = table[k, 5] + u * table[k, 11]
    if not cone:
        return z, y, x, table[k, 0], table[k, 1], table[k, 2]
    return table[k, 0], table[k, 1], table[k, 2], z - table[k, 0], y - table[k, 1], x - table[k, 2]


@nb.njit(inline="always", **JIT)
def _drive(oy, ox, dy, dx):
    """Return whether x drives the ray, and the ray relative to its driving axis.

    These are crossing of plane 0 and slope in the other axis; origin and direction along the driving one.
    """
    if abs(dx) >= abs(dy):
        return True, oy - ox * dy / dx, dy / dx, ox, dx
    return False, ox - oy * dx / dy, dx / dy, oy, dy


@nb.njit(inline="always", **JIT)
def _rows(z, dz, num_z, num_v):
    """Rows v whose height z + v dz (dz > 0) lies within (-1, num_z)."""
    low = math.floor((-1 - z) / dz) + 1
    high = math.ceil((num_z - z) / dz)
    return max(low, 0), min(high, num_v)


@nb.njit(inline="always", **JIT)
def _heights(oz, dz, row_z, cone, t):
    """Height of row 0 at ray parameter t, and the step from there to the next row."""
    return oz + t * dz, (t * row_z if cone else row_z)


@nb.njit(inline="always", **JIT)
def _places(first, step, count, index, fraction):
    """Split the heights first + i step into voxel index and fraction."""
    for i in range(count):
        z = first + f32(np.int32(i)) * step
        below = np.int32(z)
        index[i] = np.uint32(below)
        fraction[i] = z - f32(below)


@nb.njit(inline="always", **JIT)
def _step_length(dz, dy, dx, along, voxel_size):
    length = math.sqrt((dz * voxel_size[0]) ** 2 + (dy * voxel_size[1]) ** 2 + (dx * voxel_size[2]) ** 2)
    return f32(length / abs(along))


@nb.njit(**JIT)
def project(volume, out, table, voxel_size, cone, start, stop):
    """Line integrals out (view, u, v) of views [start, stop); volume (y, x, z + 2 PAD)."""
    num_y, num_x, num_zp = volume.shape
    num_z = num_zp - 2 * PAD
    num_u, num_v = out.shape[1], out.shape[2]
    run = np.zeros(num_zp + 2, np.float32)
    total = np.zeros(num_v, np.float32)
    index = np.zeros(num_v, np.uint32)
    fraction = np.zeros(num_v, np.float32)
    for k in range(start, stop):
        row_z = table[k, 6]
        for u in range(num_u):
            oz, oy, ox, dz, dy, dx = _column(table, k, cone, u)
            by_x, first, slope, origin, along = _drive(oy, ox, dy, dx)
            num, num_side = (num_x, num_y) if by_x else (num_y, num_x)
            low, high = inside(first, slope, num_side, 0, num)
            total[:] = 0
            for i in range(low, high):
                z0, step = _heights(oz, dz, row_z, cone, (i - origin) / along)
                if step <= 1e-9:  # at or behind the source
                    continue
                v0, v1 = _rows(z0, step, num_z, num_v)
                if v0 >= v1:
                    continue
                side = first + i * slope
                j = math.floor(side)
                w1 = f32(side - j)
                w0 = 1 - w1
                j0, j1 = j, j + 1
                if j < 0:
                    j0 = 0
                    w0 = f32(0)
                if j1 >= num_side:
                    j1 = num_side - 1
                    w1 = f32(0)
                a = volume[j0, i] if by_x else volume[i, j0]
                b = volume[j1, i] if by_x else volume[i, j1]
                for m in range(num_zp):
                    run[m] = w0 * a[m] + w1 * b[m]
                count = np.uint64(v1 - v0)
                _places(f32(z0 + v0 * step + PAD), f32(step), count, index, fraction)
                part = total[v0:v1]
                for n in range(count):
                    m_ = np.uint64(index[n])
                    below = run[m_]
                    part[n] += below + fraction[n] * (run[m_ + np.uint64(1)] - below)
            for v in range(num_v):
                out[k, u, v] = total[v] * _step_length(
                    dz + v * row_z if cone else dz, dy, dx, along, voxel_size
                )


@nb.njit(**JIT)
def weigh(projections, out, table, voxel_size, cone, start, stop):
    """out (view, u, v) = projections times the step length of each ray: the first half of the adjoint."""
    num_u, num_v = out.shape[1], out.shape[2]
    for k in range(start, stop):
        for u in range(num_u):
            _, oy, ox, dz, dy, dx = _column(table, k, cone, u)
            along = _drive(oy, ox, dy, dx)[4]
            for v in range(num_v):
                rise = dz + v * table[k, 6] if cone else dz
                out[k, u, v] = projections[k, u, v] * _step_length(rise, dy, dx, along, voxel_size)


@nb.njit(**JIT)
def backproject(volume, by_x_planes, projections, table, cone, start, stop):
    """Add the weighted rays that x (or y) drives to planes [start, stop) along that axis."""
    num_y, num_x, num_zp = volume.shape
    num_z = num_zp - 2 * PAD
    num_views, num_u, num_v = projections.shape
    run = np.zeros(num_zp + 2, np.float32)
    index = np.zeros(num_v, np.uint32)
    fraction = np.zeros(num_v, np.float32)
    for k in range(num_views):
        row_z = table[k, 6]
        for u in range(num_u):
            oz, oy, ox, dz, dy, dx = _column(table, k, cone, u)
            by_x, first, slope, origin, along = _drive(oy, ox, dy, dx)
            if by_x != by_x_planes:
                continue
            num_side = num_y if by_x else num_x
            low, high = inside(first, slope, num_side, start, stop)
            for i in range(low, high):
                z0, step = _heights(oz, dz, row_z, cone, (i - origin) / along)
                if step <= 1e-9:
                    continue
                v0, v1 = _rows(z0, step, num_z, num_v)
                if v0 >= v1:
                    continue
                count = np.uint64(v1 - v0)
                values = projections[k, u, v0:v1]
                _places(f32(z0 + v0 * step + PAD), f32(step), count, index, fraction)
                for m in range(num_zp):
                    run[m] = 0
                for n in range(count):
                    m_ = np.uint64(index[n])
                    upper = fraction[n] * values[n]
                    run[m_] += values[n] - upper
                    run[m_ + np.uint64(1)] += upper
                side = first + i * slope
                j = math.floor(side)
                w1 = f32(side - j)
                w0 = 1 - w1
                if j >= 0:
                    a = volume[j, i] if by_x else volume[i, j]
                    for m in range(num_zp):
                        a[m] += w0 * run[m]
                if j + 1 < num_side:
                    b = volume[j + 1, i] if by_x else volume[i, j + 1]
                    for m in range(num_zp):
                        b[m] += w1 * run[m]
