"""A comparison as one HTML file to print or to send: no scripts, nothing fetched, pictures inside."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from pathlib import Path

import numpy as np

from tomopatch.analysis.metrics import Quality
from tomopatch.export.pictures import PLANES, grey, plane_slice, png, signed
from tomopatch.export.slices import WINDOW
from tomopatch.runs.versions import made_with
from tomopatch.volume import Triple, Volume

VERSIONS = ("tomopatch", "python", "torch", "numpy")
DIFFERENCE = 200.0
"""HU at which the colours of a difference end."""
_STYLE = Path(__file__).with_name("report.css")


@dataclass(frozen=True, eq=False)
class Entry:
    """A run in the report. `settings` are all of the method's, by the names that people see."""

    name: str
    volume: Volume
    settings: Mapping[str, str]
    scan: str
    metrics: Quality | None
    seconds: float
    device: str


def report_html(
    title: str,
    scan: Mapping[str, str],
    reference: Volume,
    entries: Sequence[Entry],
    *,
    now: datetime,
    cursor: Triple = (0.5, 0.5, 0.5),
    window: tuple[float, float] = WINDOW,
) -> bytes:
    """The report in UTF-8. All texts may come from files: none of them becomes markup.

    Parameters
    ----------
    title : str
        The volume's name.
    scan : mapping of str to str
        What was scanned and how, a line each.
    entries : sequence of Entry
        Their volumes on the reference's grid.
    cursor : fractions (z, y, x)
        Where the slices are.
    window : (low, high) [HU]
    """
    for entry in entries:
        if entry.volume.shape != reference.shape:
            raise ValueError(
                f"{entry.name} has shape {entry.volume.shape} but the reference {reference.shape}; "
                "resample one to the other's grid."
            )
    place = ", ".join(
        f"{axis} {(f - 0.5) * size:.0f}"
        for axis, f, size in zip("zyx", cursor, reference.geometry.size, strict=True)
    )
    low, high = window
    parts = [
        f"<h1>{escape(title)}: {len(entries)} reconstruction{'' if len(entries) == 1 else 's'}</h1>",
        '<p class="warning"><b>Not for diagnosis.</b> The scan is simulated; reconstructions can show what is not '
        "there and hide what is.</p>",
        "<h2>Scan</h2>",
        _pairs(scan),
        "<h2>Results</h2>",
        _results(entries),
        "<p>PSNR, SSIM and RMSE against the reference on the reconstruction grid, both clipped to "
        "[−1000, 1000] HU; PSNR over a range of 2000 HU.</p>",
        "<h2>Pictures</h2>",
        f"<p>Slices at {_minus(place)} mm from the centre, from {_minus(f'{low:.0f}')} (black) to "
        f"{_minus(f'{high:.0f}')} HU (white). Differences "
        f"(run − reference) from −{DIFFERENCE:.0f} (blue) to +{DIFFERENCE:.0f} HU (red).</p>",
        _pictures("Reference", reference, None, cursor, window),
        *(_pictures(e.name, e.volume, reference, cursor, window) for e in entries),
        "<h2>Methods and settings</h2>",
        *(
            f"<section><h3>{escape(e.name)}</h3>{_pairs({'Scan': e.scan, **e.settings})}</section>"
            for e in entries
        ),
        f"<footer>TomoPatch, {now:%Y-%m-%d %H:%M %Z}. {escape(', '.join(f'{name} {made_with()[name]}' for name in VERSIONS))}. Not for diagnosis.</footer>",
    ]
    return _page(f"TomoPatch: {title}", "\n".join(parts)).encode()


def _page(title: str, body: str) -> str:
    # the policy forbids whatever a slip could let in: scripts, and requests of any kind
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>{escape(title)}</title>
<style>
{_STYLE.read_text("utf-8")}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _pairs(rows: Mapping[str, str]) -> str:
    cells = "".join(f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in rows.items())
    return f'<table class="pairs">{cells}</table>'


def _results(entries: Sequence[Entry]) -> str:
    head = "".join(f"<th>{h}</th>" for h in ("Method", "PSNR, dB", "SSIM", "RMSE, HU", "Time, s", "Device"))
    rows = []
    for e in entries:
        q = e.metrics
        numbers = ["–"] * 3
        if q is not None:
            pairs = ((q.psnr, ".2f"), (q.ssim, ".3f"), (q.rmse_hu, ".0f"))
            numbers = [f"{value:{form}}" if math.isfinite(value) else "–" for value, form in pairs]
        cells = (e.name, *numbers, f"{e.seconds:.1f}", e.device)
        rows.append("<tr>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
    return f'<table class="results"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _pictures(
    name: str, volume: Volume, reference: Volume | None, cursor: Triple, window: tuple[float, float]
) -> str:
    """A row of the three planes, and below it their differences from the reference."""
    hu = volume.hu.detach().cpu().numpy()
    shades = {plane: grey(plane_slice(hu, plane, cursor), window) for plane in PLANES}
    rows = [_row(name, volume, shades)]
    if reference is not None:
        gap = hu - reference.hu.detach().cpu().numpy()
        colours = {plane: signed(plane_slice(gap, plane, cursor), DIFFERENCE) for plane in PLANES}
        rows.append(_row(f"{name} − Reference", volume, colours))
    return f'<section class="pictures"><h3>{escape(name)}</h3>{"".join(rows)}</section>'


def _row(name: str, volume: Volume, pictures: Mapping[str, np.ndarray]) -> str:
    size = volume.geometry.size
    cells = []
    for plane, pixels in pictures.items():
        down, across = PLANES[plane]
        data = base64.b64encode(png(pixels)).decode()
        alt = escape(f"{name}, {plane}")
        # widths as the extents are, so that one millimetre is as long in all three
        cells.append(
            f'<figure style="flex: {size[across]:.4g}"><img alt="{alt}" style="aspect-ratio: '
            f'{size[across]:.4g} / {size[down]:.4g}" src="data:image/png;base64,{data}">'
            f"<figcaption>{alt}</figcaption></figure>"
        )
    return f'<div class="row">{"".join(cells)}</div>'


def _minus(text: str) -> str:
    return text.replace("-", "−")
