"""Animations for slides: the snapshots of a run, and a walk through the slices of several volumes."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from tomopatch.export.pictures import PLANES, grey, plane_slice
from tomopatch.export.slices import WINDOW
from tomopatch.store.history import Frame
from tomopatch.volume import Triple, VolumeGeometry

GIF_WIDTH = 960
GIF_PANEL = 400
"""Maximum width of the picture, and of the longer edge of one panel [pixels]."""
MAX_SLICES = 96
"""Maximum number of slices in an animation; of more slices, only every second, third, ... is shown."""
_LINE, _GAP = 22, 4  # pixels
_STEP_MS, _END_MS, _SLICE_MS = 320, 2200, 110


def gif_bytes(
    frames: Sequence[Frame],
    geometry: VolumeGeometry,
    *,
    parts: Sequence[tuple[str, str]],
    planes: Sequence[str] = ("axial",),
    cursor: Triple = (0.5, 0.5, 0.5),
    window: tuple[float, float] = WINDOW,
) -> bytes:
    """Return an animation of a run: a picture for each snapshot, and a pause on the last.

    Parameters
    ----------
    frames : sequence of Frame
    geometry : VolumeGeometry
        Geometry of the run; only its extent is used.
    parts : sequence of (name, label)
        Volumes to show: as columns for one plane, as rows for several.
    planes : names in PLANES
    cursor : fractions (z, y, x)
        Position of the slices.
    window : (low, high) [HU]
    """
    if not frames:
        raise ValueError("this run has no snapshots for an animation; run it again.")
    grid = [[(name, plane) for plane in planes] for name, _ in parts]
    titles = [[f"{label}, {plane}" for plane in planes] for _, label in parts]
    if len(planes) == 1:
        grid, titles = [[cell for cells in grid for cell in cells]], [[label for _, label in parts]]
    mm = {plane: tuple(geometry.size[axis] for axis in PLANES[plane]) for plane in planes}
    columns = [mm[plane][1] for _, plane in grid[0]]
    scale = min(
        (GIF_WIDTH - _GAP * (len(columns) - 1)) / sum(columns), GIF_PANEL / max(max(m) for m in mm.values())
    )
    sizes = {plane: tuple(max(8, round(s * scale)) for s in mm[plane]) for plane in planes}
    pictures = [_picture(frame, grid, titles, sizes, cursor, window) for frame in frames]
    return _gif(pictures, [_STEP_MS] * (len(pictures) - 1) + [_END_MS])


def slices_gif_bytes(
    volumes: Sequence[tuple[str, np.ndarray]],
    geometry: VolumeGeometry,
    *,
    plane: str = "axial",
    window: tuple[float, float] = WINDOW,
) -> bytes:
    """Return an animation through the slices of several volumes side by side, all in one window.

    Parameters
    ----------
    volumes : (name, HU (z, y, x)), all of one shape
    geometry : VolumeGeometry
        Only its extent is used.
    plane : name in PLANES
    window : (low, high) [HU]
    """
    if not volumes:
        raise ValueError("there is no volume for an animation; choose one or more.")
    down, across = PLANES[plane]
    axis = 3 - down - across
    rows = 1 if len(volumes) <= 4 else 2
    columns = math.ceil(len(volumes) / rows)
    mm = geometry.size[down], geometry.size[across]
    scale = min((GIF_WIDTH - _GAP * (columns - 1)) / (columns * mm[1]), GIF_PANEL / max(mm))
    height, width = (max(8, round(edge * scale)) for edge in mm)
    count, letter = volumes[0][1].shape[axis], "zyx"[axis]
    pictures = []
    for k in range(0, count, math.ceil(count / MAX_SLICES)):
        z, y, x = ((k + 0.5) / count if a == axis else 0.5 for a in range(3))
        picture = Image.new("L", (columns * (width + _GAP) - _GAP, rows * (height + _LINE) + _LINE), 0)
        draw = ImageDraw.Draw(picture)
        for i, (name, hu) in enumerate(volumes):
            left, top = i % columns * (width + _GAP), i // columns * (height + _LINE)
            picture.paste(_panel(hu, plane, (z, y, x), window, (width, height)), (left, top + _LINE))
            draw.text((left + 4, top + 3), _short(name, width - 8), 225, font=_font())
        position = ((k + 0.5) / count - 0.5) * geometry.size[axis]
        _footer(draw, picture, f"{plane}, {letter} = {position:+.0f} mm")
        pictures.append(picture)
    return _gif(pictures, [_SLICE_MS] * len(pictures))


def _gif(pictures: Sequence[Image.Image], milliseconds: list[int]) -> bytes:
    out = io.BytesIO()
    pictures[0].save(
        out, "GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0, optimize=False
    )
    return out.getvalue()


def _panel(
    hu: np.ndarray, plane: str, cursor: Triple, window: tuple[float, float], size: tuple[int, int]
) -> Image.Image:
    pixels = grey(plane_slice(hu, plane, cursor), window)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


def _footer(draw: ImageDraw.ImageDraw, picture: Image.Image, text: str) -> None:
    draw.text((4, picture.height - _LINE + 3), f"{text}   not for diagnosis", 165, font=_font())


def _short(name: str, width: float) -> str:
    """The name, cut to the available width."""
    while len(name) > 2 and _font().getlength(name) > width:
        name = name.rstrip("…")[:-1] + "…"
    return name


def _picture(
    frame: Frame,
    grid: list[list[tuple[str, str]]],
    titles: list[list[str]],
    sizes: dict[str, tuple[int, ...]],
    cursor: Triple,
    window: tuple[float, float],
) -> Image.Image:
    """One frame: rows of slices with their names, and a line with the figures of the step."""
    row = max(h for h, _ in sizes.values()) + _LINE
    width = max(sum(sizes[plane][1] + _GAP for _, plane in cells) - _GAP for cells in grid)
    picture = Image.new("L", (width, row * len(grid) + _LINE), 0)
    draw = ImageDraw.Draw(picture)
    for j, (cells, names) in enumerate(zip(grid, titles, strict=True)):
        x = 0
        for (part, plane), name in zip(cells, names, strict=True):
            height, across = sizes[plane]
            if part in frame.volumes:
                panel = _panel(frame.volumes[part], plane, cursor, window, (across, height))
                picture.paste(panel, (x, j * row + _LINE))
            draw.text((x + 4, j * row + 3), name, 225, font=_font())
            x += across + _GAP
    _footer(draw, picture, step_words(frame))
    return picture


def step_words(frame: Frame) -> str:
    """Return the figures of a snapshot as one line."""
    p = frame.point
    parts = [f"{'Initial reconstruction' if p.stage else 'Step'} {p.i} of {p.total}"]
    if p.sigma is not None:
        parts.append(f"noise σ {1000 * p.sigma:.0f} HU")
    if p.psnr is not None:
        parts.append(f"{p.psnr:.1f} dB")
    return "   ".join(parts)


@cache
def _font() -> Any:
    """The font that comes with matplotlib: it has Greek letters and exists on every system."""
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 12)
