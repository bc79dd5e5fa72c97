"""How volumes, measurements and results show themselves in a notebook. Nothing else in the engine draws."""

from __future__ import annotations

import base64
import html
import io
import math
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from core.geometry import ConeBeam, ParallelBeam
from core.measurement import Measurement, relative_dose
from core.progress import Callback, Step
from core.projector import Projector
from core.reconstruct.methods import Result
from core.views import Views
from core.volume import Volume, VolumeGeometry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW = (-1000.0, 400.0)  # HU
REDRAW = 0.2  # seconds between two states of a progress bar


def middle_slices(volume: Volume) -> list[tuple[str, np.ndarray, float]]:
    """Axial, coronal and sagittal middle slices [HU], head up, with their pixel aspect (height / width)."""
    hu = volume.hu.detach().cpu()
    z, y, x = (n // 2 for n in volume.shape)
    sz, sy, sx = volume.geometry.voxel_size
    return [
        ("axial", hu[z].numpy(), sy / sx),
        ("coronal", hu[:, y].flip(0).numpy(), sz / sx),
        ("sagittal", hu[:, :, x].flip(0).numpy(), sz / sy),
    ]


def slices_png(volumes: Sequence[tuple[str, Volume]], window: tuple[float, float] = WINDOW) -> bytes:
    """A PNG with the middle slices of each volume, a row each, in one window [HU]."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3 * len(volumes)), layout="constrained", facecolor="white")
    across = max(max(volume.shape) for _, volume in volumes)
    axes = figure.subplots(len(volumes), 3, squeeze=False)
    for row, (name, volume) in zip(axes, volumes, strict=True):
        for axis, (plane, picture, aspect) in zip(row, middle_slices(volume), strict=True):
            axis.imshow(picture, cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect)
            axis.set_title(f"{name}, {plane}" if name else plane, fontsize=9)
            axis.set_axis_off()
            axis.set_anchor("N")  # titles of a row at one height
    return _png(figure, dpi=min(200, max(80, across / 2.8)))  # a slice is some 2.8 inches wide: a dot a voxel


def volume_html(volume: Volume) -> str:
    hu = volume.hu
    rows = {
        "shape (z, y, x)": " x ".join(map(str, volume.shape)),
        "voxel size [mm]": " x ".join(f"{s:.3g}" for s in volume.geometry.voxel_size),
        "HU": f"{float(hu.min()):.0f} to {float(hu.max()):.0f}",
    }
    return _card(f"Volume {volume.name}", rows, slices_png([("", volume)]))


def measurement_html(measurement: Measurement) -> str:
    from matplotlib.figure import Figure

    y = measurement.projections.detach().cpu()
    v, n, u = y.shape
    figure = Figure(figsize=(9, 3), layout="constrained", facecolor="white")
    left, right = figure.subplots(1, 2)
    left.imshow(y[:, 0].flip(0).numpy(), cmap="gray", aspect="auto")
    left.set(title="first projection", xlabel="u", ylabel="v")
    right.imshow(y[v // 2].numpy(), cmap="gray", aspect="auto")
    right.set(title="sinogram of the middle row", xlabel="u", ylabel="view")
    rows = {"scan": type(measurement.geometry).__name__, "views": str(n), "detector (v, u)": f"{v} x {u}"}
    if measurement.photon_count is not None:
        rows["photons a ray"] = f"{measurement.photon_count:.3g}"
        rows["dose of a full scan"] = f"{relative_dose(measurement.geometry, measurement.photon_count):.2%}"
    return _card("Measurement", rows, _png(figure))


def result_html(result: Result) -> str:
    rows = {
        "status": result.status,
        "seconds": f"{result.seconds:.1f}",
        "peak memory": f"{result.peak_memory_mb:.0f} MB",
        **{name: str(value) for name, value in result.params.items()},
    }
    if result.residuals:
        rows["residual"] = f"{result.residuals[-1]:.3g}"
    return _card(f"Result: {result.method}", rows, slices_png([("", result.volume)]))


def projector_html(A: Projector) -> str:
    """What A takes and gives, and its scan."""
    rows = {
        "volume (z, y, x)": " x ".join(map(str, A.domain_shape)),
        "projections (v, angle, u)": " x ".join(map(str, A.range_shape)),
        "backend": f"{A.backend}, on {A.device.type}",
    }
    scan = "" if isinstance(A.pg, Views) else geometry_html(A.pg)
    return _card("Projector", rows) + scan


def geometry_html(pg: ParallelBeam | ConeBeam) -> str:
    """A table, and the scan seen along the axis: where the source goes and what the first view's detector spans."""
    from matplotlib.figure import Figure

    views = pg.views()
    first, last = math.degrees(min(pg.angles)), math.degrees(max(pg.angles))
    half = views.det_u[0] * (views.det_shape[1] / 2)
    ends = np.stack([views.det_pos[0] - half, views.det_pos[0] + half])
    rows = {
        "views": f"{pg.num_views}, from {first:.4g} to {last:.4g} degrees",
        "detector (v, u)": f"{pg.det_shape[0]} x {pg.det_shape[1]}",
        "pixel size [mm]": " x ".join(f"{p:.3g}" for p in pg.pixel_size),
    }
    if isinstance(pg, ConeBeam):
        rows["source to axis, to detector [mm]"] = f"{pg.src_orig_dist:g}, {pg.src_det_dist:g}"
        sources, starts = views.source, np.stack([views.source[0]] * 2)
    else:  # the source is far away: its place stands for its direction
        away = 1.5 * float(np.linalg.norm(ends[1] - ends[0]))
        sources, starts = -away * views.source, ends - away * views.source[0]
        ends = ends + away / 2 * views.source[0]
    figure = Figure(figsize=(3.6, 3.6), layout="constrained", facecolor="white")
    axis = figure.subplots()
    axis.plot(sources[:, 2], sources[:, 1], ".", color="tab:red", label="source")
    axis.plot(ends[:, 2], ends[:, 1], color="black", linewidth=3, label="detector, first view")
    for start, end in zip(starts, ends, strict=True):
        axis.plot([start[2], end[2]], [start[1], end[1]], color="tab:red", linewidth=0.7)
    axis.plot(0, 0, "+", color="tab:blue", markersize=12, label="axis")
    axis.set(aspect="equal", xlabel="x [mm]", ylabel="y [mm]")
    axis.invert_yaxis()  # as in axial slices, y points down
    figure.legend(loc="outside lower center", ncols=3, fontsize=7, frameon=False)
    return _card(type(pg).__name__, rows, _png(figure))


def grid_html(vg: VolumeGeometry) -> str:
    rows = {
        "shape (z, y, x)": " x ".join(map(str, vg.shape)),
        "voxel size [mm]": " x ".join(f"{s:.3g}" for s in vg.voxel_size),
        "size [mm]": " x ".join(f"{s:.4g}" for s in vg.size),
        "centre [mm]": ", ".join(f"{p:.4g}" for p in vg.pos),
    }
    return _card("VolumeGeometry", rows)


def notebook_progress(label: str) -> Callback | None:
    """A progress bar where there is a notebook to show it in; None elsewhere.

    Plain HTML that is redrawn a few times a second: it needs no widgets, and a saved notebook keeps its last state.
    """
    shell = sys.modules.get("IPython")
    session = shell.get_ipython() if shell is not None else None
    if session is None or not hasattr(session, "kernel"):
        return None
    from IPython.display import HTML, display

    handle = display(HTML(bar_html(label)), display_id=True)
    began = drawn = time.perf_counter()

    def show(step: Step) -> None:
        nonlocal drawn
        now = time.perf_counter()
        if now - drawn >= REDRAW or step.i == step.total:
            drawn = now
            handle.update(HTML(bar_html(label, step, now - began)))

    return show


def bar_html(label: str, step: Step | None = None, seconds: float = 0.0) -> str:
    """The bar after a step, or before the first."""
    words, share = "begins", ""
    if step is not None:
        words = f"{'start, ' if step.stage else ''}{step.i} of {step.total}, {seconds:.1f} s"
        words += "" if step.residual is None else f", residual {step.residual:.3g}"
        share = f" value='{step.i / step.total:.4f}'"
    return f"<div>{html.escape(label)} <progress max='1'{share}></progress> {words}</div>"


def _png(figure: Figure, dpi: float = 80) -> bytes:
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi)
    return out.getvalue()


def _card(title: str, rows: dict[str, str], png: bytes | None = None) -> str:
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>"
        for k, v in rows.items()
    )
    picture = ""
    if png is not None:
        data = base64.b64encode(png).decode()
        picture = f"<img alt='{html.escape(title)}' src='data:image/png;base64,{data}'/>"
    return f"<div><b>{html.escape(title)}</b><table>{cells}</table>{picture}</div>"
