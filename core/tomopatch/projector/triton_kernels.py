"""Joseph's method in Triton: the discretisation of `joseph_general` on a GPU. Importing this imports triton.

A program takes a block of neighbouring rays of one view and follows them from plane to plane of their driving
axis. Rays are computed in float64. They are followed in float32 relative to the centre of the volume, which
keeps them within some 1e-5 voxel on 512 planes.

The volume is passed twice: as (z, y, x), and for rays along x as (z, x, y), because neighbouring rays should
read neighbouring memory. Programs are ordered so that all views of a few detector rows follow one another:
their slices of the volume then stay in the cache.
"""

from __future__ import annotations

import triton
import triton.language as tl

FAR = tl.constexpr(-1.0e6)
"""In-plane position of rays that another axis drives, outside every volume."""


@triton.jit
def block_of_rays(num_rows, num_views, num_columns, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """View of this program; row, column, mask of its rays. Columns run fastest, then views, then rows."""
    program = tl.program_id(0)
    across = tl.cdiv(num_columns, COLUMNS)
    view = (program // across) % num_views
    r = tl.arange(0, ROWS * COLUMNS)
    row = program // (across * num_views) * ROWS + r // COLUMNS
    column = program % across * COLUMNS + r % COLUMNS
    return view, row, column, (row < num_rows) & (column < num_columns)


@triton.jit
def ray(table, view, row, column, CONE: tl.constexpr):
    """Origin (3) and direction (3) of the rays, float64, in voxel index coordinates."""
    t = table + view * 12
    v, u = row.to(tl.float64), column.to(tl.float64)
    z = tl.load(t + 3) + v * tl.load(t + 6) + u * tl.load(t + 9)
    y = tl.load(t + 4) + v * tl.load(t + 7) + u * tl.load(t + 10)
    x = tl.load(t + 5) + v * tl.load(t + 8) + u * tl.load(t + 11)
    a, b, c = tl.load(t), tl.load(t + 1), tl.load(t + 2)
    if CONE:
        oz, oy, ox = a + 0 * z, b + 0 * y, c + 0 * x
        dz, dy, dx = z - a, y - b, x - c
    else:
        oz, oy, ox = z, y, x
        dz, dy, dx = a + 0 * z, b + 0 * y, c + 0 * x
    return oz, oy, ox, dz, dy, dx


@triton.jit
def drives(AXIS: tl.constexpr, dz, dy, dx):
    """Whether AXIS (2, 1, 0 = x, y, z) is the driving axis of the ray."""
    z, y, x = tl.abs(dz), tl.abs(dy), tl.abs(dx)
    along_x = (x >= y) & (x >= z)
    if AXIS == 2:
        answer = along_x
    elif AXIS == 1:
        answer = (along_x == 0) & (y >= z)
    else:
        answer = (along_x == 0) & (y < z)
    return answer


@triton.jit
def plane_span(p, dp, num_p, num):
    """Range of planes that contains all of 0..num with -1 < p < num_p; p is given at plane 0."""
    slope = tl.where(tl.abs(dp) < 1e-12, 1e-12, dp)
    a, b = (-1 - p) / slope, (num_p - p) / slope
    low = tl.minimum(tl.maximum(tl.floor(tl.minimum(a, b)), 0), num)
    high = tl.minimum(tl.maximum(tl.ceil(tl.maximum(a, b)) + 1, 0), num)
    return low.to(tl.int32), high.to(tl.int32)


@triton.jit
def crossings(driven, o, d, op, dp, oq, dq, num, num_p, num_q):
    """Crossings of the rays with the planes of their axis, and the planes that any ray meets in the volume.

    p, q: crossing of plane num // 2, relative to (num_p // 2, num_q // 2); dp, dq: change per plane; all
    float32.
    """
    d = tl.where(driven, d, 1.0)
    dp, dq = dp / d, dq / d
    low_p, high_p = plane_span(op - o * dp, dp, num_p, num)
    low_q, high_q = plane_span(oq - o * dq, dq, num_q, num)
    low, high = tl.maximum(low_p, low_q), tl.minimum(high_p, high_q)
    meets = driven & (low < high)
    first = tl.min(tl.where(meets, low, num))
    stop = tl.max(tl.where(meets, high, 0))
    p = op + (num // 2 - o) * dp - num_p // 2
    q = oq + (num // 2 - o) * dq - num_q // 2
    p, dp = tl.where(meets, p, FAR).to(tl.float32), tl.where(meets, dp, 0).to(tl.float32)
    q, dq = tl.where(meets, q, FAR).to(tl.float32), tl.where(meets, dq, 0).to(tl.float32)
    return p, dp, q, dq, first, stop


@triton.jit
def corner(i, p, dp, q, dq, num, num_p, num_q):
    """Lower corner (ip, iq) and weights (wp, wq) of the interpolation in plane i."""
    step = (i - num // 2).to(tl.float32)
    p, q = tl.fma(step, dp, p), tl.fma(step, dq, q)  # one rounding
    floor_p, floor_q = tl.floor(p), tl.floor(q)
    ip, iq = floor_p.to(tl.int32) + num_p // 2, floor_q.to(tl.int32) + num_q // 2
    return ip, iq, p - floor_p, q - floor_q


@triton.jit
def gather(planes, plane_stride, p_stride, p, dp, q, dq, first, stop, num, num_p, num_q, INDEX: tl.constexpr):
    """Sums of the samples along the rays."""
    total = tl.zeros_like(p)
    plane = planes + first.to(INDEX) * plane_stride
    for i in range(first, stop):
        ip, iq, wp, wq = corner(i, p, dp, q, dq, num, num_p, num_q)
        at = plane + ip.to(INDEX) * p_stride + iq
        p_low, p_high = (ip >= 0) & (ip < num_p), (ip >= -1) & (ip + 1 < num_p)
        q_low, q_high = (iq >= 0) & (iq < num_q), (iq >= -1) & (iq + 1 < num_q)
        a = tl.load(at, mask=p_low & q_low, other=0.0)
        b = tl.load(at + 1, mask=p_low & q_high, other=0.0)
        c = tl.load(at + p_stride, mask=p_high & q_low, other=0.0)
        d = tl.load(at + p_stride + 1, mask=p_high & q_high, other=0.0)
        total += (1 - wp) * ((1 - wq) * a + wq * b) + wp * ((1 - wq) * c + wq * d)
        plane += plane_stride
    return total


@triton.jit
def scatter(
    planes, value, plane_stride, p_stride, p, dp, q, dq, first, stop, num, num_p, num_q, INDEX: tl.constexpr
):
    """Add the values of the rays to the samples along them: the transpose of `gather`."""
    plane = planes + first.to(INDEX) * plane_stride
    for i in range(first, stop):
        ip, iq, wp, wq = corner(i, p, dp, q, dq, num, num_p, num_q)
        at = plane + ip.to(INDEX) * p_stride + iq
        p_low, p_high = (ip >= 0) & (ip < num_p), (ip >= -1) & (ip + 1 < num_p)
        q_low, q_high = (iq >= 0) & (iq < num_q), (iq >= -1) & (iq + 1 < num_q)
        low, high = (1 - wp) * value, wp * value
        tl.atomic_add(at, (1 - wq) * low, mask=p_low & q_low, sem="relaxed")
        tl.atomic_add(at + 1, wq * low, mask=p_low & q_high, sem="relaxed")
        tl.atomic_add(at + p_stride, (1 - wq) * high, mask=p_high & q_low, sem="relaxed")
        tl.atomic_add(at + p_stride + 1, wq * high, mask=p_high & q_high, sem="relaxed")
        plane += plane_stride


SIZES = ["nz", "ny", "nx", "num_rows", "num_views", "num_columns", "row_stride", "view_stride"]


@triton.jit(do_not_specialize=SIZES)  # one compilation for all sizes
def walk(
    volume,
    volume_zxy,
    projections,
    table,
    size_z,
    size_y,
    size_x,
    nz,
    ny,
    nx,
    num_rows,
    num_views,
    num_columns,
    row_stride,
    view_stride,
    column_stride,
    CONE: tl.constexpr,
    TRANSPOSE: tl.constexpr,
    INDEX: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Line integrals of the volume; with TRANSPOSE, the backprojection of the rays into the volume."""
    view, row, column, there = block_of_rays(num_rows, num_views, num_columns, ROWS, COLUMNS)
    oz, oy, ox, dz, dy, dx = ray(table, view, row, column, CONE)
    at = row.to(tl.int64) * row_stride + view.to(tl.int64) * view_stride + column.to(tl.int64) * column_stride
    z, y, x = dz * size_z, dy * size_y, dx * size_x
    most = tl.maximum(tl.abs(dz), tl.maximum(tl.abs(dy), tl.abs(dx)))
    step = (tl.sqrt(z * z + y * y + x * x) / most).to(tl.float32)  # mm between two planes
    if TRANSPOSE:
        value = tl.load(projections + at, mask=there, other=0.0) * step
    total = tl.zeros_like(step)
    for AXIS in tl.static_range(3):
        if AXIS == 2:
            planes, plane_stride, p_stride = volume_zxy, ny, nx * ny
            num, num_p, num_q = nx, nz, ny
            o, d, op, dp, oq, dq = ox, dx, oz, dz, oy, dy
        elif AXIS == 1:
            planes, plane_stride, p_stride = volume, nx, ny * nx
            num, num_p, num_q = ny, nz, nx
            o, d, op, dp, oq, dq = oy, dy, oz, dz, ox, dx
        else:
            planes, plane_stride, p_stride = volume, ny * nx, nx
            num, num_p, num_q = nz, ny, nx
            o, d, op, dp, oq, dq = oz, dz, oy, dy, ox, dx
        driven = there & drives(AXIS, dz, dy, dx)
        p, dp, q, dq, first, stop = crossings(driven, o, d, op, dp, oq, dq, num, num_p, num_q)
        if TRANSPOSE:
            scatter(
                planes, value, plane_stride, p_stride, p, dp, q, dq, first, stop, num, num_p, num_q, INDEX
            )
        else:
            total += gather(
                planes, plane_stride, p_stride, p, dp, q, dq, first, stop, num, num_p, num_q, INDEX
            )
    if not TRANSPOSE:
        tl.store(projections + at, total * step, mask=there)


@triton.jit
def write_one(out):
    """Smallest kernel, to test whether kernels can be compiled and run."""
    tl.store(out, 1.0)
