"""The scan as a moving picture: gantry, slice, projection, sinogram and frequencies, linked, drawn in the browser."""

from __future__ import annotations

import json
import math
import struct
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
import torch

from pages.ui.charts import frequencies
from tomopatch.geometry.beams import ConeBeam, ParallelBeam, Views
from tomopatch.geometry.remarks import covered, field_of_view
from tomopatch.physics.measurement import simulate
from tomopatch.projector import Projector
from tomopatch.runs.config import ScanConfig
from tomopatch.volume import Triple, Volume

MAX_VIEWS = 72
"""Views that are shown; a scan of more is thinned evenly."""
MAX_RAYS = 2_500_000
"""Beyond, detector pixels are joined for the picture."""

_HERE = Path(__file__).parent
SCRIPTS = (
    "scanview_rays.js",
    "scanview_space.js",
    "scanview_pictures.js",
    "scanview_frequencies.js",
    "scanview_steer.js",
    "scanview.js",
)
_SHOWN = (48, 128, 128)
"""Slices, rows and columns of the object that are sent to be clicked on, at most."""
_HTML = """<div class="box"><div class="sv">
<canvas class="space3d" tabindex="0" role="img" aria-label="Source, detector and object in space; arrow keys turn it"></canvas>
<canvas class="slice" tabindex="0" role="img" aria-label="Slice of the object; arrow keys move the voxel that is traced, page up and down the slice"></canvas>
<canvas class="shot" tabindex="0" role="img" aria-label="Projection of this view; arrow keys choose the ray"></canvas>
<canvas class="sino" tabindex="0" role="img" aria-label="Sinogram of the chosen detector row; arrow keys choose view and ray"></canvas>
<canvas class="frequencies" role="img" aria-label="Frequencies that the views measure, explained below"></canvas>
<div class="controls"><button type="button" class="play" aria-label="Play or pause">▶</button>
<input class="view" type="range" min="0" step="1" value="0" aria-label="View"><span class="word"></span></div>
<div class="hint">Click the sinogram or the projection: the ray that was measured there is drawn in red. Click the object: the
trace of that voxel is drawn in the sinogram, dotted where its shadow falls into another row. Wheel: another slice. Drag the
scene to turn it. Dashed: the field of view.</div>
</div></div>"""


def scan_view(
    scan: ScanConfig, volume: Volume, pg: ParallelBeam | ConeBeam, *, key: str, truncated: bool
) -> None:
    """Draw the scan of a volume.

    Parameters
    ----------
    volume : Volume
        On the reconstruction grid: it is scanned for the picture alone.
    truncated : bool
        The field of view is drawn as a warning.
    """
    lesion = scan.lesions[0].centre if scan.lesions else None
    data, told = _picture(scan.digest(), volume, pg, scan.photons, scan.seed, truncated, lesion)
    _component()(key=key, data=data)
    st.caption(told)


@st.cache_data(max_entries=24, show_spinner="Scanning…")
def _picture(
    digest: str,
    _volume: Volume,
    _pg: ParallelBeam | ConeBeam,
    photons: float | None,
    seed: int,
    truncated: bool,
    lesion: Triple | None,
) -> tuple[bytes, str]:
    """All that the picture needs (a JSON header, the object and the projections as bytes), and its frequencies in words."""
    index = np.unique(np.linspace(0, _pg.num_views - 1, min(MAX_VIEWS, _pg.num_views)).round().astype(int))
    views = _pg.views().subset(index.tolist())
    shown, joined = _joined(views)
    measured = simulate(
        _volume,
        Projector(_volume.geometry, shown),
        # pixels that are joined collect more photons
        photon_count=None if photons is None else photons * joined,
        generator=torch.Generator().manual_seed(seed),
        supersample=1,
    ).projections
    grey = _bytes(measured.numpy(), 0.0, max(1e-6, float(torch.quantile(measured.flatten()[::7], 0.999))))
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
        "views": [_vectors(views, k, cone, distance) for k in range(views.num_views)],
        "numbers": (index + 1).tolist(),
        "degrees": [math.degrees(_pg.angles[k]) for k in index],
        "total": _pg.num_views,
        "lesion": lesion,  # is marked once it is planted or moved
    }
    found = covered(_volume, _pg)
    body = _bytes(_thinned(_volume.hu.numpy()), -900.0, 500.0)
    head |= {"shape": grey.shape, "volumeShape": body.shape, "frequencies": frequencies.drawing(found, _pg)}
    text = json.dumps(head).encode()
    packed = b"".join([struct.pack("<I", len(text)), text, body.tobytes(), grey.tobytes()])
    return packed, frequencies.told(found, _pg)


def _thinned(hu: np.ndarray) -> np.ndarray:
    """Evenly chosen slices, rows and columns, where there are more than can be told apart in a small picture."""
    for axis, most in enumerate(_SHOWN):
        n = hu.shape[axis]
        if n > most:
            hu = hu.take(((np.arange(most) + 0.5) * n / most).astype(int), axis)
    return hu


def _joined(views: Views) -> tuple[Views, float]:
    """The views with detector pixels joined until there are few enough rays, and how many pixels became one."""
    v, u = views.det_shape
    shape = v, u
    factor = 1
    while views.num_views * shape[0] * shape[1] > MAX_RAYS:
        factor += 1
        shape = max(1, v // factor), max(1, u // factor)
    if factor == 1:
        return views, 1.0
    # the same extent in fewer pixels
    steps = (views.det_v * (v / shape[0]), views.det_u * (u / shape[1]))
    return Views(views.cone, views.source, views.det_pos, *steps, shape), v / shape[0] * (u / shape[1])


def _vectors(views: Views, k: int, cone: bool, distance: float) -> dict[str, list[float]]:
    """Where things are in view k: source, panel centre, unit vectors; of a parallel beam at a fitting distance."""
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
        # the scripts are one module: a component takes a single text
        js="\n".join((_HERE / name).read_text("utf-8") for name in SCRIPTS),
    )
