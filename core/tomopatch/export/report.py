"""Report of a comparison: one HTML file to print or send, without scripts or external resources."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from tomopatch.analysis.metrics import Quality
from tomopatch.export.pictures import PLANES, grey, plane_slice, png, signed
from tomopatch.export.slices import WINDOW
from tomopatch.reconstruct.held_out import MeasuredQuality
from tomopatch.runs.provenance import made_with
from tomopatch.volume import Triple, Volume

VERSIONS = ("tomopatch", "python", "torch", "numpy")
DIFFERENCE = 200.0
"""Limit of the colour scale of differences [HU]."""
_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent, encoding="utf-8"),
    autoescape=True,  # all texts may come from files: none of them becomes markup
    undefined=StrictUndefined,
    trim_blocks=True,
)


@dataclass(frozen=True, eq=False)
class Entry:
    """A run in the report. `settings` are the parameters of its method, by their labels."""

    name: str
    volume: Volume
    settings: Mapping[str, str]
    scan: str
    metrics: Quality | None
    seconds: float
    device: str
    measured: MeasuredQuality | None = None


def report_html(
    title: str,
    scan: Mapping[str, str],
    reference: Volume,
    entries: Sequence[Entry],
    *,
    now: datetime,
    cursor: Triple = (0.5, 0.5, 0.5),
    window: tuple[float, float] = WINDOW,
    reference_name: str = "Reference",
) -> bytes:
    """Return the report as HTML in UTF-8.

    Parameters
    ----------
    title : str
        Name of the volume.
    scan : mapping of str to str
        Description of the scan, one line per item.
    entries : sequence of Entry
        Runs with volumes on the reference's grid.
    cursor : fractions (z, y, x)
        Position of the slices.
    window : (low, high) [HU]
    reference_name : str
        Another name than "Reference" says that the volume is a stand-in, for entries with `measured`.
    """
    measured = any(entry.measured is not None for entry in entries)
    for entry in entries:
        if entry.volume.shape != reference.shape:
            raise ValueError(
                f"{entry.name} has shape {entry.volume.shape} but the reference {reference.shape}; "
                "resample one to the other's grid."
            )
    position = ", ".join(
        f"{axis} {(f - 0.5) * size:.0f}"
        for axis, f, size in zip("zyx", cursor, reference.geometry.size, strict=True)
    )
    versions = made_with()
    return (
        _TEMPLATES.get_template("report.html")
        .render(
            title=title,
            scan=scan,
            entries=entries,
            measured=measured,
            reference_name=reference_name,
            results=[_measured_result(e) if measured else _result(e) for e in entries],
            position=_minus(position),
            low=_minus(f"{window[0]:.0f}"),
            high=_minus(f"{window[1]:.0f}"),
            difference=f"{DIFFERENCE:.0f}",
            pictures=[
                _pictures(reference_name, reference, None, cursor, window),
                *(
                    _pictures(entry.name, entry.volume, reference, cursor, window, reference_name)
                    for entry in entries
                ),
            ],
            now=f"{now:%Y-%m-%d %H:%M %Z}",
            versions=", ".join(f"{name} {versions[name]}" for name in VERSIONS),
        )
        .encode()
    )


def _result(entry: Entry) -> tuple[str, ...]:
    """Cells of an entry in the table of results."""
    numbers = ["–"] * 3
    if entry.metrics is not None:
        q = entry.metrics
        pairs = ((q.psnr, ".2f"), (q.ssim, ".3f"), (q.rmse_hu, ".0f"))
        numbers = [f"{value:{form}}" if math.isfinite(value) else "–" for value, form in pairs]
    return (entry.name, *numbers, f"{entry.seconds:.1f}", entry.device)


def _measured_result(entry: Entry) -> tuple[str, ...]:
    """Cells of an entry of a measured scan."""
    m = entry.measured
    numbers = ["–"] * 2
    if m is not None:
        pairs = ((m.held_out_relative, 100, ".2f"), (m.difference_hu, 1, ".0f"))
        numbers = ["–" if value is None else f"{value * factor:{form}}" for value, factor, form in pairs]
    return (entry.name, *numbers, f"{entry.seconds:.1f}", entry.device)


def _pictures(
    name: str,
    volume: Volume,
    reference: Volume | None,
    cursor: Triple,
    window: tuple[float, float],
    reference_name: str = "",
) -> dict[str, Any]:
    """A row with the three planes of a volume, and a row with their differences from the reference."""
    hu = volume.hu.detach().cpu().numpy()
    shades = {plane: grey(plane_slice(hu, plane, cursor), window) for plane in PLANES}
    rows = [_row(name, volume, shades)]
    if reference is not None:
        difference = hu - reference.hu.detach().cpu().numpy()
        colours = {plane: signed(plane_slice(difference, plane, cursor), DIFFERENCE) for plane in PLANES}
        rows.append(_row(f"{name} − {reference_name}", volume, colours))
    return {"name": name, "rows": rows}


def _row(name: str, volume: Volume, pictures: Mapping[str, np.ndarray]) -> list[dict[str, str]]:
    size = volume.geometry.size
    row = []
    for plane, pixels in pictures.items():
        down, across = PLANES[plane]
        row.append(
            {
                "alt": f"{name}, {plane}",
                "width": f"{size[across]:.4g}",
                "height": f"{size[down]:.4g}",
                "png": base64.b64encode(png(pixels)).decode(),
            }
        )
    return row


def _minus(text: str) -> str:
    return text.replace("-", "−")
