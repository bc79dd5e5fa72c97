"""Rasteriser: primitives as rows of numbers, compiled loops over voxels.

A row holds kind, centre, frame (3 x 3), half axes or second end, two parameters, Hounsfield units with two
texture amplitudes, opacity, "adds", bump height and wavelength, the level above which to paint, softness,
phase, and the bounding box (low z, y, x, high z, y, x). The constants below are the first column of each.
"""

from __future__ import annotations

import math

import numba
import numpy as np

from tomopatch.kernels import CACHE

AIR = -1000.0
EVERYWHERE = 1e30
ELLIPSOID, CAPSULE, BOX, CYLINDER = range(4)
COLUMNS = 34
KIND, CENTRE, FRAME, RADII, ENDS, HU = 0, 1, 4, 13, 16, 18
OPACITY, ADDED, BUMP, ABOVE, SOFT, PHASE, BOUNDS = 21, 22, 23, 25, 26, 27, 28


@numba.njit(nogil=True, cache=CACHE, fastmath=True)
def paint(rows, waves, bumps, zs, ys, xs, h, out):  # pragma: no cover - compiled
    ny, nx, count = len(ys), len(xs), len(waves)
    half = count // 2
    along_x = np.empty((2, count, nx))
    for w in range(count):
        for i in range(nx):
            along_x[0, w, i] = math.cos(waves[w, 2] * xs[i])
            along_x[1, w, i] = math.sin(waves[w, 2] * xs[i])
    texture = np.zeros((2, ny, nx), dtype=np.float32)
    has_texture = False
    for row in rows:
        has_texture |= row[HU + 1] != 0 or row[HU + 2] != 0
    for k in range(len(zs)):
        if has_texture:
            texture[:] = 0
            for j in range(ny):
                for w in range(count):
                    angle = waves[w, 0] * zs[k] + waves[w, 1] * ys[j] + waves[w, 3]
                    c = np.float32(waves[w, 4] * math.cos(angle))
                    s = np.float32(waves[w, 4] * math.sin(angle))
                    line = texture[0 if w < half else 1, j]
                    for i in range(nx):
                        line[i] += c * along_x[0, w, i] - s * along_x[1, w, i]
        slice_ = out[k]
        slice_[:] = AIR
        for row in rows:
            margin = row[BUMP] * 2 + row[SOFT] / 2
            if row[BOUNDS] - margin - h[0] > zs[k] or row[BOUNDS + 3] + margin + h[0] < zs[k]:
                continue
            j0, j1 = _span(ys, h[1], row[BOUNDS + 1] - margin, row[BOUNDS + 4] + margin)
            i0, i1 = _span(xs, h[2], row[BOUNDS + 2] - margin, row[BOUNDS + 5] + margin)
            for j in range(j0, j1):
                first, last, full_first, full_last = i0, i1, i1, i1
                if int(row[KIND]) == ELLIPSOID:
                    first, last, full_first, full_last = _chord(row, zs[k], ys[j], xs, h, i0, i1)
                front = _in_front(row, ys[j], h[1])
                for i in range(first, last):
                    cover = front
                    if i < full_first or i >= full_last:
                        cover *= _cover(row, zs[k], ys[j], xs[i], h, bumps)
                    if cover <= 0:
                        continue
                    hu = row[HU] + row[HU + 1] * texture[0, j, i] + row[HU + 2] * texture[1, j, i]
                    base = 0.0 if row[ADDED] else slice_[j, i]
                    slice_[j, i] += cover * row[OPACITY] * (hu - base)


@numba.njit(nogil=True, cache=CACHE, inline="always")
def _span(axis, h, low, high):  # pragma: no cover - compiled
    first = math.floor((low - axis[0]) / h)
    last = math.ceil((high - axis[0]) / h)
    return max(0, first), min(len(axis), last + 1)


@numba.njit(nogil=True, cache=CACHE, fastmath=True)
def _chord(row, z, y, xs, h, i0, i1):  # pragma: no cover - compiled
    """Return the voxels of a line along x that an ellipsoid may touch, and those well inside it.

    |u|_p <= |u|_2 <= c |u|_p. A voxel further from the surface than half its own width, the bumps and the
    softness together lies within a smaller ellipsoid, or outside a larger one. Both meet the line in one
    interval.
    """
    pz, py = z - row[CENTRE], y - row[CENTRE + 1]
    square, mixed, start = 0.0, 0.0, 0.0  # |u|_2^2 = square x^2 + 2 mixed x + start
    for a in range(3):
        r = row[RADII + a]
        across = (row[FRAME + 3 * a] * pz + row[FRAME + 3 * a + 1] * py) / r
        along = row[FRAME + 3 * a + 2] / r
        square += along * along
        mixed += along * across
        start += across * across
    room = _room(row, h) / min(row[RADII], row[RADII + 1], row[RADII + 2])
    outer, inner = (1 + room) * row[ENDS + 1], 1 - room
    bend = mixed * mixed - square * (start - outer * outer)
    if bend <= 0:
        return i0, i0, i0, i0
    step, middle = xs[1] - xs[0] if len(xs) > 1 else 1.0, row[CENTRE + 2] - mixed / square - xs[0]
    reach = math.sqrt(bend) / square
    first = max(i0, math.floor((middle - reach) / step))
    last = min(i1, math.ceil((middle + reach) / step) + 1)
    bend = mixed * mixed - square * (start - inner * inner)
    if inner <= 0 or bend <= 0:
        return first, last, last, last
    reach = math.sqrt(bend) / square
    return first, last, math.ceil((middle - reach) / step), math.floor((middle + reach) / step) + 1


@numba.njit(nogil=True, cache=CACHE, inline="always")
def _room(row, h):  # pragma: no cover - compiled
    """Largest distance from the surface [mm] at which a primitive may still partly cover a voxel."""
    return (h[0] + h[1] + h[2]) / 2 + 2 * row[BUMP] + row[SOFT] / 2


@numba.njit(nogil=True, cache=CACHE, inline="always")
def _in_front(row, y, h):  # pragma: no cover - compiled
    """Share of the voxel in front of the primitive's level, above which the primitive is painted."""
    if row[ABOVE] >= EVERYWHERE:
        return 1.0
    return min(1.0, max(0.0, 0.5 + (row[ABOVE] - y) / h))


# ---- share of a voxel that a primitive covers ---------------------------------------------------
# A voxel's shape enters as the width of its projection onto the edge's normal: the box of the same variance,
# w^2 = sum of (n h)^2. A curved edge seen through a width w looks too large by w^2 / 24 times the sum of its
# curvatures. This is subtracted, so that a primitive keeps its volume on any grid.


@numba.njit(nogil=True, cache=CACHE, fastmath=True)
def _cover(row, z, y, x, h, bumps):  # pragma: no cover - compiled
    """Share of the voxel at (z, y, x) that the primitive covers."""
    pz, py, px = z - row[CENTRE], y - row[CENTRE + 1], x - row[CENTRE + 2]
    kind = int(row[KIND])
    if kind == BOX:
        return (
            _overlap(pz, h[0], row[RADII])
            * _overlap(py, h[1], row[RADII + 1])
            * _overlap(px, h[2], row[RADII + 2])
        )
    if kind == CYLINDER:
        s = math.sqrt(py * py + px * px) + 1e-9
        w = math.hypot(py / s * h[1], px / s * h[2]) + 1e-9  # no direction is defined on the axis
        round_ = min(1.0, max(0.0, 0.5 - (s - row[RADII + 1] + w * w / 24 / row[RADII + 1]) / w))
        return round_ * _overlap(pz, h[0], row[RADII])
    if kind == CAPSULE:
        return _rod(row, pz, py, px, z, y, x, h, bumps)
    return _ellipsoid(row, pz, py, px, z, y, x, h, bumps)


@numba.njit(nogil=True, cache=CACHE, inline="always")
def _overlap(q, w, r):  # pragma: no cover - compiled
    """Share of an interval of width w around q that lies within -r .. r."""
    return max(0.0, min(q + w / 2, r) - max(q - w / 2, -r)) / w


@numba.njit(nogil=True, cache=CACHE, fastmath=True)
def _uneven(row, z, y, x, bumps):  # pragma: no cover - compiled
    """Displacement [mm] of an uneven surface, at most twice the bump's height."""
    bump = 0.0
    for b in range(len(bumps)):
        phase = (bumps[b, 0] * z + bumps[b, 1] * y + bumps[b, 2] * x) / row[BUMP + 1]
        bump += bumps[b, 4] * math.sin(phase + bumps[b, 3] + row[PHASE] * (b + 1))
    return 0.58 * row[BUMP] * bump


@numba.njit(nogil=True, cache=CACHE, fastmath=True)
def _ellipsoid(row, pz, py, px, z, y, x, h, bumps):  # pragma: no cover - compiled
    qz = row[FRAME] * pz + row[FRAME + 1] * py + row[FRAME + 2] * px
    qy = row[FRAME + 3] * pz + row[FRAME + 4] * py + row[FRAME + 5] * px
    qx = row[FRAME + 6] * pz + row[FRAME + 7] * py + row[FRAME + 8] * px
    rz, ry, rx = row[RADII], row[RADII + 1], row[RADII + 2]
    uz, uy, ux = abs(qz / rz), abs(qy / ry), abs(qx / rx)
    k = math.sqrt(uz * uz + uy * uy + ux * ux)
    room = _room(row, h)
    least = min(rz, ry, rx)
    if (1 - k) * least > room:  # |u|_p <= |u|_2 <= c |u|_p: well inside, or well outside
        return 1.0
    if (k / row[ENDS + 1] - 1) * least > room:
        return 0.0
    p, curved = row[ENDS], 0.0
    if p == 2.0:
        k = max(k, 1e-9)
        gz, gy, gx = qz / (rz * rz) / k, qy / (ry * ry) / k, qx / (rx * rx) / k
        steep = gz * gz + gy * gy + gx * gx + 1e-12
        along = (gz * gz / (rz * rz) + gy * gy / (ry * ry) + gx * gx / (rx * rx)) / steep
        curved = (1 / (rz * rz) + 1 / (ry * ry) + 1 / (rx * rx) - along) / (k * math.sqrt(steep))
    else:  # large bodies, whose curvature does not matter
        if p == 2.5:  # three roots are faster than three powers
            gz, gy, gx = uz * math.sqrt(uz), uy * math.sqrt(uy), ux * math.sqrt(ux)
        else:
            gz, gy, gx = uz ** (p - 1), uy ** (p - 1), ux ** (p - 1)
        total = gz * uz + gy * uy + gx * ux + 1e-30
        k = total ** (1 / p)
        gz = math.copysign(gz / rz, qz) * k / total
        gy = math.copysign(gy / ry, qy) * k / total
        gx = math.copysign(gx / rx, qx) * k / total
        steep = gz * gz + gy * gy + gx * gx + 1e-12
    d = (k - 1) / math.sqrt(steep)
    nz = row[FRAME] * gz + row[FRAME + 3] * gy + row[FRAME + 6] * gx
    ny = row[FRAME + 1] * gz + row[FRAME + 4] * gy + row[FRAME + 7] * gx
    nx = row[FRAME + 2] * gz + row[FRAME + 5] * gy + row[FRAME + 8] * gx
    w = math.sqrt(((nz * h[0]) ** 2 + (ny * h[1]) ** 2 + (nx * h[2]) ** 2) / steep) + row[SOFT] + 1e-6
    if row[BUMP] > 0 and abs(d) < 2 * row[BUMP] + w:
        d += _uneven(row, z, y, x, bumps)
    d += min(w * w / 24 * curved, w / 4)
    return min(1.0, max(0.0, 0.5 - d / w))


@numba.njit(nogil=True, cache=CACHE, fastmath=True)
def _rod(row, pz, py, px, z, y, x, h, bumps):  # pragma: no cover - compiled
    az, ay, ax = row[FRAME], row[FRAME + 4], row[FRAME + 8]  # the frame of a rod only stretches
    ez, ey, ex = row[RADII] - row[CENTRE], row[RADII + 1] - row[CENTRE + 1], row[RADII + 2] - row[CENTRE + 2]
    qz, qy, qx = az * pz, ay * py, ax * px
    fz, fy, fx = az * ez, ay * ey, ax * ex
    reach = (qz * fz + qy * fy + qx * fx) / (fz * fz + fy * fy + fx * fx + 1e-12)
    t = min(1.0, max(0.0, reach))
    r = row[ENDS] + t * (row[ENDS + 1] - row[ENDS])
    length = math.sqrt(ez * ez + ey * ey + ex * ex) + 1e-9
    thin = r * 2 < (h[0] + h[1] + h[2]) / 3 * (az + ay + ax) / 3
    if thin:
        t = reach  # flat ends; with round ones, rods end to end would count twice where they meet
    gz, gy, gx = qz - t * fz, qy - t * fy, qx - t * fx
    s = math.sqrt(gz * gz + gy * gy + gx * gx) + 1e-9
    nz, ny, nx = gz / s * az, gy / s * ay, gx / s * ax
    steep = math.sqrt(nz * nz + ny * ny + nx * nx) + 1e-9
    w = math.sqrt((nz * h[0]) ** 2 + (ny * h[1]) ** 2 + (nx * h[2]) ** 2) / steep + row[SOFT] + 1e-6
    r, s = r / steep, s / steep
    if thin:
        along = math.sqrt((ez * h[0]) ** 2 + (ey * h[1]) ** 2 + (ex * h[2]) ** 2) / length
        # seen through a width w in both directions across; the last factor keeps the cross-section's area
        across = _overlap(s, w, r) * 2 * r * w / (w * w + 4 / 3 * r * r)
        return min(1.0, across) * _overlap((reach - 0.5) * length, along, length / 2)
    d = s - r
    if row[BUMP] > 0 and abs(d) < 2 * row[BUMP] + w:
        d += _uneven(row, z, y, x, bumps)
    d += r - math.sqrt(max(r * r - w * w / 12, r * r / 4))
    return min(1.0, max(0.0, 0.5 - d / w))
