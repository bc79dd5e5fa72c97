"""Orbits other than a circle or helix, and views from a table, as `Views`.

Laminography is a circular scan with a tilt: `ParallelBeam.circular(..., tilt=...)`, or `ConeBeam`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tomopatch.geometry.beams import ConeBeam, even_angles
from tomopatch.geometry.views import Views, frame
from tomopatch.volume import VolumeGeometry, finite, grid_of

MAX_ROWS = 100_000


def views_from_text(
    text: str, det_shape: tuple[int, int], *, cone: bool = True, axes: Literal["xyz", "zyx"] = "xyz"
) -> Views:
    """Return the views of a table with twelve numbers per line [mm], as in ASTRA's vector geometries.

    The numbers are the source (or ray direction), the detector centre, the step to the next column (u) and
    the step to the next row (v). Commas, semicolons or white space separate them. Lines that begin with # are
    ignored.

    Parameters
    ----------
    text : str
    det_shape : (v, u)
    cone : bool
        False = parallel beam; the first vector is then the ray direction.
    axes : "xyz" or "zyx"
        Order of the coordinates of each vector: "xyz" as in ASTRA, "zyx" as in this package.

    Raises
    ------
    ValueError
        If a line does not hold twelve finite numbers, or a vector has no length.
    """
    return views_from_rows(_numbers(text, 12), det_shape, cone=cone, axes=axes)


def views_from_rows(
    rows: np.ndarray, det_shape: tuple[int, int], *, cone: bool = True, axes: Literal["xyz", "zyx"] = "xyz"
) -> Views:
    """Return the views of an array (views, 12); see `views_from_text`."""
    source, det_pos, det_u, det_v = (rows[:, i : i + 3] for i in (0, 3, 6, 9))
    if axes == "xyz":
        source, det_pos, det_u, det_v = (a[:, ::-1].copy() for a in (source, det_pos, det_u, det_v))
    flat = np.linalg.norm(np.cross(det_u, det_v), axis=1)
    steps = np.linalg.norm(det_u, axis=1) * np.linalg.norm(det_v, axis=1)
    wrong = np.flatnonzero((flat <= 1e-9 * steps) | (steps == 0))
    if len(wrong):
        raise ValueError(f"view {wrong[0]}: the steps along u and v do not span a detector.")
    length = np.linalg.norm(det_pos - source if cone else source, axis=1)
    wrong = np.flatnonzero(length == 0)
    if len(wrong):
        raise ValueError(f"view {wrong[0]}: the rays have no direction.")
    return Views(cone, source, det_pos, det_v, det_u, det_shape)


def vectors_from_text(text: str) -> tuple[tuple[float, ...], ...]:
    """Return the lines of a table as in `views_from_text`, twelve numbers per view."""
    return tuple(tuple(row) for row in _numbers(text, 12).tolist())


def degrees_from_text(text: str) -> tuple[float, ...]:
    """Return the angles [degrees] of a list, one per line.

    Raises
    ------
    ValueError
        If a line does not hold one finite number.
    """
    return tuple(_numbers(text, 1)[:, 0].tolist())


def sine_on_circle(
    vg: VolumeGeometry, *, num_views: int, amplitude: float, cycles: int = 2, **scanner: Any
) -> Views:
    """Return a circular orbit on which source and detector oscillate along z in opposite directions.

    The central ray always passes through the origin. The elevation angle of the source is `amplitude`
    sin(`cycles` angle) [rad]. Two cycles give a saddle orbit. `scanner` as in `ConeBeam.circular`.
    """
    if not (finite(amplitude) and abs(amplitude) < math.pi / 2):
        raise ValueError(f"the amplitude must lie between -pi/2 and pi/2 rad, got {amplitude}.")
    pg = ConeBeam.circular(vg, num_views=num_views, **{"tilt": amplitude, **scanner})
    angles = np.asarray(pg.angles)
    # a positive tilt directs the beam upwards, so the source lies below the plane
    rays = [frame([a], -amplitude * math.sin(cycles * a)) for a in angles]
    ray, up, across = (np.concatenate(part) for part in zip(*rays, strict=True))
    return _facing(pg, -pg.src_orig_dist * ray, ray, up, across)


def circle_and_line(
    vg: VolumeGeometry, *, num_views: int, line_views: int, length: float, **scanner: Any
) -> Views:
    """Return a circular orbit followed by a line along z at the angle of the first view.

    Source and detector move along the line together, from -`length`/2 to `length`/2 [mm]. A circle
    alone violates Tuy's condition. With a line that is long enough, every plane through the object meets the
    orbit.
    """
    if not (finite(length) and length > 0 and line_views >= 2):
        raise ValueError(
            f"a line needs at least 2 views and a length above 0 mm, got {line_views} views and {length} mm."
        )
    pg = ConeBeam.circular(vg, num_views=num_views, **scanner)
    circle = pg.views()
    first = circle.subset([0])
    up = np.linspace(-length / 2, length / 2, line_views)[:, None] * np.array([1.0, 0.0, 0.0])
    return Views(
        True,
        np.concatenate([circle.source, first.source + up]),
        np.concatenate([circle.det_pos, first.det_pos + up]),
        np.concatenate([circle.det_v, np.repeat(first.det_v, line_views, 0)]),
        np.concatenate([circle.det_u, np.repeat(first.det_u, line_views, 0)]),
        pg.det_shape,
    )


def tomosynthesis(vg: VolumeGeometry, *, num_views: int, angle_range: float, **scanner: Any) -> Views:
    """Return an arc of source positions over `angle_range` [rad] and a stationary detector.

    The source moves in the x-y plane about the origin; the detector lies at +y. `scanner` as in
    `ConeBeam.circular`; the detector fits the volume unless given.
    """
    if not (finite(angle_range) and 0 < angle_range < math.pi):
        raise ValueError(f"an arc spans more than 0 and less than pi rad, got {angle_range}.")
    vg = grid_of(vg)
    still = ConeBeam.circular(vg, num_views=1, **scanner)
    # each view lies in the middle of its part of the arc
    start = -angle_range / 2 + angle_range / (2 * num_views)
    ray, _, _ = frame(even_angles(num_views, angle_range, start), 0.0)
    one = still.views()
    det_pos, det_v, det_u = (np.repeat(a, num_views, 0) for a in (one.det_pos, one.det_v, one.det_u))
    return Views(True, -still.src_orig_dist * ray, det_pos, det_v, det_u, still.det_shape)


def _facing(pg: ConeBeam, source: np.ndarray, ray: np.ndarray, up: np.ndarray, across: np.ndarray) -> Views:
    """Views with a detector perpendicular to the central rays from these sources."""
    det_pos = source + pg.src_det_dist * ray + pg.det_offset[0] * up + pg.det_offset[1] * across
    v, u = pg.pixel_size
    return Views(True, source, det_pos, v * up, u * across, pg.det_shape)


def _numbers(text: str, columns: int) -> np.ndarray:
    """Lines of finite numbers (lines, columns)."""
    expected = "one finite number" if columns == 1 else f"{columns} finite numbers"
    rows: list[Sequence[float]] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.replace(",", " ").replace(";", " ").split()
        if not words or words[0].startswith("#"):
            continue
        try:
            row = [float(word) for word in words]
        except ValueError:
            row = []
        if len(row) != columns or not np.isfinite(row).all():
            shown = " ".join(words)[:60]
            raise ValueError(f"line {number} must hold {expected}, got {shown!r}.")
        rows.append(row)
        if len(rows) > MAX_ROWS:
            raise ValueError(f"a list of views has at most {MAX_ROWS} lines.")
    if not rows:
        raise ValueError(f"expected a line of {expected} per view, got none.")
    return np.array(rows)
