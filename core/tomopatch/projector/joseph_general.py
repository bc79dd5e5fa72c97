"""Joseph's method for any ray, without any symmetry of the geometry.

A ray is sampled where it crosses the voxel planes of its driving axis, the axis of its largest component,
with bilinear interpolation in the plane. Each sample is weighted by the ray's length between two planes.
(Joseph 1982, IEEE TMI 1(3), An improved algorithm for reprojecting rays through pixel images.) Values outside
the volume are zero.

All kernels take the geometry as a table (views, 12) in voxel index coordinates (z, y, x): source position, or
ray direction of a parallel beam; centre of detector pixel (0, 0); step to the next row; step to the next
column. They work on a range of views or of planes, so that threads never write to the same voxel: the adjoint
is exact, free of races and the same in every run.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np

from tomopatch.kernels import JIT

f32 = np.float32
EDGE = 1e-8
"""Samples this close to the edge, where their weight becomes zero, are left out. The computed position of a
ray that grazes the edge may be rounded to either side of it, and there is no voxel to read beyond it.
"""


@nb.njit(inline="always", **JIT)
def ray(table, k, cone, v, u):
    """Origin (3) and direction (3) of the ray of pixel (v, u) in view k."""
    z = table[k, 3] + v * table[k, 6] + u * table[k, 9]
    y = table[k, 4] + v * table[k, 7] + u * table[k, 10]
    x = table[k, 5] + v * table[k, 8] + u * table[k, 11]
    if not cone:
        return z, y, x, table[k, 0], table[k, 1], table[k, 2]
    sz, sy, sx = table[k, 0], table[k, 1], table[k, 2]
    return sz, sy, sx, z - sz, y - sy, x - sx


@nb.njit(inline="always", **JIT)
def inside(first, slope, n, start, stop):
    """Range of planes within [start, stop) with -1 < first + plane * slope < n, less an EDGE."""
    if abs(slope) < 1e-12:
        if first <= EDGE - 1 or first >= n - EDGE:
            return 0, 0
        return start, stop
    a = (EDGE - 1 - first) / slope
    b = (n - EDGE - first) / slope
    if a > b:
        a, b = b, a
    low = math.floor(a) + 1
    high = math.ceil(b)
    return max(start, low), min(stop, high)


@nb.njit(inline="always", **JIT)
def driving_axis(dz, dy, dx):
    """Driving axis of the ray, that of its largest component: 2, 1 or 0."""
    if abs(dx) >= abs(dy) and abs(dx) >= abs(dz):
        return 2
    if abs(dy) >= abs(dz):
        return 1
    return 0


@nb.njit(inline="always", **JIT)
def in_plane(axis, oz, oy, ox, dz, dy, dx):
    """Return the ray's position on plane 0 of its driving axis and its step per plane: (p, dp, q, dq).

    p runs along the slower of the two remaining axes in memory, q along the faster one.
    """
    if axis == 2:
        return oz - ox * dz / dx, dz / dx, oy - ox * dy / dx, dy / dx
    if axis == 1:
        return oz - oy * dz / dy, dz / dy, ox - oy * dx / dy, dx / dy
    return oy - oz * dy / dz, dy / dz, ox - oz * dx / dz, dx / dz


@nb.njit(inline="always", **JIT)
def plane_step(axis, dz, dy, dx, voxel_size):
    """Length [mm] of the ray between two planes of its driving axis."""
    length = math.sqrt((dz * voxel_size[0]) ** 2 + (dy * voxel_size[1]) ** 2 + (dx * voxel_size[2]) ** 2)
    d = dx if axis == 2 else (dy if axis == 1 else dz)
    return f32(length / abs(d))


@nb.njit(**JIT)
def project(planes_z, planes_y, planes_x, out, table, voxel_size, cone, start, stop):
    """Line integrals out (v, view, u) of views [start, stop).

    planes_*: the volume seen as planes of each driving axis, (plane, slow, fast): views of the same memory.
    """
    for k in range(start, stop):
        for v in range(out.shape[0]):
            for u in range(out.shape[2]):
                oz, oy, ox, dz, dy, dx = ray(table, k, cone, v, u)
                axis = driving_axis(dz, dy, dx)
                p0, dp, q0, dq = in_plane(axis, oz, oy, ox, dz, dy, dx)
                if axis == 2:
                    total = _gather(planes_x, p0, dp, q0, dq)
                elif axis == 1:
                    total = _gather(planes_y, p0, dp, q0, dq)
                else:
                    total = _gather(planes_z, p0, dp, q0, dq)
                out[v, k, u] = total * plane_step(axis, dz, dy, dx, voxel_size)


@nb.njit(**JIT)
def backproject(planes, axis, projections, table, voxel_size, cone, start, stop):
    """Add the rays that `axis` drives to its planes [start, stop): the transpose of `project`."""
    num_v, num_views, num_u = projections.shape
    for k in range(num_views):
        for v in range(num_v):
            for u in range(num_u):
                value = projections[v, k, u]
                if value == 0:
                    continue
                oz, oy, ox, dz, dy, dx = ray(table, k, cone, v, u)
                if driving_axis(dz, dy, dx) != axis:
                    continue
                p0, dp, q0, dq = in_plane(axis, oz, oy, ox, dz, dy, dx)
                _scatter(
                    planes, value * plane_step(axis, dz, dy, dx, voxel_size), p0, dp, q0, dq, start, stop
                )


@nb.njit(inline="always", **JIT)
def _gather(planes, p0, dp, q0, dq):
    num, num_p, num_q = planes.shape
    low, high = inside(p0, dp, num_p, 0, num)
    low, high = inside(q0, dq, num_q, low, high)
    total = f32(0)
    for i in range(low, high):
        p = p0 + i * dp
        q = q0 + i * dq
        ip = math.floor(p)
        iq = math.floor(q)
        wp = f32(p - ip)
        wq = f32(q - iq)
        if ip >= 0:
            if iq >= 0:
                total += (1 - wp) * (1 - wq) * planes[i, ip, iq]
            if iq + 1 < num_q:
                total += (1 - wp) * wq * planes[i, ip, iq + 1]
        if ip + 1 < num_p:
            if iq >= 0:
                total += wp * (1 - wq) * planes[i, ip + 1, iq]
            if iq + 1 < num_q:
                total += wp * wq * planes[i, ip + 1, iq + 1]
    return total


@nb.njit(inline="always", **JIT)
def _scatter(planes, value, p0, dp, q0, dq, start, stop):
    num_p, num_q = planes.shape[1], planes.shape[2]
    low, high = inside(p0, dp, num_p, start, stop)
    low, high = inside(q0, dq, num_q, low, high)
    for i in range(low, high):
        p = p0 + i * dp
        q = q0 + i * dq
        ip = math.floor(p)
        iq = math.floor(q)
        wp = f32(p - ip)
        wq = f32(q - iq)
        if ip >= 0:
            if iq >= 0:
                planes[i, ip, iq] += (1 - wp) * (1 - wq) * value
            if iq + 1 < num_q:
                planes[i, ip, iq + 1] += (1 - wp) * wq * value
        if ip + 1 < num_p:
            if iq >= 0:
                planes[i, ip + 1, iq] += wp * (1 - wq) * value
            if iq + 1 < num_q:
                planes[i, ip + 1, iq + 1] += wp * wq * value
