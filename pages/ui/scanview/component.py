"""Scan view: linked gantry, slice, projection, sinogram and frequencies, drawn in the browser."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
import torch

from pages.ui.charts import frequencies
from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.field_of_view import field_of_view
from tomopatch.geometry.remarks import covered
from tomopatch.geometry.views import Views
from tomopatch.physics.detector.faults import pixels_of
from tomopatch.physics.measurement import simulate
from tomopatch.projector import Projector
from tomopatch.runs.config import ScanConfig
from tomopatch.volume import Triple, Volume

MAX_VIEWS = 72
"""Largest number of displayed views; longer scans are subsampled evenly."""
MAX_RAYS = 2_500_000
"""Largest number of displayed rays; beyond it detector pixels are binned."""

_HERE = Path(__file__).parent
SCRIPTS = (
    "scanview_rays.js",
    "scanview_space.js",
    "scanview_pictures.js",
    "scanview_frequencies.js",
    "scanview_controls.js",
    "scanview.js",
)
_MAX_SHAPE = (48, 128, 128)
"""Largest numbers of slices, rows and columns of the object that are sent to the browser."""
_HTML = """<div class="box"><div class="sv">
<canvas class="space3d" tabindex="0" role="img"
 aria-label="Source, detector and object in space; arrow keys turn it"></canvas>
<canvas class="slice" tabindex="0" role="img"
 aria-label="Slice of the object; arrow keys move the voxel, page up and down change the slice"></canvas>
<canvas class="projection" tabindex="0" role="img"
 aria-label="Projection of this view; arrow keys choose the ray"></canvas>
<canvas class="sinogram" tabindex="0" role="img"
 aria-label="Sinogram of the chosen detector row; arrow keys choose view and ray"></canvas>
<canvas class="frequencies" role="img" aria-label="Frequency coverage of the views, explained below"></canvas>
<div class="controls"><button type="button" class="play" aria-label="Play or pause">▶</button>
<input class="view" type="range" min="0" step="1" value="0" aria-label="View">
<button type="button" class="place" value="lesion" hidden>Lesion here</button>
<button type="button" class="place" value="insert" hidden>Insert here</button>
<span class="view-label"></span></div>
<div class="hint">Click the sinogram or the projection to see that ray in red. Click the object to see that
point's curve in the sinogram (dotted: on another detector row). Wheel: another slice. Drag the 3D picture to
turn it. Dashed: the field of view.</div>
</div></div>"""


def scan_view(
    scan: ScanConfig,
    volume: Volume,
    planted: Volume,
    pg: ParallelBeam | ConeBeam,
    *,
    key: str,
    truncated: bool,
    place: Callable[[str, Triple], None],
) -> None:
    """Show the scan of a volume.

    Parameters
    ----------
    volume : Volume
        Volume on the reconstruction grid; its projections are simulated for this picture alone.
    planted : Volume
        The volume with the inserts of the scan's effects; this volume is shown.
    truncated : bool
        Draw the field of view in the colour of a warning.
    place : f(name, centre)
        Called when the user moves the "lesion" or the "insert" to the selected point (z, y, x) [mm].
    """

    def take() -> None:
        placed = getattr(st.session_state.get(key), "placed", None)
        if placed:
            name, z, y, x = placed
            place(name, (float(z), float(y), float(x)))

    data, caption = scan_picture(scan.digest(), scan, volume, planted, pg, truncated)
    _component()(key=key, data=data, on_placed_change=take)
    st.caption(caption)


@st.cache_data(max_entries=24, show_spinner="Scanning…")
def scan_picture(
    digest: str,
    _scan: ScanConfig,
    _volume: Volume,
    _planted: Volume,
    _pg: ParallelBeam | ConeBeam,
    truncated: bool,
) -> tuple[bytes, str]:
    """Return the packed data (JSON header, object, projections) and the caption of the frequencies."""
    index = np.unique(np.linspace(0, _pg.num_views - 1, min(MAX_VIEWS, _pg.num_views)).round().astype(int))
    views = _pg.views().subset(index.tolist())
    shown, binned = bin_pixels(views)
    measured = simulate(
        _volume,
        Projector(_volume.geometry, shown),
        # binned pixels collect more photons
        photon_count=None if _scan.photons is None else _scan.photons * binned,
        generator=torch.Generator().manual_seed(_scan.seed),
        supersample=1,
        effects=_scan.effects,
    ).projections
    grey = _bytes(measured.numpy(), 0.0, _white(measured, _scan))
    cone = isinstance(_pg, ConeBeam)
    distance = 1.75 * _volume.geometry.radius
    head: dict[str, Any] = {
        "id": "scan",
        "parallel": not cone,
        "title": ("Helical cone beam" if _pg.pitch else "Cone beam")
        if isinstance(_pg, ConeBeam)
        else "Parallel beam",
        "size": _volume.geometry.size,
        "low": [p - s / 2 for p, s in zip(_volume.geometry.pos, _volume.geometry.size, strict=True)],
        "panel": [n * p for n, p in zip(_pg.det_shape, _pg.pixel_size, strict=True)],
        "distance": distance,
        "fov": field_of_view(_pg),
        "truncated": truncated,
        "views": [view_vectors(views, k, cone, distance) for k in range(views.num_views)],
        "numbers": (index + 1).tolist(),
        "degrees": [math.degrees(_pg.angles[k]) for k in index],
        "total": _pg.num_views,
        "lesion": _scan.lesions[0].centre if _scan.lesions else None,  # selected when it is planted or moved
        "movable": ["lesion"] * bool(_scan.lesions) + ["insert"] * bool(_scan.effects.inserts),
    }
    found = covered(_volume, _pg)
    body = _bytes(_subsample(_planted.hu.numpy()), -900.0, 500.0)
    head |= {
        "shape": grey.shape,
        "volumeShape": body.shape,
        "frequencies": frequencies.picture_data(found, _pg),
    }
    text = json.dumps(head).encode()
    packed = b"".join([struct.pack("<I", len(text)), text, body.tobytes(), grey.tobytes()])
    return packed, frequencies.caption(found, _pg)


def _white(measured: torch.Tensor, scan: ScanConfig) -> float:
    """Line integral that is white: the largest of the working pixels, without the top 0.1 %."""
    values = measured.movedim(1, -1)
    if scan.effects.faults is not None:
        alive = ~pixels_of(scan.effects.faults, (values.shape[0], values.shape[1])).dead
        values = values[alive] if alive.any() else values
    return max(1e-6, float(torch.quantile(values.flatten()[::7], 0.999)))


def _subsample(hu: np.ndarray) -> np.ndarray:
    """Subsample slices, rows and columns evenly to at most `_MAX_SHAPE`."""
    for axis, most in enumerate(_MAX_SHAPE):
        n = hu.shape[axis]
        if n > most:
            hu = hu.take(((np.arange(most) + 0.5) * n / most).astype(int), axis)
    return hu


def bin_pixels(views: Views) -> tuple[Views, float]:
    """Return the views with pixels binned to at most `MAX_RAYS` rays, and the number of pixels per bin."""
    v, u = views.det_shape
    shape = v, u
    factor = 1
    while views.num_views * shape[0] * shape[1] > MAX_RAYS:
        factor += 1
        shape = max(1, v // factor), max(1, u // factor)
    if factor == 1:
        return views, 1.0
    # same extent, fewer pixels
    steps = (views.det_v * (v / shape[0]), views.det_u * (u / shape[1]))
    return Views(views.cone, views.source, views.det_pos, *steps, shape), v / shape[0] * (u / shape[1])


def view_vectors(views: Views, k: int, cone: bool, distance: float) -> dict[str, list[float]]:
    """Return source, panel centre and unit vectors of view k; for a parallel beam at the given distance."""
    ray = (views.det_pos[k] - views.source[k]) if cone else views.source[k]
    ray = ray / np.linalg.norm(ray)
    parts = {
        "source": views.source[k] if cone else views.det_pos[k] - distance * ray,
        "det": views.det_pos[k] if cone else views.det_pos[k] + distance * ray,
        "ray": ray,
        "up": views.det_v[k] / np.linalg.norm(views.det_v[k]),
        "across": views.det_u[k] / np.linalg.norm(views.det_u[k]),
    }
    return {
        name: [round(float(a), 3 if name in ("source", "det") else 5) for a in v] for name, v in parts.items()
    }


def _bytes(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return (np.clip((values - low) / (high - low), 0, 1) * 255).astype(np.uint8)


@cache
def _component() -> Any:
    return st.components.v2.component(
        "tomopatch_scan",
        html=_HTML,
        css=(_HERE / "scanview.css").read_text("utf-8"),
        # Streamlit accepts a single script, so the files form one module
        js="\n".join((_HERE / name).read_text("utf-8") for name in SCRIPTS),
    )
