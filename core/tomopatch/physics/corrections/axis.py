"""The rotation axis on the detector, estimated from the projections."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.projector import Projector
from tomopatch.volume import VolumeGeometry

METHODS = ("auto", "mirror", "mass", "consistency")
OPPOSITE = math.radians(0.2)
"""Views count as opposite if their difference from half a turn is at most this angle [rad]. The edge of an
object of 500 pixels then moves by less than a pixel."""
BACKGROUND = 0.05
"""Values below this share of the 99th percentile count as background. Air is not exactly zero after
flat-field correction, and air far from the axis moves the centre of mass (tooth scan: 0.7 pixel)."""
WHOLE = 0.02
"""An object counts as fully in view if its mass varies over the views by less than this share."""
ROWS, PAIRS = 16, 8
"""Bands of rows and pairs of views that `mirror` compares; more add little."""
SEARCH = 0.12
"""`consistency` looks for the axis within this share of the detector's width around the middle."""
COLUMNS, VIEWS, ITERATIONS = (40, 96), 60, 6
"""Size of the problem that `consistency` solves for each candidate: detector columns of the coarse and of the
fine search, views, and iterations of conjugate gradients."""


CONTRAST = 3.0
"""The views determine the axis if the median residual of the coarse search is at least this multiple of the
smallest residual. Fan-beam scans of acrylic discs: 49 with 276 degrees, 1.0 to 2.2 with 30 to 90 degrees."""


class Undetermined(ValueError):
    """Error: the views do not determine the axis."""


@dataclass(frozen=True)
class Axis:
    """Estimated rotation axis.

    Attributes
    ----------
    column : float
        Detector column, counted from 0 at the centre of the first pixel.
    uncertainty : float
        Standard error [pixels], without systematic errors.
    method : str
        "mirror", "mass" or "consistency".
    """

    column: float
    uncertainty: float
    method: str


def estimate_axis(y: np.ndarray, pg: ParallelBeam | ConeBeam, *, method: str = "auto") -> Axis:
    """Estimate the column of the rotation axis.

    mirror: opposite views of a parallel beam are mirror images about the axis. The sum of squared differences
    is minimised with subpixel shifts. (Donath et al. 2006, J. Opt. Soc. Am. A 23(5), 1048, sec. 2)
    mass: the centre of mass of parallel projections follows axis + a cos + b sin. (Helgason-Ludwig conditions
    of order 1; Azevedo et al. 1990, IEEE Trans. Nucl. Sci. 37(4), 1525)
    consistency: the axis at which a few iterations of CGLS leave the smallest residual, for one row.
    (Reprojection, as Parkinson et al. 2012, J. Struct. Biol. 177, 259)
    auto: mirror if there are opposite views, else mass if the whole object is in view, else consistency.

    Parameters
    ----------
    y : float32 array (v, angle, u)
        Line integrals without NaN.
    pg : ParallelBeam or ConeBeam
        The geometry; its detector shift along u is ignored.
    method : str
        One of METHODS.

    Raises
    ------
    ValueError
        If the method is unknown or does not suit the scan; `Undetermined` if the views do not show the axis.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r} for the axis; known are {', '.join(METHODS)}.")
    if pg.num_views < 3:
        raise ValueError(
            f"estimating the axis needs at least 3 views, got {pg.num_views}; state the column of the axis."
        )
    y = np.asarray(y, np.float64)
    parallel = isinstance(pg, ParallelBeam) and not pg.tilt
    if method in ("mirror", "mass") and not parallel:
        raise ValueError(f"axis method {method} needs a parallel beam; use consistency.")
    pairs = opposite_views(pg) if parallel else []
    if method == "mirror" and not pairs:
        raise ValueError("axis method mirror needs two views half a turn apart; use mass or consistency.")
    if method == "mirror" or (method == "auto" and pairs):
        return _by_mirror(y, pairs)
    if method == "mass" or (method == "auto" and parallel and _is_whole(y)):
        return _by_mass(y, np.asarray(pg.angles))
    return _by_consistency(y, pg)


def opposite_views(pg: ParallelBeam | ConeBeam) -> list[tuple[int, int]]:
    """At most PAIRS pairs of views that are half a turn apart."""
    angles = np.asarray(pg.angles)
    pairs = []
    for i, angle in enumerate(angles):
        apart = np.abs((angles - angle - math.pi + math.pi) % (2 * math.pi) - math.pi)
        j = int(apart.argmin())
        if apart[j] < OPPOSITE and i < j:
            pairs.append((i, j))
    step = max(1, len(pairs) // PAIRS)
    return pairs[::step][:PAIRS]


# ---- mirror -------------------------------------------------------------------------------------------


def _by_mirror(y: np.ndarray, pairs: list[tuple[int, int]]) -> Axis:
    first, second = (_bands(y[:, list(index)]) for index in zip(*pairs, strict=True))
    n = y.shape[2]
    here = first.reshape(-1, n)
    # here(u) = there(u + shift), and the axis lies at (n - 1 - shift) / 2
    there = second.reshape(-1, n)[:, ::-1]
    most = n // 2
    shifts = np.arange(-most, most + 1)
    errors = [_mismatch(here, there, int(s)) for s in shifts]
    start = float(shifts[int(np.argmin(errors))])
    from scipy.interpolate import CubicSpline  # half a second to import, only for measured scans
    from scipy.optimize import minimize_scalar

    spline = CubicSpline(np.arange(n), there, axis=1)

    def error(shift: float) -> float:
        columns = np.arange(max(0, math.ceil(-shift)), min(n, math.floor(n - shift)))
        return float(np.square(here[:, columns] - spline(columns + shift)).mean())

    found = minimize_scalar(error, bounds=(start - 1, start + 1), method="bounded", options={"xatol": 1e-4})
    slope = float(np.square(np.gradient(here, axis=1)).sum())
    spread = math.sqrt(found.fun / slope) if slope > 0 else math.inf
    return Axis((n - 1 - float(found.x)) / 2, spread / 2, "mirror")


def _mismatch(here: np.ndarray, there: np.ndarray, shift: int) -> float:
    """Mean squared difference where both profiles are defined."""
    n = here.shape[1]
    a, b = max(0, -shift), min(n, n - shift)
    return float(np.square(here[:, a:b] - there[:, a + shift : b + shift]).mean())


def _bands(y: np.ndarray) -> np.ndarray:
    """Means over at most ROWS bands of rows."""
    return np.stack([band.mean(0) for band in np.array_split(y, min(ROWS, len(y)))])


# ---- mass ---------------------------------------------------------------------------------------------


def _mass_and_centre(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mass (sum over the detector) and column of the centre of mass of each view, without background."""
    profile = np.where(y > BACKGROUND * np.percentile(y, 99), y, 0).sum(0)
    mass = profile.sum(1)
    return mass, (profile * np.arange(profile.shape[1])).sum(1) / np.where(mass == 0, np.nan, mass)


def _is_whole(y: np.ndarray) -> bool:
    """Whether the object is in view in all views: its mass varies little."""
    mass, centre = _mass_and_centre(y)
    mean = float(mass.mean())
    return bool(np.isfinite(centre).all()) and mean > 0 and float(mass.std()) < WHOLE * mean


def _by_mass(y: np.ndarray, angles: np.ndarray) -> Axis:
    _, centre = _mass_and_centre(y)
    if not np.isfinite(centre).all():
        raise ValueError("axis method mass needs an object in every view; use mirror or consistency.")
    system = np.stack([np.ones_like(angles), np.cos(angles), np.sin(angles)], 1)
    solution, _, rank, _ = np.linalg.lstsq(system, centre, rcond=None)
    if rank < 3:
        raise ValueError("axis method mass needs views in at least three directions; state the column.")
    residual = centre - system @ solution
    variance = float(residual @ residual) / max(1, len(angles) - 3)
    covariance = np.linalg.inv(system.T @ system) * variance
    return Axis(float(solution[0]), math.sqrt(covariance[0, 0]), "mass")


# ---- consistency --------------------------------------------------------------------------------------


def _by_consistency(y: np.ndarray, pg: ParallelBeam | ConeBeam) -> Axis:
    n, row = pg.det_shape[1], y[_row(y, pg)]
    column, reach, fan = (n - 1) / 2, math.ceil(SEARCH * min(n, COLUMNS[0])), None
    for columns in COLUMNS:  # coarse, then fine
        fan = _Fan.of(row, pg, max(1, round(n / columns)))
        tried = column + fan.factor * np.arange(-reach, reach + 1)
        residuals = np.array([fan.residual(c) for c in tried])
        if columns == COLUMNS[0] and np.median(residuals) < CONTRAST * residuals.min():
            raise Undetermined(
                "these views do not determine the rotation axis: other columns fit them almost"
                " equally well, which is usual for a short arc; state the column of the axis."
            )
        column, reach = float(tried[int(residuals.argmin())]), 3
    assert fan is not None
    column = _vertex(fan.residual, column, fan.factor / 2)
    halves = [_vertex(fan.part(k).residual, column, fan.factor / 2) for k in (0, 1)]
    return Axis(column, abs(halves[0] - halves[1]) / 2, "consistency")


def _row(y: np.ndarray, pg: ParallelBeam | ConeBeam) -> int:
    """Row at the height of the source; for a parallel beam, the row with the largest variance."""
    if isinstance(pg, ParallelBeam):
        return int(y.var(axis=(1, 2)).argmax())
    middle = (pg.det_shape[0] - 1) / 2 - pg.det_offset[0] / pg.pixel_size[0]
    return int(np.clip(round(middle), 0, pg.det_shape[0] - 1))


@dataclass(frozen=True)
class _Fan:
    """One binned detector row: line integrals (1, angle, u), geometry, and binning factor."""

    data: torch.Tensor
    pg: ParallelBeam | ConeBeam
    factor: int

    @classmethod
    def of(cls, row: np.ndarray, pg: ParallelBeam | ConeBeam, factor: int) -> _Fan:
        """A row (angle, u) binned by `factor`, with at most about VIEWS views."""
        views = np.arange(0, len(row), max(1, round(len(row) / VIEWS)))
        count = row.shape[1] // factor
        data = row[views, : count * factor].reshape(len(views), count, factor).mean(2)
        fan = replace(
            pg,
            angles=tuple(np.asarray(pg.angles)[views]),
            det_shape=(1, count),
            pixel_size=(pg.pixel_size[0], pg.pixel_size[1] * factor),
        )
        return cls(torch.from_numpy(np.ascontiguousarray(data, np.float32))[None], fan, factor)

    def part(self, k: int) -> _Fan:
        """Every second view, from view k."""
        half = self.pg.subset(slice(k, None, 2))
        assert isinstance(half, ParallelBeam | ConeBeam)
        return _Fan(self.data[:, k::2], half, self.factor)

    def residual(self, column: float) -> float:
        """Relative squared residual of CGLS (Hestenes & Stiefel 1952) with the axis at a column."""
        n, pixel = self.pg.det_shape[1], self.pg.pixel_size[1] / self.factor
        shift = ((n * self.factor - 1) / 2 - column) * pixel
        pg = replace(self.pg, det_offset=(0.0, shift))
        scale = pg.src_orig_dist / pg.src_det_dist if isinstance(pg, ConeBeam) else 1.0
        side = n + 2 * math.ceil(abs(shift) / pg.pixel_size[1])
        voxel = pg.pixel_size[1] * scale
        A = Projector(VolumeGeometry((1, side, side), (pg.pixel_size[0] * scale, voxel, voxel)), pg)
        rest = self.data.clone()
        direction = A.T(rest)
        power = float(direction.square().sum())
        for _ in range(ITERATIONS):
            projected = A(direction)
            length = float(projected.square().sum())
            if length == 0:
                break
            rest = rest - power / length * projected
            gradient = A.T(rest)
            previous, power = power, float(gradient.square().sum())
            direction = gradient + power / previous * direction
        return float(rest.square().sum() / self.data.square().sum().clamp(min=1e-30))


def _vertex(f: Callable[[float], float], x: float, h: float) -> float:
    """Vertex of the parabola fitted to f at five points around x; at most 2 h from x."""
    offsets = h * np.arange(-2, 3)
    a, b, _ = np.polyfit(offsets, [f(x + float(o)) for o in offsets], 2)
    return x if a <= 0 else x + float(np.clip(-b / (2 * a), -2 * h, 2 * h))
