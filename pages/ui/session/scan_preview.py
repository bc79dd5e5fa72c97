"""Measured scans for display: what a file states, what the corrections found, and two pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import streamlit as st

from pages.ui.session import engine
from tomopatch.geometry.beams import ConeBeam, Geometry
from tomopatch.io.projections import Projections
from tomopatch.runs.measured import corrected_scan, estimated_axis
from tomopatch.runs.measured_scan import MeasuredScan

MAX_PIXELS = 700
"""Largest number of rows and columns of a picture."""


@dataclass(frozen=True, eq=False)
class StoredScan:
    """Metadata of a stored scan file; None = not stated."""

    name: str
    num_views: int
    det_shape: tuple[int, int]
    quantity: str
    beam: str | None
    angles_deg: tuple[float, ...] | None
    pixel_size: tuple[float, float] | None
    src_orig_dist: float | None
    src_det_dist: float | None
    axis: float | None
    has_vectors: bool
    num_dark: int
    num_flat: int
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Preview:
    """A scan after its corrections.

    Attributes
    ----------
    sinogram, projection : uint8 arrays
        Pictures of the middle row over all views, and of the middle view; bright is dense.
    record : dict
        Numeric results of the corrections.
    notes : tuple of str
    typical : float
        Typical attenuation [1/mm].
    """

    sinogram: np.ndarray
    projection: np.ndarray
    record: dict[str, Any]
    notes: tuple[str, ...]
    typical: float
    geometry: Geometry


@st.cache_resource(max_entries=50, show_spinner=False)
def stored_scan(digest: str) -> StoredScan:
    """Return what the file of a stored scan states."""
    return _described(engine.store().scan(digest))


def _described(p: Projections) -> StoredScan:
    return StoredScan(
        p.name,
        p.num_views,
        p.det_shape,
        p.quantity,
        p.beam,
        None if p.angles is None else tuple(np.degrees(p.angles).tolist()),
        p.pixel_size,
        p.src_orig_dist,
        p.src_det_dist,
        p.axis,
        p.vectors is not None,
        0 if p.dark is None else len(p.dark),
        0 if p.flat is None else len(p.flat),
        p.notes,
    )


def preview(scan: MeasuredScan) -> Preview:
    """Return the corrected scan for display; its views and grid do not matter."""
    return _preview(replace(scan.all_views, grid=None, hold_out=None))


@st.cache_resource(max_entries=16, show_spinner="Correcting the scan…")
def _preview(scan: MeasuredScan) -> Preview:
    corrected, notes = corrected_scan(scan, engine.store())
    y = corrected.measurement.projections.numpy()
    v, n, _ = y.shape
    return Preview(
        grey_picture(y[v // 2]),
        grey_picture(y[::-1, n // 2]),
        corrected.record,
        notes,
        corrected.typical,
        corrected.measurement.geometry,
    )


@st.cache_resource(max_entries=100, show_spinner="Estimating the rotation axis…")
def found_axis(scan: MeasuredScan) -> tuple[float | None, dict[str, Any]]:
    """Return the estimated column and its record, or None and the reason why there is none."""
    try:
        column, record = estimated_axis(scan, engine.store())
    except ValueError as error:
        return None, {"reason": str(error)}
    return round(column, 2), record


def beam_words(pg: Geometry) -> str:
    """Return the beam in words."""
    if isinstance(pg, ConeBeam):
        return "fan beam" if pg.det_shape[0] == 1 else "cone beam"
    return "cone beam" if pg.views().cone else "parallel beam"


def grey_picture(values: np.ndarray) -> np.ndarray:
    """Return values as grey levels, at most MAX_PIXELS in each direction."""
    step = tuple(slice(None, None, -(-n // MAX_PIXELS)) for n in values.shape)
    small = values[step]
    low, high = np.percentile(small, (0.5, 99.8))
    grey = ((small - low) / max(float(high - low), 1e-12) * 255).clip(0, 255).astype(np.uint8)
    return np.repeat(grey, max(1, 48 // len(grey)), axis=0)
