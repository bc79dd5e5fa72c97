"""Slice viewer: linked planes and volume renderings of one or several volumes, drawn in the browser."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from pages.ui.session import address, state
from tomopatch.progress import Tiles
from tomopatch.volume import Shape, Triple, VolumeGeometry

WINDOWS: dict[str, tuple[int, int]] = {
    "lung": (-600, 1500),
    "soft tissue": (40, 400),
    "bone": (400, 1800),
    "brain": (40, 80),
    "full": (0, 2000),
}
"""Display windows: level and width [HU]."""


Window = str | tuple[float, float]
"""A name in WINDOWS, or level and width [HU]."""


def level_and_width(window: Window) -> tuple[float, float]:
    return WINDOWS[window] if isinstance(window, str) else window


def default_window(source: str) -> str:
    """Return the initial display window for a volume."""
    known = {
        "phantom:thorax": "lung",
        "phantom:abdomen": "soft tissue",
        "phantom:head": "soft tissue",
        "volume:": "soft tissue",  # an uploaded CT volume
    }
    return next((window for name, window in known.items() if source.startswith(name)), "full")


LAYOUTS = ("planes", "side", "changes", "difference", "swipe", "flicker", "render")
Change = tuple[int, int, str]
"""Map of a step's change: indices of the volumes after and before it, and a title."""
MAX_BYTES = 70_000_000
"""Limit for all volumes of one viewer: more takes long to send, and Streamlit refuses over 200 MB."""

_HERE = Path(__file__).parent
_PARTS = (
    "data",
    "field",
    "draw",
    "depth",
    "gestures",
    "layouts",
    "parts",
    "replay",
    "flicker",
    "address",
    "save",
)
_RENDERING = ("presets", "packing", "camera", "shader", "webgl", "raycast", "space")
SCRIPTS = (*(f"viewer_{part}.js" for part in (*_RENDERING, *_PARTS)), "viewer.js")


@dataclass(frozen=True, eq=False)
class ViewerVolume:
    """Volume in the viewer: int16 HU (z, y, x), a name, and a short note.

    Attributes
    ----------
    kind : str
        "volume" is shown in greys, "heat" (a standard deviation) in colours from 0 up.
    of : str
        Name of the volume over which this deviation can be laid; any volume if empty.
    pending : bool
        The volume does not exist yet: its note is shown in its place, and its voxels are ignored.
    """

    name: str
    hu: np.ndarray
    note: str = ""
    kind: str = "volume"
    of: str = ""
    pending: bool = False


@dataclass(frozen=True)
class ViewerState:
    """Settings of the viewer: crosshair as fractions (z, y, x) and window (low, high) [HU].

    `address` holds them all, with zoom and layout, as in the address of the page.
    """

    cursor: Triple
    window: tuple[float, float]
    address: str = ""


@dataclass(frozen=True, eq=False)
class ReplayStep:
    """Step of a replay: a title and the existing volumes, int16 HU (z, y, x), by name."""

    title: str
    volumes: dict[str, np.ndarray]
    tiles: Tiles | None = None


@dataclass(frozen=True)
class ViewerOptions:
    """Options of the viewer.

    Attributes
    ----------
    layouts : sequence of str
        Available layouts from `LAYOUTS`; the first is shown unless `layout` names another.
    window : str or (level, width) [HU]
        Initial display window.
    reference : int
        Index of the volume that is subtracted in differences.
    height : int
        Maximum height of a picture in pixels.
    fixed_height : bool
        Give all pictures together this height whatever their number, so that the content below does not move.
    report : bool
        Send crosshair and window to the server when they change.
    view : str
        Viewers with the same name share position and window; the default is the key of the element.
    cursor : (z, y, x) or None
        Initial crosshair as fractions of the volume; the middle if None.
    fit : bool
        Show the object of the reference with a small margin, until the user chooses the full field.
    air : float
        HU up to which a voxel may be air around the object, for `fit`.
    tiles : Tiles or None
        Tiles to outline on the slices of all volumes except the reference, until the user hides them.
    region : (kind, size [mm]) or None
        Region to outline around the crosshair; see `tomopatch.analysis.regions.Region`.
    changes : sequence of (after, before, title)
        Maps that the layout "changes" adds to the volumes.
    places : sequence of (z, y, x)
        Lesions, as fractions of the volume, to which a button moves the crosshair in turn.
    caption : str
        Line below a downloaded picture of the view: volume and scan.
    """

    layouts: Sequence[str] = ("planes",)
    layout: str | None = None
    window: Window = "soft tissue"
    reference: int = 0
    height: int = 460
    fixed_height: bool = False
    report: bool = False
    view: str = ""
    cursor: Triple | None = None
    fit: bool = False
    air: float = -500.0
    tiles: Tiles | None = None
    region: tuple[str, float] | None = None
    changes: Sequence[Change] = ()
    places: Sequence[Triple] = ()
    caption: str = ""

    def head(self) -> dict[str, Any]:
        """Return the options for the script in the browser."""
        return {
            "layouts": list(self.layouts),
            "layout": self.layout or self.layouts[0],
            "window": level_and_width(self.window),
            "reference": self.reference,
            "height": self.height,
            "fixedHeight": self.fixed_height,
            "report": self.report,
            "cursor": self.cursor,
            "fit": self.fit,
            "air": self.air,
            "tiles": None if self.tiles is None else asdict(self.tiles),
            "region": None if self.region is None else {"kind": self.region[0], "size": self.region[1]},
            "changes": list(self.changes),
            "places": list(self.places),
            "caption": self.caption,
        }


DEFAULTS = ViewerOptions()


def viewer(
    volumes: Sequence[ViewerVolume],
    geometry: VolumeGeometry,
    *,
    key: str,
    options: ViewerOptions = DEFAULTS,
) -> ViewerState | None:
    """Show volumes of one grid and return the viewer's settings once the user has changed them.

    The browser holds position, window and zoom, which therefore survive new volumes. The plane of pictures
    side by side is `state.plane`, which the user changes here.

    Parameters
    ----------
    volumes : sequence of ViewerVolume
        Volumes of one shape. `geometry` may be finer; its extent alone is used.
    key : str
        Key of the element.
    """
    reference = options.reference
    head = options.head() | {
        "names": [v.name for v in volumes],
        "notes": [v.note for v in volumes],
        "kinds": [v.kind for v in volumes],
        "pending": [v.pending for v in volumes],
        "overlays": [_overlay(volumes, i, reference) for i in range(len(volumes))],
        "heat": max((heat_limit(v.hu) for v in volumes if v.kind == "heat" and not v.pending), default=1),
        "frames": [],
        "tiled": [i != reference or len(volumes) == 1 for i in range(len(volumes))],
    }
    return _mount([v.hu for v in volumes], geometry, head, key, options.view)


def replay(
    steps: Sequence[ReplayStep],
    names: Sequence[str],
    geometry: VolumeGeometry,
    *,
    key: str,
    fixed: Sequence[ViewerVolume] = (),
    options: ViewerOptions = DEFAULTS,
) -> ViewerState | None:
    """Show the steps of a run with a slider; `geometry` and `key` as in `viewer`.

    Parameters
    ----------
    names : sequence of str
        Names of the volumes of a step, in their order.
    fixed : sequence of ViewerVolume
        Volumes that are the same in all steps; differences are taken to the first.
    options : ViewerOptions
        Layouts and reference follow from the volumes.
    """
    arrays: list[np.ndarray] = []
    frames: list[dict[str, Any]] = []
    for step in steps:
        indices: list[int] = []
        for name in names:
            indices.append(len(arrays) if name in step.volumes else -1)
            arrays += [step.volumes[name]] if name in step.volumes else []
        tiles = None if step.tiles is None else asdict(step.tiles)
        frames.append({"title": step.title, "indices": indices, "tiles": tiles})
    last = [len(arrays) + i for i in range(len(fixed))]
    for frame in frames:
        frame["indices"] = [*frame["indices"], *last]
    labels = [*names, *(v.name for v in fixed)]
    layouts = [
        "side",
        "planes",
        *(["changes"] if options.changes else []),
        *(["difference", "swipe", "flicker"] if fixed else ["swipe"] if len(names) > 1 else []),
        "render",
    ]
    options = replace(
        options,
        layouts=layouts,
        layout="side" if len(labels) > 1 else "planes",
        reference=len(names) if fixed else 0,
        fixed_height=True,
        report=True,
        fit=bool(fixed),
    )
    head = options.head() | {
        "names": labels,
        "notes": [""] * len(labels),
        "kinds": ["volume"] * len(labels),
        "pending": [False] * len(labels),
        "overlays": [-1] * len(labels),
        "heat": 1,
        "frames": frames,
        "tiled": [i < len(names) for i in range(len(labels))],
    }
    return _mount([*arrays, *(v.hu for v in fixed)], geometry, head, key, options.view)


def placeholder(shape: Shape, name: str, note: str, **options: Any) -> ViewerVolume:
    """Return a pending volume whose note says what it waits for."""
    return ViewerVolume(name, np.full(shape, -1000, "<i2"), note, pending=True, **options)


def _mount(
    volumes: Sequence[np.ndarray], geometry: VolumeGeometry, head: dict[str, Any], key: str, view: str
) -> ViewerState | None:
    note, arrays = fit(volumes)
    shape = arrays[0].shape
    head |= {
        "id": view or key,
        "key": key,
        "shape": shape,
        "grid": geometry.shape,
        "spacing": [s / n for s, n in zip(geometry.size, shape, strict=True)],
        "count": len(arrays),
        "plane": state.plane(),
        "opened": state.opened_view(),
        "windows": WINDOWS,
        "range": 200,
        "note": note,
    }
    pending = {i for i, waits in enumerate(head["pending"]) if waits}  # their voxels are not sent
    mounted = _component()(
        key=key,
        data=pack(head, [a for i, a in enumerate(arrays) if i not in pending]),
        on_view_change=lambda: None,
        on_plane_change=lambda: _take_plane(key),
    )
    seen = getattr(mounted, "view", None)
    if not seen:
        return None
    *numbers, address_text = seen
    z, y, x, level, width = map(float, numbers)
    return ViewerState((z, y, x), (level - width / 2, level + width / 2), str(address_text))


def _take_plane(key: str) -> None:
    """Adopt the plane that the user chose in this viewer."""
    chosen = getattr(st.session_state.get(key), "plane", None)
    if chosen in state.PLANES:
        state.set_plane(chosen)
        address.write()  # a following run of a fragment alone would not write it


def _overlay(volumes: Sequence[ViewerVolume], i: int, reference: int) -> int:
    """Return the index of the deviation that can be laid over volume `i`, or -1."""
    if i == reference or volumes[i].kind != "volume":
        return -1
    matching = (k for k, v in enumerate(volumes) if v.kind == "heat" and v.of in ("", volumes[i].name))
    return next(matching, -1)


def heat_limit(hu: np.ndarray) -> int:
    """Return the upper end of a deviation's colour scale: its 99th percentile, rounded up."""
    top = max(1.0, float(np.percentile(hu, 99)))
    unit = 10 ** math.floor(math.log10(top))
    return int(math.ceil(top / unit) * unit)


def fit(arrays: Sequence[np.ndarray], max_bytes: int = MAX_BYTES) -> tuple[str, list[np.ndarray]]:
    """Return the arrays as int16, subsampled until they fit into `max_bytes`, and a note about it."""
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
    return (
        f"Large volume: the viewer shows every {_ordinal(factor)} voxel. Downloads contain all voxels.",
        out,
    )


def pack(head: dict[str, Any], arrays: Sequence[np.ndarray]) -> bytes:
    """Pack the length of the header, the header (JSON, padded to a multiple of 4 bytes), and the voxels."""
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 4)
    return b"".join(
        [struct.pack("<I", len(text)), text, *(np.ascontiguousarray(a).tobytes() for a in arrays)]
    )


def _ordinal(n: int) -> str:
    return {2: "second", 3: "third"}.get(n, f"{n}th")


@cache
def _component() -> Any:
    # Streamlit accepts a single script, so the files form one module
    script = "\n".join((_HERE / name).read_text("utf-8") for name in SCRIPTS)
    return st.components.v2.component(
        "tomopatch_viewer",
        html='<div class="tv"></div>',
        css=(_HERE / "viewer.css").read_text("utf-8"),
        js=script,
    )
