"""Volumes as files that other programs open."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont

from core.runs.history import Frame
from core.runs.pictures import PLANES, grey, plane_slice
from core.scan.dicom_writer import write_dicom
from core.scan.nifti import write_nifti
from core.show import WINDOW, slices_png
from core.volume import Triple, Volume, VolumeGeometry


def nifti_bytes(volume: Volume) -> bytes:
    """A .nii.gz of the volume in HU."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii.gz"
        write_nifti(path, volume)
        return path.read_bytes()


def npz_bytes(volume: Volume) -> bytes:
    """A .npz for NumPy: `data` (attenuation [1/mm]), `hu`, both float32 (z, y, x), and `voxel_size` (z, y, x) [mm]."""
    out = io.BytesIO()
    np.savez_compressed(
        out,
        data=volume.data.cpu().numpy(),
        hu=volume.hu.cpu().numpy(),
        voxel_size=np.array(volume.geometry.voxel_size),
    )
    return out.getvalue()


def dicom_zip_bytes(volume: Volume) -> bytes:
    """A zip with a DICOM CT series of the volume, marked derived, simulated and not for diagnosis."""
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        series = Path(folder) / "series"
        write_dicom(series, volume)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(series.iterdir()):
                archive.write(path, path.name)
    return out.getvalue()


def png_bytes(volumes: Sequence[tuple[str, Volume]], window: tuple[float, float] = WINDOW) -> bytes:
    """A PNG with the three middle slices of each volume, in one window [HU]."""
    return slices_png(volumes, window)


# ---- animations ---------------------------------------------------------------------------------------

GIF_WIDTH = 960
GIF_PANEL = 400
"""Pixels: of the whole picture, and of the longer edge of one of its panels, at most."""
_LINE, _GAP, _STEP_MS, _END_MS = 22, 4, 320, 2200


def gif_bytes(
    frames: Sequence[Frame],
    geometry: VolumeGeometry,
    *,
    parts: Sequence[tuple[str, str]],
    planes: Sequence[str] = ("axial",),
    cursor: Triple = (0.5, 0.5, 0.5),
    window: tuple[float, float] = WINDOW,
) -> bytes:
    """An animation of a run: a picture for each snapshot, and a pause on the last.

    Parameters
    ----------
    frames : sequence of Frame
    geometry : VolumeGeometry
        The run's; only its extent counts.
    parts : sequence of (name, label)
        The volumes shown: a column each for one plane, a row each for several.
    planes : names in PLANES
    cursor : fractions (z, y, x)
        Where the slices are.
    window : (low, high) [HU]
    """
    if not frames:
        raise ValueError("this run has no snapshots to make an animation of; run it again.")
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
    out = io.BytesIO()
    pictures[0].save(
        out,
        "GIF",
        save_all=True,
        append_images=pictures[1:],
        duration=[_STEP_MS] * (len(pictures) - 1) + [_END_MS],
        loop=0,
    )
    return out.getvalue()


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
                pixels = grey(plane_slice(frame.volumes[part], plane, cursor), window)
                panel = Image.fromarray(pixels).resize((across, height), Image.Resampling.BICUBIC)
                picture.paste(panel, (x, j * row + _LINE))
            draw.text((x + 4, j * row + 3), name, 225, font=_font())
            x += across + _GAP
    draw.text((4, picture.height - _LINE + 3), f"{step_words(frame)}   not for diagnosis", 165, font=_font())
    return picture


def step_words(frame: Frame) -> str:
    """The figures of a snapshot in a line."""
    p = frame.point
    parts = [f"{'Start' if p.stage else 'Step'} {p.i} of {p.total}"]
    if p.sigma is not None:
        parts.append(f"noise σ {1000 * p.sigma:.0f} HU")
    if p.psnr is not None:
        parts.append(f"{p.psnr:.1f} dB")
    return "   ".join(parts)


@cache
def _font() -> Any:
    """The font that matplotlib brings: it has Greek letters, and is everywhere."""
    return ImageFont.truetype(str(Path(get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), 12)
