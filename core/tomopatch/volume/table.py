"""Removal of the patient table from a CT volume."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.ndimage import binary_fill_holes, distance_transform_edt, find_objects, label
from torch import Tensor

from tomopatch.volume.checks import Shape
from tomopatch.volume.resampling import area_average
from tomopatch.volume.volume import Volume, mu_from_hu

BODY_HU, TABLE_HU = -500.0, -800.0
"""[HU] The body is denser than the first value. The thin shell of a table may reach the second one only."""
ACROSS = 128
"""Voxels across a slice of the grid on which the table is sought; finer volumes are averaged."""
THIN = 5.0
"""[mm] Radius of the opening: a table's shell is thinner than twice this, an adult's wrist is thicker."""
THIN_SHARE = 0.02
"""Upper limit of the radius as a share of the body's size, so that a child's chest wall stays."""
LEAST = 0.01
"""Smallest volume of a part relative to the body. A nose or an ear is smaller, a table is larger."""
LEAST_SHELL, SPAN = 0.001, 0.5
"""Smallest volume of a thin shell relative to the body, and its smallest share of the slices."""
RAIL = 0.03
"""Largest volume of a table's rail relative to the body. A forearm is larger."""
FILLED = 0.2
"""Least share of a voxel of the search that a shell fills."""


def without_table(volume: Volume) -> Volume:
    """The volume with air in place of the patient table, on the same grid; unchanged without a table.

    The body is the largest connected part after an opening. Parts to its left and right, such as arms, stay.
    A table is a part above or below the body along y, larger than LEAST. So is a thin shell that rises along
    the sides of the body, and a rail along the table. Parts that touch the body, and a soft mattress, can
    remain.
    """
    vg = volume.geometry
    edge = max(vg.size[1:]) / ACROSS
    shape = tuple(min(n, math.ceil(s / edge)) for n, s in zip(vg.shape, vg.size, strict=True))
    body_mu, table_mu = mu_from_hu(torch.tensor([BODY_HU, TABLE_HU])).tolist()
    grid = (shape[0], shape[1], shape[2])
    coarse = area_average(volume.data, grid)
    shells = area_average((volume.data > table_mu).float(), grid) > FILLED  # the mean hides thin ones
    dense, faint = coarse > body_mu, coarse > table_mu
    masks = dense.cpu().numpy(), faint.cpu().numpy(), shells.cpu().numpy()
    table = _table(*masks, tuple(s / n for s, n in zip(vg.size, shape, strict=True)))
    if not table.any():
        return volume
    data = volume.data.clone()
    data[_on_grid(table, vg.shape).to(data.device)] = 0.0
    return Volume(data, vg, volume.name)


def _table(dense: np.ndarray, faint: np.ndarray, shells: np.ndarray, edges: tuple[float, ...]) -> np.ndarray:
    """Return the voxels of the table and its surroundings, bool (z, y, x).

    dense, faint, shells : bool (z, y, x)
        Voxels whose mean is above BODY_HU or TABLE_HU; voxels that hold a shell above TABLE_HU.
    edges : of a voxel [mm]
    """
    area = _filled(dense).sum((1, 2)).max() * edges[1] * edges[2]
    radius = min(THIN, THIN_SHARE * math.sqrt(area))
    thick = _opened(dense, radius, edges)
    parts, count = label(thick)
    if not count:
        return np.zeros_like(dense)
    sizes = np.bincount(parts.ravel())[1:]
    body = parts == 1 + int(sizes.argmax())
    table = _beyond(thick & ~body, body, LEAST)
    # small thick parts may belong to a thin shell
    large = np.append(False, sizes >= LEAST_SHELL * body.sum())[parts]
    kept = large & ~_beyond(thick & ~body, body, 0.0)
    reach = radius + max(edges[1:])
    near = distance_transform_edt(~kept, edges) <= reach
    table |= _beyond(faint & ~near & ~table, body, LEAST)
    rails = _rails(kept & ~body, table, RAIL * body.sum(), reach, edges)
    if rails.any():
        table |= rails
        near = distance_transform_edt(~(kept & ~rails), edges) <= reach
    faint = faint | shells
    table |= _outside(faint & ~table, near, body.sum())
    if not table.any():
        return table
    whole = _filled(faint) & ~_filled(faint & ~table)  # with the foam within its shell
    around = distance_transform_edt(~whole, edges) <= 2 * max(edges[1:])  # with its blurred edge
    return around & ~near


def _beyond(mask: np.ndarray, body: np.ndarray, least: float) -> np.ndarray:
    """Return the connected parts of a mask whose centre lies beyond the body along y.

    least : float
        Their smallest volume relative to the body.
    """
    rows = np.flatnonzero(body.any((0, 2)))
    parts, count = label(mask, np.ones((3, 3, 3)))  # a thin shell is connected across corners
    found = np.zeros_like(mask)
    for k, box in zip(range(1, count + 1), find_objects(parts), strict=True):
        part = parts[box] == k
        centre = box[1].start + float(np.nonzero(part)[1].mean())
        if part.sum() >= least * body.sum() and not rows[0] <= centre <= rows[-1]:
            found[box] |= part
    return found


def _rails(
    mask: np.ndarray, table: np.ndarray, most: float, reach: float, edges: tuple[float, ...]
) -> np.ndarray:
    """Return the connected parts of a mask that run along the table, such as the rails at its corners.

    They extend over most slices and touch the table. A forearm on the table is larger, a hand is shorter.

    most : their largest number of voxels
    reach : distance from the mask within which the table is not marked [mm]
    """
    found = np.zeros_like(mask)
    if not table.any():
        return found
    beside = distance_transform_edt(~table, edges) <= reach + max(edges[1:])
    parts, count = label(mask)
    for k, box in zip(range(1, count + 1), find_objects(parts), strict=True):
        part = parts[box] == k
        if len(part) >= SPAN * len(mask) and part.sum() <= most and beside[box][part].any():
            found[box] |= part
    return found


def _outside(mask: np.ndarray, near: np.ndarray, size: int) -> np.ndarray:
    """Return the connected parts of a mask away from the body that mostly have no body above, or none below.

    A curved shell rises along the sides of the body, so that its centre can be level with it. Vessels of the
    lung are enclosed by the body, and its thin walls enclose it.

    near : bool (z, y, x)
        The body with its surroundings.
    size : number of voxels of the body
    """
    body, whole = _closed(near), _closed(mask | near)
    above, below = (np.logical_or.accumulate(body[:, ::step], axis=1)[:, ::step] for step in (1, -1))
    thin = mask & ~near
    free = thin & ~(above & below)
    parts, count = label(thin, np.ones((3, 3, 3)))
    found = np.zeros_like(mask)
    for k, box in zip(range(1, count + 1), find_objects(parts), strict=True):
        part = parts[box] == k
        volume = part.sum()
        if volume < LEAST_SHELL * size or len(part) < SPAN * len(mask) or 2 * free[box][part].sum() < volume:
            continue
        slices = whole[box[0]]
        enclosed = _filled(slices).sum() - _filled(slices & (parts[box[0]] != k)).sum() - volume
        if enclosed <= volume:
            found[box] |= part
    return found


def _closed(body: np.ndarray) -> np.ndarray:
    """Return the mask with its ends in the outermost rows and columns of each slice joined: it may be cut."""
    closed = body.copy()
    for face in (closed[:, 0], closed[:, -1], closed[:, :, 0], closed[:, :, -1]):
        before, after = (np.logical_or.accumulate(face[:, ::step], axis=1)[:, ::step] for step in (1, -1))
        face |= before & after
    return closed


def _opened(mask: np.ndarray, radius: float, edges: tuple[float, ...]) -> np.ndarray:
    """Return the opening of a mask by a ball [mm]; the mask continues beyond the grid."""
    if mask.all():
        return mask
    core = distance_transform_edt(mask, edges) > radius
    return np.asarray(distance_transform_edt(~core, edges) <= radius) if core.any() else core


def _filled(mask: np.ndarray) -> np.ndarray:
    """Return the mask with the holes of each slice filled: lungs, or the foam within the shell of a table."""
    return np.stack([binary_fill_holes(plane) for plane in mask])


def _on_grid(mask: np.ndarray, shape: Shape) -> Tensor:
    """Return the mask on a finer grid, each voxel as the coarse one around its centre."""
    index = [
        ((np.arange(n) + 0.5) * coarse / n).astype(int) for n, coarse in zip(shape, mask.shape, strict=True)
    ]
    return torch.from_numpy(mask[np.ix_(*index)])
