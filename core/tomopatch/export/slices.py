"""Middle slices of volumes as one PNG, for reports, comparisons and notebooks."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tomopatch.volume import Volume

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WINDOW = (-1000.0, 400.0)
"""Default window [HU]."""


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
    """Return a PNG with one row of middle slices per volume, all in one window [HU].

    If every volume has a single slice, only the axial plane is shown.
    """
    from matplotlib.figure import Figure

    planes = 1 if all(volume.shape[0] == 1 for _, volume in volumes) else 3
    figure = Figure(figsize=(3 * planes, 3 * len(volumes)), layout="constrained", facecolor="white")
    across = max(max(volume.shape) for _, volume in volumes)
    axes = figure.subplots(len(volumes), planes, squeeze=False)
    for row, (name, volume) in zip(axes, volumes, strict=True):
        for axis, (plane, picture, aspect) in zip(row, middle_slices(volume)[:planes], strict=True):
            axis.imshow(picture, cmap="gray", vmin=window[0], vmax=window[1], aspect=aspect)
            axis.set_title(f"{name}, {plane}" if name else plane, fontsize=9)
            axis.set_axis_off()
            axis.set_anchor("N")  # aligns the titles of a row
    dots = across / 2.8  # about one dot per voxel: a slice is 2.8 inches wide
    return figure_png(figure, dpi=min(200, max(80, dots)))


def figure_png(figure: Figure, dpi: float = 80) -> bytes:
    """Return the figure as a PNG."""
    out = io.BytesIO()
    figure.savefig(out, format="png", dpi=dpi)
    return out.getvalue()
