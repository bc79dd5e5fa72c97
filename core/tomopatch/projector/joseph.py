"""CPU projector: Joseph's method in numba, with an exact adjoint, for any vector geometry.

It uses the fastest kernels that the symmetry of the geometry allows, and brings arrays into their layout.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.views import Views
from tomopatch.kernels import run_chunks
from tomopatch.projector import joseph_columns, joseph_general, joseph_parallel
from tomopatch.projector.layout import first_to_last, last_to_first
from tomopatch.volume import VolumeGeometry


class JosephOperator:
    """A and its transpose on CPU tensors, float32.

    Attributes
    ----------
    path : "parallel", "columns" or "general"
        Kernels in use: for rays within the slices; for detector columns along z; for any geometry.
    """

    device = torch.device("cpu")

    def __init__(self, vg: VolumeGeometry, views: Views, path: str | None = None) -> None:
        self.vg, self.cone = vg, views.cone
        self.range_shape = (views.det_shape[0], views.num_views, views.det_shape[1])
        self.voxel_size = np.asarray(vg.voxel_size)
        self.table = index_table(vg, views)
        self.flipped = bool((self.table[:, 6] < 0).all())
        if self.flipped:  # rows counted from the other end, so that z grows with v
            self.table[:, 3:6] += (views.det_shape[0] - 1) * self.table[:, 6:9]
            self.table[:, 6:9] *= -1
        self.path = path or _fastest_path(self.table, views)

    def forward(self, x: Tensor) -> Tensor:
        """Projections (v, view, u) of x (z, y, x)."""
        x = x.cpu()
        if self.path == "general":
            planes = x.contiguous().numpy()
            out = np.empty(self.range_shape, np.float32)
            views = (planes, planes.transpose(1, 0, 2), planes.transpose(2, 0, 1))
            run_chunks(
                joseph_general.project, out.shape[1], *views, out, self.table, self.voxel_size, self.cone
            )
            return self._rows(torch.from_numpy(out), 0)
        num_v, num_views, num_u = self.range_shape
        out = np.empty((num_views, num_u, num_v), np.float32)
        if self.path == "parallel":
            volume = first_to_last(x.numpy())
            slices = np.empty((num_views, num_u, volume.shape[2]), np.float32)
            run_chunks(joseph_parallel.project_slices, num_views, volume, slices, self.table, self.voxel_size)
            run_chunks(joseph_parallel.rows_from_slices, num_views, slices, out, self.table)
        else:
            volume = first_to_last(x.numpy(), joseph_columns.PAD)
            run_chunks(joseph_columns.project, num_views, volume, out, self.table, self.voxel_size, self.cone)
        return self._rows(torch.from_numpy(last_to_first(out)), 0)

    def transpose(self, y: Tensor) -> Tensor:
        """Backprojection (z, y, x) of y (v, view, u): the exact transpose of `forward`."""
        y = self._rows(y.cpu(), 0)
        nz, ny, nx = self.vg.shape
        if self.path == "general":
            x = np.zeros(self.vg.shape, np.float32)
            rays = y.contiguous().numpy()
            for axis, planes in enumerate((x, x.transpose(1, 0, 2), x.transpose(2, 0, 1))):
                run_chunks(
                    joseph_general.backproject,
                    planes.shape[0],
                    planes,
                    axis,
                    rays,
                    self.table,
                    self.voxel_size,
                    self.cone,
                    chunks_per_thread=1,
                )
            return torch.from_numpy(x)
        rows = first_to_last(y.numpy())
        num_views, num_u, _ = rows.shape
        if self.path == "parallel":
            slices = np.empty((num_views, num_u, nz), np.float32)
            run_chunks(joseph_parallel.slices_from_rows, num_views, rows, slices, self.table)
            x = np.zeros((ny, nx + joseph_parallel.PAD, nz), np.float32)
            for by_x, count in ((True, nx), (False, ny)):
                run_chunks(
                    joseph_parallel.backproject_slices, count, x, by_x, slices, self.table, self.voxel_size
                )
            return torch.from_numpy(last_to_first(x, num_c=nx))
        weighed = np.empty_like(rows)
        run_chunks(joseph_columns.weigh, num_views, rows, weighed, self.table, self.voxel_size, self.cone)
        x = np.zeros((ny, nx, nz + 2 * joseph_columns.PAD), np.float32)
        for by_x, count in ((True, nx), (False, ny)):
            run_chunks(joseph_columns.backproject, count, x, by_x, weighed, self.table, self.cone)
        return torch.from_numpy(last_to_first(x, joseph_columns.PAD))

    def _rows(self, y: Tensor, axis: int) -> Tensor:
        return y.flip(axis) if self.flipped else y


def index_table(vg: VolumeGeometry, views: Views) -> np.ndarray:
    """Scan geometry in voxel index coordinates; see `joseph_general`."""
    voxel_size, pos = np.asarray(vg.voxel_size), np.asarray(vg.pos)
    centre = (np.asarray(vg.shape) - 1) / 2
    num_v, num_u = views.det_shape
    corner = views.det_pos - (num_v - 1) / 2 * views.det_v - (num_u - 1) / 2 * views.det_u
    table = np.empty((views.num_views, 12))
    if views.cone:
        table[:, 0:3] = (views.source - pos) / voxel_size + centre
    else:
        table[:, 0:3] = views.source / voxel_size
    table[:, 3:6] = (corner - pos) / voxel_size + centre
    table[:, 6:9] = views.det_v / voxel_size
    table[:, 9:12] = views.det_u / voxel_size
    return table


def _fastest_path(table: np.ndarray, views: Views) -> str:
    upright = np.allclose(table[:, 7:9], 0, atol=1e-9) and (table[:, 6] > 0).all()
    if not upright or views.det_shape[0] == 1:  # a single row has no run along z to share work
        return "general"
    if not views.cone and (np.abs(table[:, 0]) < 1e-9).all():
        return "parallel"
    num_v, num_u = views.det_shape
    for v in (0, num_v - 1):  # no ray may run more along z than along x or y
        for u in (0, num_u - 1):
            d = table[:, 0:3]
            if views.cone:
                d = table[:, 3:6] + v * table[:, 6:9] + u * table[:, 9:12] - d
            if (np.abs(d[:, 0]) > np.abs(d[:, 1:]).max(1)).any():
                return "general"
    return "columns"
