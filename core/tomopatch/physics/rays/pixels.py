"""Finite detector pixels: transmissions averaged over the rays of a pixel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, Geometry
from tomopatch.geometry.views import Views
from tomopatch.projector import Projector
from tomopatch.volume import Volume, VolumeGeometry

MAX_RAYS = 2**26
"""Largest number of rays, over all materials, whose line integrals are held at once."""

Transmit = Callable[[list[Tensor], slice], Tensor]
"""Function of the line integrals (rows, views, columns) of each volume and of a slice of views. It returns
signals (outputs, rows, views, columns)."""


@dataclass(frozen=True, eq=False)
class Rays:
    """Rays through a volume.

    Attributes
    ----------
    geometry : ParallelBeam, ConeBeam or Views
    stretch : float64 array (views,) or None
        The volume is longer along z by this factor than its grid; the z of the views is divided by it.
    """

    geometry: Geometry
    stretch: np.ndarray | None = None

    @property
    def views(self) -> Views:
        return self.geometry.views()


def beer(paths: list[Tensor], views: slice) -> Tensor:
    """Beer's law for one energy: exp(-line integral), one output."""
    return torch.exp(-paths[0])[None]


def rays_per_pixel(vg: VolumeGeometry, pg: Geometry) -> int:
    """Number of voxels across a detector pixel that is scaled to the rotation axis; from 1 to 4."""
    views = pg.views()
    pixel = float((views.det_u[0] ** 2).sum() ** 0.5)
    if isinstance(pg, ConeBeam):
        pixel *= pg.src_orig_dist / pg.src_det_dist
    elif views.cone:
        source, detector = views.source[0], views.det_pos[0]
        pixel *= float((source**2).sum() ** 0.5 / (((detector - source) ** 2).sum() ** 0.5))
    return max(1, min(4, round(pixel / min(vg.voxel_size[1:]))))


def line_integrals(volume: Volume, rays: Rays, supersample: int, backend: str) -> Tensor:
    """Line integrals of finite pixels: -log of the mean transmission over the rays of a pixel."""
    if supersample == 1:
        return _paths([volume], rays.views, rays.stretch, backend)[0]
    return -torch.log(transmissions([volume], rays, supersample, backend, beer)[0])


def transmissions(
    volumes: Sequence[Volume], rays: Rays, supersample: int, backend: str, transmit: Transmit
) -> Tensor:
    """Signals (outputs, v, angle, u) of finite pixels: the mean over supersample^2 rays of each pixel.

    Parameters
    ----------
    volumes : sequence of Volume
        One per material, at the same resolution; a volume may cover only a part of the object.
    transmit : function
        Returns signals from the line integrals of all volumes.
    """
    views, n, vg = rays.views, supersample, volumes[0].geometry
    v, u = views.det_shape
    aligned = n > 1 and _rows_lie_in_slices(views)
    if aligned:  # the mean over a pixel's height is then exact with one row of rays per slice
        finer, per_row = _row_per_slice(views, vg, n), 1
    else:
        # rays off the middle of a single slice would be interpolated with the air above and below it
        per_row = n if vg.shape[0] > 1 else 1
        det_v, shape = views.det_v / per_row, (v * per_row, u * n)
        finer = Views(views.cone, views.source, views.det_pos, det_v, views.det_u / n, shape)
    share = _share_of_slices(views, vg) if aligned else torch.empty(0)
    out = []
    # chunks of views bound the memory of the finer projections
    per_chunk = max(1, MAX_RAYS // (n * u * finer.det_shape[0] * len(volumes)))
    for start in range(0, views.num_views, per_chunk):
        chunk = slice(start, min(start + per_chunk, views.num_views))
        stretch = None if rays.stretch is None else rays.stretch[chunk]
        part = transmit(_paths(volumes, finer.subset(chunk), stretch, backend), chunk)
        if n > 1:
            part = part.unflatten(3, (u, n)).unflatten(1, (-1, per_row)).mean((2, 5))
        if aligned:
            # rows above and below the volume measure air; 1 - 1 + exp(-p) would lose transmissions below 1e-7
            air = (1 - share.sum(1, dtype=torch.float64)).clamp(min=0)
            air = torch.where(air < 1e-6, 0.0, air).to(part)
            nothing = [part.new_zeros((1, part.shape[2], u))] * len(volumes)
            unattenuated = transmit(nothing, chunk)
            part = torch.stack([torch.tensordot(share.to(p), p, dims=1) for p in part])
            part = part + air[:, None, None] * unattenuated
        out.append(part)
    return torch.cat(out, 2) if len(out) > 1 else out[0]


def _paths(volumes: Sequence[Volume], views: Views, stretch: np.ndarray | None, backend: str) -> list[Tensor]:
    """Line integrals (v, angle, u) of each volume."""
    grids = {volume.geometry for volume in volumes}
    projectors = {vg: Projector(vg, views, backend) for vg in grids}
    paths = [projectors[volume.geometry](volume.data) for volume in volumes]
    if stretch is None:
        return paths
    factor = _lengthening(views, stretch)
    return [path * factor.to(path) for path in paths]


def _lengthening(views: Views, stretch: np.ndarray) -> Tensor:
    """Factor (v or 1, angle, u or 1) by which path lengths grow when z is stretched."""
    if views.cone:
        v, u = (torch.arange(n, dtype=torch.float64) - (n - 1) / 2 for n in views.det_shape)
        middle, det_v, det_u = (
            torch.from_numpy(a) for a in (views.det_pos - views.source, views.det_v, views.det_u)
        )
        ray = (
            middle[None, :, None]
            + v[:, None, None, None] * det_v[None, :, None]
            + u[None, None, :, None] * det_u[None, :, None]
        )
    else:
        ray = torch.from_numpy(views.source)[None, :, None]
    along, across = ray[..., 0].square(), ray[..., 1:].square().sum(-1)
    s = torch.from_numpy(stretch)[None, :, None]
    return torch.sqrt((along * s**2 + across) / (along + across))


def _rows_lie_in_slices(views: Views) -> bool:
    """Whether the rays of each detector row stay at one height, equal in all views, to 1e-9 of a row."""
    if views.cone:
        return False
    row = float(np.abs(views.det_v[:, 0]).max())
    still = [
        views.source[:, :1] * row,  # a direction
        views.det_v[:, 1:],
        views.det_u[:, :1],
        np.ptp(views.det_pos[:, 0]),
        np.ptp(views.det_v[:, 0]),
    ]
    return all(bool(np.abs(part).max() <= 1e-9 * row) for part in still)


def _row_per_slice(views: Views, vg: VolumeGeometry, n: int) -> Views:
    """Views with a detector row at the height of each slice and n times as many columns."""
    det_pos, det_v = views.det_pos.copy(), np.zeros_like(views.det_v)
    det_pos[:, 0], det_v[:, 0] = vg.pos[0], vg.voxel_size[0]
    return Views(False, views.source, det_pos, det_v, views.det_u / n, (vg.shape[0], views.det_shape[1] * n))


def _share_of_slices(views: Views, vg: VolumeGeometry) -> Tensor:
    """Matrix (v, z): share of each detector row's height that each slice covers."""
    num_v, height = views.det_shape[0], float(views.det_v[0, 0])
    rows = views.det_pos[0, 0] + (np.arange(num_v) - (num_v - 1) / 2) * height
    slices = vg.pos[0] + (np.arange(vg.shape[0]) - (vg.shape[0] - 1) / 2) * vg.voxel_size[0]
    reach, half = abs(height) / 2, vg.voxel_size[0] / 2
    upper = np.minimum(rows[:, None] + reach, slices[None] + half)
    lower = np.maximum(rows[:, None] - reach, slices[None] - half)
    return torch.from_numpy(np.clip(upper - lower, 0, None) / abs(height))
