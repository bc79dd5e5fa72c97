"""HTML of volumes, geometries, projectors, measurements and results in a notebook."""

from __future__ import annotations

import base64
import html
import math
import sys
from functools import singledispatch

import numpy as np

from tomopatch.export.slices import figure_png, slices_png
from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.geometry.views import Views
from tomopatch.physics.measurement import Measurement, relative_dose
from tomopatch.projector import Projector
from tomopatch.reconstruct.run import Result
from tomopatch.volume import Volume, VolumeGeometry


def register() -> None:
    """Register the HTML of these objects with a running IPython; do nothing outside IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "display_formatter"):
        return
    formatter = shell.display_formatter.formatters["text/html"]
    for kind, function in to_html.registry.items():
        if kind is not object:
            formatter.for_type(kind, function)


@singledispatch
def to_html(value: object) -> str:
    """Return HTML of a volume, geometry, projector, measurement or result: a table and a picture."""
    raise TypeError(f"there is no HTML for {type(value).__name__}.")


@to_html.register
def _(volume: Volume) -> str:
    hu = volume.hu
    rows = {
        "shape (z, y, x)": " x ".join(map(str, volume.shape)),
        "voxel size [mm]": " x ".join(f"{s:.3g}" for s in volume.geometry.voxel_size),
        "HU": f"{float(hu.min()):.0f} to {float(hu.max()):.0f}",
    }
    return _card(f"Volume {volume.name}", rows, slices_png([("", volume)]))


@to_html.register
def _(measurement: Measurement) -> str:
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
        rows["photons per ray"] = f"{measurement.photon_count:.3g}"
        rows["dose of a full scan"] = f"{relative_dose(measurement.geometry, measurement.photon_count):.2%}"
    return _card("Measurement", rows, figure_png(figure))


@to_html.register
def _(result: Result) -> str:
    rows = {
        "status": result.status,
        "seconds": f"{result.seconds:.1f}",
        "peak memory": f"{result.peak_memory_mb:.0f} MB",
        **{name: str(value) for name, value in result.params.items()},
    }
    if result.residuals:
        rows["residual"] = f"{result.residuals[-1]:.3g}"
    return _card(f"Result: {result.method}", rows, slices_png([("", result.volume)]))


@to_html.register
def _(A: Projector) -> str:
    rows = {
        "volume (z, y, x)": " x ".join(map(str, A.domain_shape)),
        "projections (v, angle, u)": " x ".join(map(str, A.range_shape)),
        "backend": f"{A.backend}, on {A.device.type}",
    }
    scan = "" if isinstance(A.pg, Views) else to_html(A.pg)
    return _card("Projector", rows) + scan


@to_html.register(ParallelBeam)
@to_html.register(ConeBeam)
def _(pg: ParallelBeam | ConeBeam) -> str:
    # the table, and the geometry seen along the axis: the source positions and the detector of the first view
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
    else:  # the source is infinitely far away: a point in its direction is drawn
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
    return _card(type(pg).__name__, rows, figure_png(figure))


@to_html.register
def _(vg: VolumeGeometry) -> str:
    rows = {
        "shape (z, y, x)": " x ".join(map(str, vg.shape)),
        "voxel size [mm]": " x ".join(f"{s:.3g}" for s in vg.voxel_size),
        "size [mm]": " x ".join(f"{s:.4g}" for s in vg.size),
        "centre [mm]": ", ".join(f"{p:.4g}" for p in vg.pos),
    }
    return _card("VolumeGeometry", rows)


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
