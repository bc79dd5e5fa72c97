"""Voxel-driven backprojection for the analytic methods: each voxel looks up its shadow on the detector.

It is not the transpose of the projector: FBP and FDK discretise an integral over angles, and interpolating
the filtered projection at the voxel's shadow is the more accurate rule for that.
"""

from __future__ import annotations

import math

import numba as nb
import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.views import Views
from tomopatch.kernels import JIT, run_chunks
from tomopatch.projector.joseph_general import f32
from tomopatch.projector.layout import first_to_last, last_to_first
from tomopatch.volume import VolumeGeometry


def backproject(filtered: Tensor, vg: VolumeGeometry, views: Views) -> Tensor:
    """Sum over views of the filtered projections at each voxel's shadow; (v, view, u) -> (z, y, x).

    For a cone beam each view is weighted by (source-axis distance / source-voxel distance)^2. Voxels whose
    shadow misses the detector's columns get nothing from that view; above and below the detector, its
    outermost row is continued by one pixel. Detector rows must be perpendicular to z.
    """
    out = np.zeros((vg.shape[1], vg.shape[2], vg.shape[0]), np.float32)
    rows = first_to_last(filtered.detach().cpu().numpy())
    axes = [vg.axis(i).numpy() for i in range(3)]
    run_chunks(_voxels, vg.shape[1], out, rows, _table(views), *axes, views.cone)
    return torch.from_numpy(last_to_first(out)).to(filtered.device)


def _table(views: Views) -> np.ndarray:
    """Per view: source or ray, pixel (0, 0), row step in z, column step, normal, source-axis distance."""
    num_v, num_u = views.det_shape
    table = np.zeros((views.num_views, 14))
    table[:, 0:3] = views.source
    table[:, 3:6] = views.det_pos - (num_v - 1) / 2 * views.det_v - (num_u - 1) / 2 * views.det_u
    table[:, 6] = views.det_v[:, 0]
    table[:, 7:10] = views.det_u
    normal = np.cross(views.det_u, views.det_v)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    towards = views.det_pos - views.source if views.cone else views.source
    normal *= np.sign((towards * normal).sum(1, keepdims=True))
    table[:, 10:13] = normal
    table[:, 13] = -(views.source * normal).sum(1)
    return table


@nb.njit(**JIT)
def _voxels(out, rows, table, axis_z, axis_y, axis_x, cone, start, stop):
    """out (y, x, z) for y in [start, stop); rows (view, u, v)."""
    num_views, num_u, num_v = rows.shape
    num_z = out.shape[2]
    column = np.zeros(num_v + 1, np.float32)
    index = np.zeros(num_z, np.uint32)
    fraction = np.zeros(num_z, np.float32)
    z0 = axis_z[0]
    dz = axis_z[1] - axis_z[0] if num_z > 1 else 1.0
    for k in range(num_views):
        sz, sy, sx, cz, cy, cx, row_z, _uz, uy, ux, _nz, ny, nx, distance = table[k]
        length2 = uy * uy + ux * ux
        for j in range(start, stop):
            for i in range(out.shape[1]):
                if cone:
                    depth = (axis_y[j] - sy) * ny + (axis_x[i] - sx) * nx
                    if depth <= 1e-6 * distance:
                        continue
                    scale = ((cy - sy) * ny + (cx - sx) * nx) / depth
                    weight = (distance / depth) ** 2
                    py = sy + (axis_y[j] - sy) * scale - cy
                    px = sx + (axis_x[i] - sx) * scale - cx
                    v0 = (sz + (z0 - sz) * scale - cz) / row_z
                else:
                    scale = 1.0
                    weight = 1.0
                    py = axis_y[j] - cy
                    px = axis_x[i] - cx
                    v0 = (z0 - cz) / row_z
                u = (py * uy + px * ux) / length2
                below = math.floor(u)
                if below < 0 or below + 1 >= num_u:
                    continue
                w1 = f32((u - below) * weight)
                w0 = f32(weight) - w1
                a = rows[k, below]
                b = rows[k, below + 1]
                for v in range(num_v):
                    column[v] = w0 * a[v] + w1 * b[v]
                column[num_v] = column[num_v - 1]
                step = dz * scale / row_z
                low = max(0, math.ceil((-1.0 - v0) / step))
                high = min(num_z, math.floor((num_v - v0) / step) + 1)
                if low >= high:
                    continue
                first = f32(v0 + low * step)
                step32 = f32(step)
                count = np.uint64(high - low)
                top = f32(num_v - 1)
                for n in range(count):
                    v_ = min(max(first + f32(np.int32(n)) * step32, f32(0)), top)
                    m = np.int32(v_)
                    index[n] = np.uint32(m)
                    fraction[n] = v_ - f32(m)
                line = out[j, i, low:high]
                for n in range(count):
                    m_ = np.uint64(index[n])
                    value = column[m_]
                    line[n] += value + fraction[n] * (column[m_ + np.uint64(1)] - value)
