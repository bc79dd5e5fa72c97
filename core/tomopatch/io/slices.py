"""Positions of CT slices: patient directions, order, gaps. Independent of the file format.

Patient coordinates are DICOM's LPS [mm]: x to the patient's left, y to the back, z to the head.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tomopatch.notes import note

MAX_VOXELS = 1024**3 // 2
"""Upper limit on voxels, checked before anything is decoded (2 GiB as float32)."""
BYTES_PER_VOXEL = 12
"""Peak memory of a reader: two arrays of float32, masks, and the numbers of the file."""
OBLIQUE_WARN, OBLIQUE_LIMIT = 2.0, 20.0
"""[degrees] Rotation of a grid against the patient's axes that gives a warning, and that is refused."""
SHEAR_LIMIT = 0.5
"""[degrees] Largest deviation of a grid's axes from right angles; a tilted gantry deviates more."""
EVEN, MISSING = 0.01, 1.55
"""Slices are evenly spaced if their gaps agree within the share EVEN. A gap more than MISSING times as wide
as its neighbours is a hole. MISSING is not 1.5, because some scans have slices 2 and 3 mm apart.
"""
DENSE = 1.35
"""Ratio of widest to narrowest gap above which slices are interpolated to the narrow gap, not the mean."""
SAME, ALIKE, SIDEWAYS = 0.02, 2e-3, 0.75
"""SAME: slices nearer than this share of the usual distance are at the same place. ALIKE: pixel spacings
that differ by less than this share are equal. SIDEWAYS: slices may be shifted sideways by this share of a
pixel.
"""
VOXEL_MM = (1e-6, 1e4)
"""The voxel sizes [mm] that a file may have: from a nanometre to ten metres."""
AIR_HU, PADDING_HU = -1000.0, -1024.0


class Slice(NamedTuple):
    """Position of one image; `name` is its file, for messages."""

    name: str
    shape: tuple[int, int]
    position: np.ndarray  # of the first pixel, LPS (x, y, z) [mm]
    directions: np.ndarray  # of growing column and row index: two unit vectors in one array (6,)
    spacing: np.ndarray  # (rows, columns) [mm]


class Stack(NamedTuple):
    """Slices sorted along their normal: `order` sorts them, `heights` [mm] are their sorted positions.

    `wanted` are the evenly spaced heights to interpolate to; None if the slices are evenly spaced. `lies` is
    the orientation of the indices (slice, row, column) of the result in the patient.
    """

    order: np.ndarray
    heights: np.ndarray
    wanted: np.ndarray | None
    lies: Orientation


def arrange(slices: Sequence[Slice], what: str) -> Stack:
    """Check that slices in any order form one stack, and sort them; `what` names the series in messages."""
    first = slices[0]
    for s in slices:
        for label, got, expected, rtol, atol in (
            ("size", s.shape, first.shape, 0, 0),
            ("pixel spacing", s.spacing, first.spacing, ALIKE, 0),
            ("orientation", s.directions, first.directions, 0, 1e-3),
        ):
            if not np.allclose(got, expected, rtol=rtol, atol=atol):
                raise ValueError(
                    f"{what} mixes slices of different {label}: {s.name} has {_shown(got)}, "
                    f"{first.name} {_shown(expected)}; choose one of them."
                )
    if not (first.spacing > 0).all():
        raise ValueError(
            f"{first.name} has a pixel spacing of {_shown(first.spacing)} mm; expected two lengths above 0."
        )
    row, column = first.directions[:3], first.directions[3:]
    lengths = np.array([np.linalg.norm(row), np.linalg.norm(column)])
    if np.abs(lengths - 1).max() > 0.01:
        raise ValueError(
            f"{first.name} has directions of lengths {lengths.round(3).tolist()}; expected 1 and 1."
        )
    row, column = row / lengths[0], column / lengths[1]
    positions = np.array([s.position for s in slices])
    names = [s.name for s in slices]
    order, heights = _sorted(positions, np.cross(row, column), names, what, float(first.spacing.min()))
    gaps = np.diff(heights)
    wanted = None if np.abs(gaps / gaps.mean() - 1).max() <= EVEN else even_heights(heights)
    step = (positions[order[-1]] - positions[order[0]]) / (len(heights if wanted is None else wanted) - 1)
    lies = orientation(np.stack([step, column * first.spacing[0], row * first.spacing[1]], axis=1), what)
    return Stack(order, heights, wanted, lies)


def _shown(numbers: Sequence[float] | np.ndarray) -> str:
    return f"[{', '.join(f'{float(n):.4g}' for n in numbers)}]"


def _sorted(
    positions: np.ndarray, normal: np.ndarray, names: Sequence[str], what: str, pixel: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the order along the normal and the sorted heights [mm]; refuse holes and duplicates."""
    if len(positions) < 2:
        raise ValueError(f"{what} has a single slice ({names[0]}); expected at least 2 to make a volume.")
    heights = positions @ normal
    order = np.argsort(heights, kind="stable")
    heights, sorted_positions = heights[order], positions[order]
    gaps = np.diff(heights)
    apart = gaps[gaps > 1e-6 * gaps.max()]
    usual = float(np.sort(apart)[(len(apart) - 1) // 2]) if len(apart) else 0.0
    for k in np.flatnonzero(gaps <= SAME * usual):
        raise ValueError(
            f"{what} has two slices at the same place: {names[order[k]]} and {names[order[k + 1]]}; "
            "remove one of them; files whose headers do not tell them apart cannot be split."
        )
    for j, around in _holes(gaps):
        raise ValueError(
            f"{what} has a hole of {gaps[j]:.4g} mm between {names[order[j]]} and {names[order[j + 1]]} where"
            f" slices are {around:.4g} mm apart; about {max(1, round(gaps[j] / around) - 1)} missing, add"
            " them."
        )
    step = (sorted_positions[-1] - sorted_positions[0]) / (len(order) - 1)
    along = sorted_positions[0] + np.outer((heights - heights[0]) / (step @ normal), step)
    shift = np.linalg.norm(sorted_positions - along, axis=1)
    if shift.max() > SIDEWAYS * pixel:
        worst = names[order[int(shift.argmax())]]
        raise ValueError(
            f"{what} has a slice that is shifted sideways: {worst} by {shift.max():.3g} mm; expected slices "
            "that lie behind one another; it mixes several acquisitions or fields of view."
        )
    return order, heights


def _holes(gaps: np.ndarray) -> list[tuple[int, float]]:
    """Gaps far wider than their neighbours, and the distance [mm] around them.

    Several wide gaps in a row are another slice spacing, as in a head CT that is coarser at the top.
    """
    found = []
    for k, gap in enumerate(gaps.tolist()):
        around = [float(gaps[i]) for i in (k - 1, k + 1) if 0 <= i < len(gaps)]
        if around and gap > MISSING * max(around):
            found.append((k, max(around)))
    return found


def spacings(heights: np.ndarray) -> str:
    """Distances of slices at rising `heights` [mm], for a note: "3 and 6 mm apart", "2.1 to 2.9 mm apart"."""
    gaps = np.sort(np.diff(heights))
    steps = np.flatnonzero(np.diff(gaps) > EVEN * gaps[:-1])
    if len(steps) == 1:  # two spacings
        return f"{np.median(gaps[: steps[0] + 1]):.4g} and {np.median(gaps[steps[0] + 1 :]):.4g} mm apart"
    return f"{gaps[0]:.4g} to {gaps[-1]:.4g} mm apart"


def even_heights(heights: np.ndarray) -> np.ndarray:
    """Evenly spaced heights [mm] over the same span.

    Their number stays the same. If the spacings differ widely (DENSE), the dense spacing is used.
    """
    gaps = np.diff(heights)
    span, count = heights[-1] - heights[0], len(heights)
    if gaps.max() > DENSE * gaps.min():
        dense = np.median(gaps[gaps < DENSE * gaps.min()])
        count = max(count, math.ceil(float(span / dense) - 0.01) + 1)
    return np.linspace(heights[0], heights[-1], count)


def evenly(array: np.ndarray, heights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Slices (n, ...) at rising `heights`, interpolated linearly to the heights `wanted` [mm]."""
    lower = np.clip(np.searchsorted(heights, wanted, side="right") - 1, 0, len(heights) - 2)
    share = (wanted - heights[lower]) / (heights[lower + 1] - heights[lower])
    out = np.empty((len(wanted), *array.shape[1:]), array.dtype)
    for k, (i, t) in enumerate(zip(lower, share, strict=True)):
        out[k] = (1 - t) * array[i] + t * array[i + 1]
    return out


def check_voxels(shape: Sequence[int], what: str, most: int | None = None) -> None:
    """Refuse a declared (z, y, x) that is empty or larger than `most` (None: MAX_VOXELS); `what` names it."""
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"{what} declares the shape {shape}; expected three counts of at least 1.")
    count = int(np.prod([int(n) for n in shape], dtype=object))
    most = MAX_VOXELS if most is None else min(most, MAX_VOXELS)
    if count > most:
        raise ValueError(
            f"{what} declares {' x '.join(map(str, shape))} voxels = {_millions(count)}, more than "
            f"the {_millions(most)} that are read; crop or downsample it first."
        )


def _millions(count: int) -> str:
    count = min(count, 10**18)  # a header may declare more than a float holds
    return f"{count / 1e6:,.0f} million" if count >= 10e6 else f"{count / 1e6:.2g} million"


def voxels_within(memory_mb: float) -> int:
    """The largest `max_voxels` with which a reader needs at most this much memory [MiB]."""
    return int(min(memory_mb * 2**20 / BYTES_PER_VOXEL, MAX_VOXELS))


class Orientation(NamedTuple):
    """Permutation (`order`), then flips, that bring an array to indices (z, y, x) in LPS directions."""

    order: tuple[int, int, int]
    flips: tuple[slice, slice, slice]
    voxel_size: tuple[float, float, float]

    def apply(self, array: np.ndarray) -> np.ndarray:
        """A view (z, y, x) whose indices grow towards head, back and left."""
        return array.transpose(self.order)[self.flips]


def orientation(axes: np.ndarray, what: str) -> Orientation:
    """Return the orientation of a grid in the patient. A slightly turned grid is not resampled.

    Parameters
    ----------
    axes : (3, 3)
        Column k is the LPS vector (x, y, z) [mm] of one step along array axis k.
    what : str
        Names the file or series in messages.
    """
    steps = np.linalg.norm(axes, axis=0)
    if not np.isfinite(axes).all() or (steps <= 0).any():
        raise ValueError(
            f"{what} has voxel steps {steps.round(4).tolist()} mm; expected three lengths above 0."
        )
    units = axes / steps
    for i, j in itertools.combinations(range(3), 2):
        shear = np.degrees(np.arcsin(min(1.0, abs(float(units[:, i] @ units[:, j])))))
        if shear > SHEAR_LIMIT:
            raise ValueError(
                f"{what} has axes that miss the right angle by {shear:.1f} degrees (a tilted gantry or "
                f"a shear); expected at most {SHEAR_LIMIT}; resample it to a rectangular grid first."
            )
    along = np.abs(units).argmax(axis=0).tolist()  # patient axis that each array axis runs along
    turn = np.degrees(np.arccos(np.abs(units).max(axis=0).clip(max=1.0))).max()
    if sorted(along) != [0, 1, 2] or turn > OBLIQUE_LIMIT:
        raise ValueError(
            f"{what} is turned by {turn:.1f} degrees against the patient's axes; expected at most "
            f"{OBLIQUE_LIMIT:.0f}; resample it to axial slices first."
        )
    if turn > OBLIQUE_WARN:
        note(f"{what} is turned by {turn:.1f} degrees; its own grid is kept.", stacklevel=4)
    if not all(VOXEL_MM[0] <= step <= VOXEL_MM[1] for step in steps):
        raise ValueError(
            f"{what} has voxels of {' x '.join(f'{step:.3g}' for step in steps)} mm; expected sizes from "
            f"{VOXEL_MM[0]:g} to {VOXEL_MM[1]:g} mm; correct the header."
        )
    z, y, x = (along.index(patient) for patient in (2, 1, 0))
    down, front, right = (slice(None, None, -1 if units[along[a], a] < 0 else 1) for a in (z, y, x))
    size_z, size_y, size_x = (_rounded(float(steps[a])) for a in (z, y, x))
    return Orientation((z, y, x), (down, front, right), (size_z, size_y, size_x))


def _rounded(length: float) -> float:
    """Round to six decimals, or to six digits below 0.1 mm: a float32 header stores 0.7 as 0.69999999."""
    return round(length, max(6, 5 - math.floor(math.log10(length))))
