"""How volumes, measurements and results show themselves in a notebook. Nothing else in the engine draws."""

from __future__ import annotations

import base64
import html
import io
import sys
from collections.abc import Sequence

import numpy as np

from core.measurement import Measurement, relative_dose
from core.progress import Callback, Step
from core.reconstruct.methods import Result
from core.volume import Volume

WINDOW = (-1000.0, 400.0)  # HU


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
    axes = figure.subplots(len(volumes), 3, squeeze=False)
    for row, (name, volume) in zip(axes, volumes, strict=True):
        for axis, (plane, picture, aspect) in zip(row, middle_slices(volume), strict=True):
            axis.imshow(picture, cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect)
            axis.set_title(f"{name}, {plane}" if name else plane, fontsize=9)
            axis.set_axis_off()
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=80)
    return out.getvalue()


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
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=80)
    rows = {"scan": type(measurement.geometry).__name__, "views": str(n), "detector (v, u)": f"{v} x {u}"}
    if measurement.photon_count is not None:
        rows["photons a ray"] = f"{measurement.photon_count:.3g}"
        rows["dose of a full scan"] = f"{relative_dose(measurement.geometry, measurement.photon_count):.2%}"
    return _card("Measurement", rows, out.getvalue())


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


def notebook_progress(label: str) -> Callback | None:
    """A progress bar where there is a notebook to show it in; None elsewhere."""
    shell = sys.modules.get("IPython")
    session = shell.get_ipython() if shell is not None else None
    if session is None or not hasattr(session, "kernel"):
        return None
    from tqdm.auto import tqdm

    bar = tqdm(desc=label)

    def show(step: Step) -> None:
        bar.total = step.total
        bar.n = step.i
        if step.residual is not None:
            bar.set_postfix(residual=f"{step.residual:.3g}", refresh=False)
        bar.refresh()
        if step.i == step.total and not step.stage:
            bar.close()

    return show


def _card(title: str, rows: dict[str, str], png: bytes) -> str:
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>"
        for k, v in rows.items()
    )
    picture = base64.b64encode(png).decode()
    return (
        f"<div><b>{html.escape(title)}</b><table>{cells}</table>"
        f"<img alt='{html.escape(title)}' src='data:image/png;base64,{picture}'/></div>"
    )
