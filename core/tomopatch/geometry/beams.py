"""Scan geometries: positions of source and detector in each view.

The patient lies still and the gantry turns about the z axis. At angle 0 the source is at -y, the detector at
+y, detector columns run along +x and detector rows along +z; a positive angle turns +x towards +y.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from tomopatch.geometry.views import (
    FARTHEST,
    Views,
    check_det_shape,
    fitted_shape,
    frame,
    is_pair,
    view_index,
)
from tomopatch.volume import VolumeGeometry, finite, grid_of

Angles = tuple[float, ...]

MAX_VIEWS = 1_000_000


@dataclass(frozen=True)
class ParallelBeam:
    """Parallel rays.

    Parameters
    ----------
    angles : tuple of float
        View angles [rad].
    det_shape : (v, u)
        Detector rows and columns.
    pixel_size : (v, u)
        Edge lengths of a detector pixel [mm].
    det_offset : (v, u)
        Shift of the detector's centre [mm].
    tilt : float
        Laminographic tilt [rad]: the beam leaves the plane of rotation by this angle.
    """

    angles: Angles
    det_shape: tuple[int, int]
    pixel_size: tuple[float, float]
    det_offset: tuple[float, float] = (0.0, 0.0)
    tilt: float = 0.0

    def __post_init__(self) -> None:
        _freeze(self)

    @classmethod
    def circular(
        cls,
        vg: VolumeGeometry,
        *,
        num_views: int,
        angle_range: float = math.pi,
        start: float = 0.0,
        pixel_size: tuple[float, float] | None = None,
        det_shape: tuple[int, int] | None = None,
        det_offset: tuple[float, float] = (0.0, 0.0),
        tilt: float = 0.0,
    ) -> ParallelBeam:
        """Evenly spaced views over `angle_range` [rad]; the detector fits the volume unless given."""
        vg = grid_of(vg)
        _check_tilt(tilt)
        pixel_size = pixel_size if pixel_size is not None else (vg.voxel_size[0], min(vg.voxel_size[1:]))
        height = vg.size[0] * math.cos(tilt) + 2 * vg.radius * abs(math.sin(tilt))
        slices = None if tilt else (vg.shape[0], vg.voxel_size[0])
        if det_shape is None:
            det_shape = fitted_shape((height, 2 * vg.radius), pixel_size, det_offset, slices)
        return cls(even_angles(num_views, angle_range, start), det_shape, pixel_size, det_offset, tilt)

    @classmethod
    def limited(
        cls,
        vg: VolumeGeometry,
        *,
        num_views: int,
        angle_range: float,
        start: float | None = None,
        **detector: Any,
    ) -> ParallelBeam:
        """Views over a limited angle: `angle_range` < pi [rad], centred on `start` + half the range."""
        if not 0 < angle_range < math.pi:
            raise ValueError(
                f"a limited parallel scan spans less than pi rad, got {angle_range:.4g}; use circular."
            )
        start = -angle_range / 2 if start is None else start
        return cls.circular(vg, num_views=num_views, angle_range=angle_range, start=start, **detector)

    @property
    def num_views(self) -> int:
        return len(self.angles)

    def subset(self, angle_index: Sequence[int] | slice) -> ParallelBeam:
        """Only these views, in this order."""
        return replace(self, angles=tuple(np.asarray(self.angles)[view_index(angle_index, self.num_views)]))

    def bin(self, factor: int) -> ParallelBeam:
        """The geometry with detector pixels binned `factor` x `factor`; same extent if the counts divide."""
        return _bin(self, factor)

    def views(self) -> Views:
        """The geometry as one row of vectors per view."""
        ray, up, across = frame(self.angles, self.tilt)
        v, u = self.pixel_size
        centre = self.det_offset[0] * up + self.det_offset[1] * across
        return Views(False, ray, centre, v * up, u * across, self.det_shape)


@dataclass(frozen=True)
class ConeBeam:
    """A point source and a flat panel. One detector row makes it a fan beam.

    Parameters
    ----------
    angles, det_shape, pixel_size, det_offset, tilt
        As in `ParallelBeam`.
    src_orig_dist, src_det_dist : float
        Distance from the source to the rotation axis and to the detector [mm].
    pitch : float
        Helical shift along z per full turn [mm]; the middle of the angle range lies at z = 0.
    """

    angles: Angles
    det_shape: tuple[int, int]
    pixel_size: tuple[float, float]
    src_orig_dist: float
    src_det_dist: float
    det_offset: tuple[float, float] = (0.0, 0.0)
    tilt: float = 0.0
    pitch: float = 0.0

    def __post_init__(self) -> None:
        _freeze(self)
        _check_distances(self.src_orig_dist, self.src_det_dist, self.pitch)

    @classmethod
    def circular(
        cls,
        vg: VolumeGeometry,
        *,
        num_views: int,
        src_orig_dist: float = 800.0,
        src_det_dist: float = 1200.0,
        angle_range: float = 2 * math.pi,
        start: float = 0.0,
        pixel_size: tuple[float, float] | None = None,
        det_shape: tuple[int, int] | None = None,
        det_offset: tuple[float, float] = (0.0, 0.0),
        tilt: float = 0.0,
        pitch: float = 0.0,
    ) -> ConeBeam:
        """Evenly spaced views over `angle_range` [rad]; the detector fits the volume unless given."""
        vg = grid_of(vg)
        _check_tilt(tilt)
        _check_distances(src_orig_dist, src_det_dist, pitch)
        if src_orig_dist <= vg.radius:
            raise ValueError(
                f"the source orbits inside the volume: src_orig_dist is {src_orig_dist:.4g} mm but the volume"
                f" reaches {vg.radius:.4g} mm from the axis; move the source away or crop the volume."
            )
        scale = src_det_dist / src_orig_dist
        pixel_size = (
            pixel_size
            if pixel_size is not None
            else (vg.voxel_size[0] * scale, min(vg.voxel_size[1:]) * scale)
        )
        near = src_det_dist / (src_orig_dist - vg.radius)  # magnification where the volume is nearest
        width = 2 * vg.radius * src_det_dist / math.sqrt(src_orig_dist**2 - vg.radius**2)
        height = (vg.size[0] if pitch == 0 else abs(pitch)) * near
        height += 2 * vg.radius * abs(math.sin(tilt)) * near
        slices = None if tilt or pitch else (vg.shape[0], vg.voxel_size[0] * scale)
        if det_shape is None:
            det_shape = fitted_shape((height, width), pixel_size, det_offset, slices)
        angles = even_angles(num_views, angle_range, start)
        return cls(angles, det_shape, pixel_size, src_orig_dist, src_det_dist, det_offset, tilt, pitch)

    @classmethod
    def limited(
        cls,
        vg: VolumeGeometry,
        *,
        num_views: int,
        angle_range: float,
        start: float | None = None,
        **scanner: Any,
    ) -> ConeBeam:
        """Views over a limited angle: `angle_range` < 2 pi [rad]."""
        if not 0 < angle_range < 2 * math.pi:
            raise ValueError(
                f"a limited cone scan spans less than 2 pi rad, got {angle_range:.4g}; use circular."
            )
        start = -angle_range / 2 if start is None else start
        return cls.circular(vg, num_views=num_views, angle_range=angle_range, start=start, **scanner)

    @classmethod
    def helical(cls, vg: VolumeGeometry, *, views_per_turn: int, pitch: float, **scanner: Any) -> ConeBeam:
        """A helix over the whole volume, with an additional half turn at each end."""
        vg = grid_of(vg)
        if not pitch > 0:
            raise ValueError(f"a helical scan needs a pitch above 0 mm per turn, got {pitch}; use circular.")
        turns = turns_to_cover(vg.size[0], pitch)
        num_views = math.ceil(turns * views_per_turn)
        angle_range = 2 * math.pi * num_views / views_per_turn
        return cls.circular(vg, num_views=num_views, angle_range=angle_range, pitch=pitch, **scanner)

    @property
    def num_views(self) -> int:
        return len(self.angles)

    @property
    def fan_angle(self) -> float:
        """Full opening angle [rad] of the fan that the detector sees."""
        half, offset = self.det_shape[1] * self.pixel_size[1] / 2, self.det_offset[1]
        return math.atan((half + offset) / self.src_det_dist) + math.atan((half - offset) / self.src_det_dist)

    def subset(self, angle_index: Sequence[int] | slice) -> ConeBeam | Views:
        """Only these views, in this order; a helix becomes `Views`, since each view keeps its height."""
        if self.pitch:
            return self.views().subset(angle_index)
        return replace(self, angles=tuple(np.asarray(self.angles)[view_index(angle_index, self.num_views)]))

    def bin(self, factor: int) -> ConeBeam:
        """The geometry with detector pixels binned `factor` x `factor`; same extent if the counts divide."""
        return _bin(self, factor)

    def views(self) -> Views:
        """The geometry as one row of vectors per view."""
        ray, up, across = frame(self.angles, self.tilt)
        v, u = self.pixel_size
        angles = np.asarray(self.angles)
        middle = (angles.min() + angles.max()) / 2
        travel = np.zeros((len(angles), 3))
        travel[:, 0] = self.pitch * (angles - middle) / (2 * math.pi)
        source = -self.src_orig_dist * ray + travel
        centre = source + self.src_det_dist * ray + self.det_offset[0] * up + self.det_offset[1] * across
        return Views(True, source, centre, v * up, u * across, self.det_shape)


Geometry = ParallelBeam | ConeBeam | Views


def turns_to_cover(height: float, pitch: float) -> float:
    """Turns of a helix over a height [mm] from end to end, plus half a turn at each end."""
    return height / abs(pitch) + 1


def even_angles(num_views: int, angle_range: float, start: float = 0.0) -> Angles:
    """`num_views` angles [rad] from `start`, evenly spaced over `angle_range`; its end is excluded."""
    if not finite(num_views) or int(num_views) != num_views or not 1 <= num_views <= MAX_VIEWS:
        raise ValueError(
            f"num_views must be a whole number from 1 to {MAX_VIEWS}, got {str(num_views)[:40]}."
        )
    if not (finite(angle_range) and angle_range > 0):
        raise ValueError(f"angle_range must be above 0 rad, got {angle_range}.")
    if not finite(start):
        raise ValueError(f"start must be a finite angle in rad, got {start}.")
    return tuple(start + angle_range * i / num_views for i in range(int(num_views)))


# ---- checks ----------------------------------------------------------------------------


def _freeze(pg: ParallelBeam | ConeBeam) -> None:
    """Check the fields that both beams share and store them as tuples of floats (hashable, JSON-ready)."""
    try:
        angles = tuple(float(a) for a in pg.angles)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"angles must be one or more numbers in rad, in a row, got {type(pg.angles).__name__}."
        ) from None
    if not angles or not all(math.isfinite(a) for a in angles):
        raise ValueError(f"angles must be one or more finite numbers in rad, got {len(angles)} of them.")
    if not is_pair(pg.pixel_size) or not all(p > 0 for p in pg.pixel_size):
        raise ValueError(f"pixel_size must be two lengths (v, u) in mm above 0, got {pg.pixel_size}.")
    if not is_pair(pg.det_offset):
        raise ValueError(f"det_offset must be two lengths (v, u) in mm, got {pg.det_offset}.")
    _check_tilt(pg.tilt)
    check_det_shape(pg.det_shape)
    object.__setattr__(pg, "angles", angles)
    object.__setattr__(pg, "det_shape", tuple(int(n) for n in pg.det_shape))
    object.__setattr__(pg, "pixel_size", tuple(float(p) for p in pg.pixel_size))
    object.__setattr__(pg, "det_offset", tuple(float(o) for o in pg.det_offset))


def _check_tilt(tilt: float) -> None:
    if not (finite(tilt) and abs(tilt) < math.pi / 2):
        raise ValueError(f"tilt must lie between -pi/2 and pi/2 rad, got {tilt}.")


def _check_distances(src_orig_dist: float, src_det_dist: float, pitch: float) -> None:
    if not (finite(src_orig_dist) and finite(src_det_dist) and 0 < src_orig_dist <= src_det_dist <= FARTHEST):
        raise ValueError(
            "the source must be nearer to the axis than to the detector (0 < src_orig_dist <= src_det_dist"
            f" <= {FARTHEST:g}), got {src_orig_dist:.4g} and {src_det_dist:.4g} mm."
        )
    if not (finite(pitch) and abs(pitch) <= FARTHEST):
        raise ValueError(f"pitch must be a length per turn in mm, got {pitch}.")


Beam = TypeVar("Beam", ParallelBeam, ConeBeam)


def _bin(pg: Beam, factor: int) -> Beam:
    if int(factor) != factor or factor < 1:
        raise ValueError(f"binning factor must be a whole number of at least 1, got {factor}.")
    v, u = (max(1, n // factor) for n in pg.det_shape)
    return replace(pg, det_shape=(v, u), pixel_size=(pg.pixel_size[0] * factor, pg.pixel_size[1] * factor))
