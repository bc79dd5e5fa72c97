"""The slice viewer: linked planes of one or several volumes, drawn in the browser."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from core.volume import VolumeGeometry

WINDOWS: dict[str, tuple[int, int]] = {
    "lung": (-600, 1500),
    "soft tissue": (40, 400),
    "bone": (400, 1800),
    "brain": (40, 80),
    "full": (0, 2000),
}
"""Level and width [HU]."""


def window_for(source: str) -> str:
    """The preset to begin with, by the volume's name."""
    known = {"phantom:thorax": "lung", "phantom:abdomen": "soft tissue", "phantom:head": "full"}
    return next((window for name, window in known.items() if source.startswith(name)), "full")


LAYOUTS = ("planes", "side", "difference", "swipe")
MAX_BYTES = 70_000_000
"""Of all volumes of one viewer together: more takes too long to send, and beyond 200 MB is refused."""

_HERE = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class Shown:
    """A volume as the viewer takes it: int16 HU (z, y, x), with a name and a short note beside it."""

    name: str
    hu: np.ndarray
    note: str = ""


def viewer(
    volumes: Sequence[Shown],
    geometry: VolumeGeometry,
    *,
    key: str,
    layouts: Sequence[str] = ("planes",),
    layout: str | None = None,
    window: str = "soft tissue",
    reference: int = 0,
    height: int = 460,
    report: bool = False,
    view: str = "",
) -> tuple[float, float, float] | None:
    """Show volumes of one grid; returns the crosshair where it was moved to, as fractions (z, y, x).

    Position, window and zoom live in the browser: they stay when the volumes are replaced.

    Parameters
    ----------
    volumes : sequence of Shown
        All of one shape; `geometry` may be finer, only its extent counts.
    key : str
        Of the element.
    layouts : sequence of str
        Those offered, of `LAYOUTS`; the first is shown unless `layout` names another.
    reference : int
        Index of the volume that differences are taken to.
    height : int
        At most so many pixels a picture.
    report : bool
        Send the crosshair to the server when it is moved.
    view : str
        Elements with the same name share position and window; the key unless given.
    """
    note, arrays = fit([v.hu for v in volumes])
    shape = arrays[0].shape
    head: dict[str, Any] = {
        "id": view or key,
        "shape": shape,
        "spacing": [s / n for s, n in zip(geometry.size, shape, strict=True)],
        "names": [v.name for v in volumes],
        "notes": [v.note for v in volumes],
        "layouts": list(layouts),
        "layout": layout or layouts[0],
        "plane": "axial",
        "window": WINDOWS[window],
        "windows": WINDOWS,
        "range": 200,
        "reference": reference,
        "height": height,
        "report": report,
        "note": note,
    }
    mounted = _component()(key=key, data=pack(head, arrays), on_cursor_change=lambda: None)
    moved = getattr(mounted, "cursor", None)
    return None if not moved else (float(moved[0]), float(moved[1]), float(moved[2]))


def fit(arrays: Sequence[np.ndarray], max_bytes: int = MAX_BYTES) -> tuple[str, list[np.ndarray]]:
    """The arrays as int16, halved until they can be sent, and a word about it."""
    shapes = {a.shape for a in arrays}
    if len(shapes) != 1:
        raise ValueError(f"the viewer shows volumes of one grid, got {sorted(shapes)}; resample them to one.")
    out = [np.asarray(a, "<i2") for a in arrays]
    factor = 1
    while sum(a.nbytes for a in out) > max_bytes:
        factor += 1
        out = [np.ascontiguousarray(a[::factor, ::factor, ::factor], "<i2") for a in arrays]
    if factor == 1:
        return "", out
    return f"Large volume: every {_ordinal(factor)} voxel is shown; downloads keep all of them.", out


def pack(head: dict[str, Any], arrays: Sequence[np.ndarray]) -> bytes:
    """Length of the header, the header (JSON, padded to an even length), then the voxels of each volume."""
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 4)
    return b"".join(
        [struct.pack("<I", len(text)), text, *(np.ascontiguousarray(a).tobytes() for a in arrays)]
    )


def _ordinal(n: int) -> str:
    return {2: "second", 3: "third"}.get(n, f"{n}th")


@cache
def _component() -> Any:
    # the two scripts are one module: a component takes a single text
    script = "\n".join((_HERE / name).read_text("utf-8") for name in ("viewer_draw.js", "viewer.js"))
    return st.components.v2.component(
        "tomopatch_viewer",
        html='<div class="tv"></div>',
        css=(_HERE / "viewer.css").read_text("utf-8"),
        js=script,
    )
