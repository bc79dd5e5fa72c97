"""Corrections of measured projections, in order; the result is a `Measurement` and a grid."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.io.projections import Projections
from tomopatch.notes import note
from tomopatch.physics.corrections.axis import Undetermined, estimate_axis
from tomopatch.physics.corrections.geometry import (
    from_vectors,
    scan_geometry,
    suggested_grid,
    typical_attenuation,
)
from tomopatch.physics.corrections.linear import line_integrals
from tomopatch.physics.corrections.pixels import repair_pixels
from tomopatch.physics.corrections.roll import correct_roll, estimate_roll
from tomopatch.physics.corrections.stripes import (
    LEAST_VIEWS,
    STRIPE_SHARE,
    default_size,
    remove_stripes,
    stripe_amplitude,
    stripe_share,
)
from tomopatch.physics.measurement import Measurement
from tomopatch.volume import MU_WATER, VolumeGeometry, as_tensor


@dataclass(frozen=True, eq=False)
class PreparedScan:
    """Measured projections after all corrections.

    Attributes
    ----------
    measurement : Measurement
    grid : VolumeGeometry
        A grid that suits the detector; see `suggested_grid`.
    record : dict
        Applied corrections with their numeric results, ready for JSON.
    """

    measurement: Measurement
    grid: VolumeGeometry
    record: dict[str, Any]

    @property
    def typical(self) -> float:
        """Typical attenuation of the object [1/mm]; see `typical_attenuation`."""
        return float(self.record["typical_attenuation_per_mm"])


def prepare_projections(
    projections: Projections,
    *,
    axis: float | str | None = None,
    roll: float | str = 0.0,
    stripes: bool | None = None,
    stripe_size: int | None = None,
) -> PreparedScan:
    """Correct measured projections: logarithm, dead pixels, roll, axis, stripes.

    Intensities have no absolute attenuation. They are divided by a constant, so that a uniform cylinder gets
    the attenuation of water; see `typical_attenuation`.

    Parameters
    ----------
    projections : Projections
    axis : float, "auto" or None
        Column of the rotation axis; "auto" = estimated; None = the column in the file, else estimated.
    roll : float or "auto"
        Angle of the rotation axis against the detector's columns [rad]; "auto" = estimated.
    stripes : bool or None
        Whether stripes are removed. None = only if counts or transmissions were measured in enough views, and
        the filter changes the stripes more than the object.
    stripe_size : int or None
        Width of the stripe filter [pixels]; None = chosen from the number of columns.

    Raises
    ------
    ValueError
        If angles or distances are missing, or a correction does not suit the scan.
    """
    p = projections
    found = line_integrals(p)
    y, dead = repair_pixels(found.y)
    weights = found.weights
    if weights is not None:
        weights = np.where(dead, np.float32(0), weights)
    record: dict[str, Any] = {
        "quantity": p.quantity,
        "views": p.num_views,
        "raised_values": found.num_raised,
        "dead_pixels": _dead_pixels(dead, p),
    }
    if p.rows_down:
        y = y[::-1].copy()
        weights = None if weights is None else weights[::-1].copy()
    if p.vectors is not None:
        if axis is not None or roll:
            raise ValueError(f"{p.name} has vectors, which include axis and roll; leave both out.")
        pg: Geometry = from_vectors(p)
    else:
        flat = scan_geometry(p, (p.det_shape[1] - 1) / 2)
        if roll:
            y, record["roll_deg"] = _without_roll(y, flat, roll)
        column, record["axis"] = _axis(y, flat, p, axis)
        pg = scan_geometry(p, column)
    # only after the axis is known, because the filter would move the centre of mass
    if stripes or (stripes is None and _suits_stripes(y, p)):
        y, record["stripes"] = _without_stripes(y, p.name, stripe_size, certain=bool(stripes))
    grid = suggested_grid(pg)
    typical = typical_attenuation(y, pg)
    if p.quantity == "intensity" and typical > 0:
        y = y * np.float32(MU_WATER / typical)
        record["intensity_scale"] = MU_WATER / typical
        typical = MU_WATER
        note(
            f"{p.name} holds intensities, which have no absolute attenuation; they were scaled so that a"
            " uniform cylinder would have the attenuation of water.",
            stacklevel=2,
        )
    record["typical_attenuation_per_mm"] = typical
    return PreparedScan(
        Measurement(
            as_tensor(y, "projections"),
            pg,
            None if weights is None else as_tensor(weights, "weights"),
            found.photon_count,
        ),
        grid,
        record,
    )


# ---- parts ------------------------------------------------------------------------------------------------


def _dead_pixels(dead: np.ndarray, p: Projections) -> int:
    """Count the pixels that were repaired in at least one view, and note the number."""
    count = int(dead.any(1).sum())
    if count:
        text = f"{p.name}: {count} dead pixel{'s were' if count > 1 else ' was'} interpolated."
        note(text, stacklevel=3)
    return count


def _suits_stripes(y: np.ndarray, p: Projections) -> bool:
    """Whether raw values were measured in enough views, and the object is not axisymmetric (equal views)."""
    raw = p.quantity in ("counts", "transmission")
    return raw and p.num_views >= LEAST_VIEWS and y.shape[2] >= 32 and bool((y[:, 0] != y[:, -1]).any())


def _without_stripes(
    y: np.ndarray, name: str, size: int | None, *, certain: bool
) -> tuple[np.ndarray, dict[str, Any]]:
    """Filtered line integrals and a record; if not `certain`, a filter that harms the object is undone."""
    size = default_size(y.shape[2]) if size is None else size
    filtered = remove_stripes(y, size=size)
    share = stripe_share(y, filtered)
    removed = certain or share >= STRIPE_SHARE
    if not removed:
        note(
            f"{name}: stripes were not removed, since the filter would change the object more than"
            f" the stripes (share of stripes {share:.2f}, at least {STRIPE_SHARE} expected).",
            stacklevel=3,
        )
    out = filtered if removed else y
    before, after = stripe_amplitude(y, size=size), stripe_amplitude(out, size=size)
    return out, {"removed": removed, "size": size, "share": share, "before": before, "after": after}


def _without_roll(y: np.ndarray, pg: ParallelBeam | ConeBeam, roll: float | str) -> tuple[np.ndarray, float]:
    if isinstance(roll, str):
        if roll != "auto":
            raise ValueError(f'roll must be an angle in rad or "auto", got {roll!r}.')
        if not isinstance(pg, ParallelBeam):
            raise ValueError("the roll can be estimated for a parallel beam only; give it as an angle.")
        roll = estimate_roll(y, pg).angle
    return correct_roll(y, roll, pg.pixel_size), math.degrees(roll)


def _axis(
    y: np.ndarray, pg: ParallelBeam | ConeBeam, p: Projections, axis: float | str | None
) -> tuple[float, dict[str, Any]]:
    """Column of the axis, and its record."""
    if isinstance(axis, str):
        if axis != "auto":
            raise ValueError(f'axis must be a column or "auto", got {axis!r}.')
    elif axis is not None or p.axis is not None:
        column = float(axis if axis is not None else p.axis)  # type: ignore[arg-type]
        if not 0 <= column <= p.det_shape[1] - 1:
            raise ValueError(f"the axis must be a column from 0 to {p.det_shape[1] - 1}, got {column:g}.")
        return column, {"column": column, "method": "given" if axis is not None else "file"}
    elif p.num_views < 3:
        middle = (p.det_shape[1] - 1) / 2
        note(f"{p.name} states no axis and too few views for an estimate; the middle is used.", stacklevel=3)
        return middle, {"column": middle, "method": "middle"}
    try:
        found = estimate_axis(y, pg)
    except Undetermined:
        if axis == "auto":
            raise
        middle = (p.det_shape[1] - 1) / 2
        note(
            f"{p.name} states no axis, and its views do not determine it; the middle is used. State"
            " the column if you know it.",
            stacklevel=3,
        )
        return middle, {"column": middle, "method": "middle"}
    return found.column, {
        "column": found.column,
        "uncertainty": found.uncertainty,
        "method": found.method,
    }
