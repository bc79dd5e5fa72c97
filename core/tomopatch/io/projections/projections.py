"""Projections as they were measured, before any correction."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tomopatch.geometry.views import check_det_shape, is_pair, view_index
from tomopatch.notes import note
from tomopatch.volume import finite

QUANTITIES = {
    "counts": "detector counts; the line integral is -log((p - dark) / (flat - dark))",
    "transmission": "transmitted fraction; the line integral is -log(p / air)",
    "line_integrals": "line integrals, used as they are",
    "intensity": "an intensity proportional to the line integral above its background, as in HAADF-STEM",
}
"""The quantities that projections may hold, with their conversion to line integrals."""

BEAMS = ("parallel", "cone")


@dataclass(frozen=True, eq=False)
class Projections:
    """Measured projections with the metadata of their file. `None` means unknown.

    Attributes
    ----------
    data : float32 array (v, angle, u)
        Rows as in the file. May hold NaN or infinity at dead pixels.
    quantity : str
        A name in QUANTITIES.
    angles : float64 array (angle,) or None
        View angles [rad].
    dark, flat : float32 array (frame, v, u) or None
        Frames without beam, and frames without object.
    white : float or None
        Level without object, for files without flat frames: counts, or the transmission of air.
    background : float
        Level without beam, for files without dark frames; the background of an intensity.
    beam : "parallel", "cone" or None
        A fan beam is a cone beam with one row.
    pixel_size : (v, u) or None
        Edge lengths of a detector pixel [mm].
    src_orig_dist, src_det_dist : float or None
        Distance from the source to the rotation axis and to the detector [mm].
    axis : float or None
        Column onto which the rotation axis projects, counted from 0 at the centre of the first pixel.
    middle_row : float or None
        Row at the height of the source (cone beam); None = the middle of the detector.
    rows_down : bool
        Whether row 0 is at the top. The engine counts rows upwards.
    vectors : float64 array (angle, 12) or None
        Arbitrary geometry, one row per view: source (or ray direction), detector centre, step to the next
        column and to the next row, each as x, y, z [mm]. It replaces angles, distances and axis.
    name : str
        Name of the file, for messages.
    notes : tuple of str
        Assumptions and repairs that the reader made, without names of files.

    Raises
    ------
    ValueError
        If shapes do not fit each other, or a value is out of range.
    """

    data: np.ndarray
    quantity: str
    angles: np.ndarray | None = None
    dark: np.ndarray | None = None
    flat: np.ndarray | None = None
    white: float | None = None
    background: float = 0.0
    beam: str | None = None
    pixel_size: tuple[float, float] | None = None
    src_orig_dist: float | None = None
    src_det_dist: float | None = None
    axis: float | None = None
    middle_row: float | None = None
    rows_down: bool = True
    vectors: np.ndarray | None = None
    name: str = "projections"
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.data.ndim != 3 or 0 in self.data.shape:
            raise ValueError(
                f"{self.name} has projections of shape {self.data.shape}; expected (v, angle, u), each at"
                " least 1."
            )
        if self.quantity not in QUANTITIES:
            raise ValueError(
                f"{self.name} has the quantity {self.quantity!r}; expected one of {', '.join(QUANTITIES)}."
            )
        if self.beam is not None and self.beam not in BEAMS:
            raise ValueError(f"{self.name} has the beam {self.beam!r}; expected parallel, fan or cone.")
        v, n, u = self.data.shape
        check_det_shape((v, u))
        for label, array, shape in (("angles", self.angles, (n,)), ("vectors", self.vectors, (n, 12))):
            if array is None:
                continue
            if array.shape != shape:
                raise ValueError(
                    f"{self.name} has {n} views but {label} of shape {array.shape}; expected {shape}; check"
                    " the order of the axes."
                )
            if not np.isfinite(array).all():
                raise ValueError(
                    f"{self.name} has {label} that are NaN or infinite; expected finite numbers."
                )
        for label, frames in (("dark", self.dark), ("flat", self.flat)):
            if frames is not None and (frames.ndim != 3 or frames.shape[1:] != (v, u) or not len(frames)):
                raise ValueError(
                    f"{self.name} has {label} frames of shape {frames.shape}; expected (frame, {v}, {u}), as"
                    " the projections have."
                )
        self._check_numbers()

    def _check_numbers(self) -> None:
        if self.pixel_size is not None and not (
            is_pair(self.pixel_size) and all(p > 0 for p in self.pixel_size)
        ):
            raise ValueError(
                f"{self.name} has a pixel size of {self.pixel_size} mm; expected two lengths (v, u) above 0."
            )
        for label in ("white", "src_orig_dist", "src_det_dist"):
            value = getattr(self, label)
            if value is not None and not (finite(value) and value > 0):
                raise ValueError(f"{self.name} has {label} = {value}; expected a number above 0.")
        for label in ("axis", "middle_row", "background"):
            value = getattr(self, label)
            if value is not None and not finite(value):
                raise ValueError(f"{self.name} has {label} = {value}; expected a finite number.")

    @property
    def num_views(self) -> int:
        return int(self.data.shape[1])

    @property
    def det_shape(self) -> tuple[int, int]:
        """Detector rows and columns (v, u)."""
        return int(self.data.shape[0]), int(self.data.shape[2])

    def subset(self, angle_index: Sequence[int] | slice) -> Projections:
        """Projections of these views, in this order."""
        index = view_index(angle_index, self.num_views)
        angles, vectors = (None if a is None else a[index] for a in (self.angles, self.vectors))
        return replace(self, data=self.data[:, index], angles=angles, vectors=vectors)

    def bin(self, factor: int) -> Projections:
        """Projections with `factor` x `factor` pixels averaged; incomplete groups at the end are dropped.

        A direction with fewer pixels than `factor` is not binned. If the pixel size is unknown, 1 mm before
        binning is assumed, with a note.
        """
        if int(factor) != factor or factor < 1:
            raise ValueError(f"binning factor must be a whole number of at least 1, got {factor}.")
        by = tuple(int(factor) if n >= factor else 1 for n in self.det_shape)
        if self.pixel_size is None:
            note(f"{self.name} states no pixel size; pixels of 1 mm are assumed.")
        pixel = self.pixel_size or (1.0, 1.0)
        dark, flat = (None if a is None else _binned(a, by, (1, 2)) for a in (self.dark, self.flat))
        vectors = self.vectors
        if vectors is not None:
            vectors = vectors.copy()
            for first, n, factor in ((6, self.det_shape[1], by[1]), (9, self.det_shape[0], by[0])):
                step = vectors[:, first : first + 3]
                vectors[:, 3:6] -= n % factor / 2 * step
                step *= factor
        return replace(
            self,
            data=_binned(self.data, by, (0, 2)),
            dark=dark,
            flat=flat,
            vectors=vectors,
            pixel_size=(pixel[0] * by[0], pixel[1] * by[1]),
            axis=None if self.axis is None else (self.axis + 0.5) / by[1] - 0.5,
            middle_row=None if self.middle_row is None else (self.middle_row + 0.5) / by[0] - 0.5,
        )

    def repeated(self, num_views: int) -> Projections:
        """Repeat the single view of an axisymmetric object as `num_views` views over a full turn.

        Raises
        ------
        ValueError
            If there is more than one view.
        """
        if self.num_views != 1:
            raise ValueError(
                f"{self.name} has {self.num_views} views; expected the single view of an axisymmetric object."
            )
        if not 1 <= num_views <= 100_000:
            raise ValueError(f"an axisymmetric object takes 1 to 100000 views, got {num_views}.")
        return replace(
            self,
            data=np.repeat(self.data, num_views, axis=1),
            angles=np.arange(num_views) * (2 * math.pi / num_views),
        )

    def __repr__(self) -> str:
        v, n, u = self.data.shape
        return f"Projections({self.name!r}, {self.quantity}, {v} x {n} x {u} (v, angle, u), {self.beam} beam)"


def _binned(array: np.ndarray, by: tuple[int, ...], axes: tuple[int, int]) -> np.ndarray:
    for axis, factor in zip(axes, by, strict=True):
        count = array.shape[axis] // factor
        array = np.moveaxis(array, axis, -1)[..., : count * factor]
        array = np.moveaxis(array.reshape(*array.shape[:-1], count, factor).mean(-1), -1, axis)
    return np.ascontiguousarray(array, np.float32)
