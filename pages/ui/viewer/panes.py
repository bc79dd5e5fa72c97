"""The slice viewer: linked planes of one or several volumes, drawn in the browser."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from pages.ui.session import state
from tomopatch.progress import Tiles
from tomopatch.volume import Shape, Triple, VolumeGeometry

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


LAYOUTS = ("planes", "side", "changes", "difference", "swipe", "flicker")
Change = tuple[int, int, str]
"""A map of a step's change: indices of the volume after and before it, and a title."""
MAX_BYTES = 70_000_000
"""Of all volumes of one viewer together: more takes too long to send, and beyond 200 MB is refused."""

_HERE = Path(__file__).parent


@dataclass(frozen=True, eq=False)
class Shown:
    """A volume as the viewer takes it: int16 HU (z, y, x), with a name and a short note beside it.

    kind: "volume" is shown in greys, "heat" (a deviation) in colours from 0 up.
    of: the name of the volume whose deviation it is, over which it can be laid; of all if not given.
    pending: it is not there yet; in its place stands its note, and no picture is made of these voxels.
    """

    name: str
    hu: np.ndarray
    note: str = ""
    kind: str = "volume"
    of: str = ""
    pending: bool = False


@dataclass(frozen=True)
class Seen:
    """What the viewer is set to: the crosshair as fractions (z, y, x), and the window [HU]."""

    cursor: Triple
    window: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Scene:
    """A moment of a replay: int16 HU (z, y, x) by the names of the volumes, where there is one, and a title."""

    title: str
    volumes: dict[str, np.ndarray]
    tiles: Tiles | None = None


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
    steady: bool = False,
    report: bool = False,
    view: str = "",
    tiles: Tiles | None = None,
    region: tuple[str, float] | None = None,
    changes: Sequence[Change] = (),
) -> Seen | None:
    """Show volumes of one grid; returns what it was set to, once something was moved.

    Position, window and zoom live in the browser: they stay when the volumes are replaced. The plane of pictures side by
    side is `state.plane`, which a person changes here.

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
    steady : bool
        All pictures together are always as high as that, however many there are: what follows stays in its place.
    report : bool
        Send crosshair and window to the server when they change.
    view : str
        Elements with the same name share position and window; the key unless given.
    tiles : Tiles or None
        Drawn over the slices of all but the reference, until the person hides them.
    region : (kind, size [mm]) or None
        Outlined about the crosshair; see `tomopatch.analysis.regions.Region`.
    changes : sequence of (after, before, title)
        Maps that the layout "changes" shows beside the volumes.
    """
    head = {
        "names": [v.name for v in volumes],
        "notes": [v.note for v in volumes],
        "kinds": [v.kind for v in volumes],
        "pending": [v.pending for v in volumes],
        "veils": [_veil(volumes, i, reference) for i in range(len(volumes))],
        "heat": max((heat_top(v.hu) for v in volumes if v.kind == "heat" and not v.pending), default=1),
        "layouts": list(layouts),
        "layout": layout or layouts[0],
        "window": WINDOWS[window],
        "reference": reference,
        "height": height,
        "steady": steady,
        "report": report,
        "frames": [],
        "region": None if region is None else {"kind": region[0], "size": region[1]},
        "changes": list(changes),
        "passed": [i != reference or len(volumes) == 1 for i in range(len(volumes))],
        "tiles": None if tiles is None else asdict(tiles),
    }
    return _mount([v.hu for v in volumes], geometry, head, key, view)


def replay(
    scenes: Sequence[Scene],
    names: Sequence[str],
    geometry: VolumeGeometry,
    *,
    key: str,
    fixed: Sequence[Shown] = (),
    window: str = "soft tissue",
    height: int = 460,
    view: str = "",
    changes: Sequence[Change] = (),
) -> Seen | None:
    """Show the moments of a run, which a slider in the browser goes through; like `viewer` else.

    names : sequence of str
        The volumes of a scene, in their order.
    fixed : sequence of Shown
        Volumes that stay the same; the first is what differences are taken to.
    """
    arrays: list[np.ndarray] = []
    frames: list[dict[str, Any]] = []
    for scene in scenes:
        at: list[int] = []
        for name in names:
            at.append(len(arrays) if name in scene.volumes else -1)
            arrays += [scene.volumes[name]] if name in scene.volumes else []
        tiles = None if scene.tiles is None else asdict(scene.tiles)
        frames.append({"title": scene.title, "at": at, "tiles": tiles})
    last = [len(arrays) + i for i in range(len(fixed))]
    for frame in frames:
        frame["at"] = [*frame["at"], *last]
    labels = [*names, *(v.name for v in fixed)]
    layouts = [
        "side",
        "planes",
        *(["changes"] if changes else []),
        *(["difference", "swipe", "flicker"] if fixed else ["swipe"] if len(names) > 1 else []),
    ]
    head = {
        "names": labels,
        "notes": [""] * len(labels),
        "kinds": ["volume"] * len(labels),
        "pending": [False] * len(labels),
        "veils": [-1] * len(labels),
        "heat": 1,
        "layouts": layouts,
        "layout": "side" if len(labels) > 1 else "planes",
        "window": WINDOWS[window],
        "reference": len(names) if fixed else 0,
        "height": height,
        "steady": True,
        "report": True,
        "frames": frames,
        "passed": [i < len(names) for i in range(len(labels))],
        "changes": list(changes),
        "tiles": None,
    }
    return _mount([*arrays, *(v.hu for v in fixed)], geometry, head, key, view)


def waiting(shape: Shape, name: str, note: str, **options: Any) -> Shown:
    """The place of a volume that is not there yet, and why."""
    return Shown(name, np.full(shape, -1000, "<i2"), note, pending=True, **options)


def _mount(
    volumes: Sequence[np.ndarray], geometry: VolumeGeometry, head: dict[str, Any], key: str, view: str
) -> Seen | None:
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
        "windows": WINDOWS,
        "range": 200,
        "note": note,
    }
    pending = {i for i, waits in enumerate(head["pending"]) if waits}  # of which there is nothing to be sent
    mounted = _component()(
        key=key,
        data=pack(head, [a for i, a in enumerate(arrays) if i not in pending]),
        on_view_change=lambda: None,
        on_plane_change=lambda: _take_plane(key),
    )
    seen = getattr(mounted, "view", None)
    if not seen:
        return None
    z, y, x, level, width = (float(value) for value in seen)
    return Seen((z, y, x), (level - width / 2, level + width / 2))


def _take_plane(key: str) -> None:
    """The person chose a plane in this viewer."""
    chosen = getattr(st.session_state.get(key), "plane", None)
    if chosen in state.PLANES:
        state.set_plane(chosen)
        state.write_url()  # what follows may be a run of a fragment alone


def _veil(volumes: Sequence[Shown], i: int, reference: int) -> int:
    """The index of the deviation that can be laid over volume `i`, or -1."""
    if i == reference or volumes[i].kind != "volume":
        return -1
    mine = (k for k, v in enumerate(volumes) if v.kind == "heat" and v.of in ("", volumes[i].name))
    return next(mine, -1)


def heat_top(hu: np.ndarray) -> int:
    """Where the colours of a deviation end: a round number that all but a hundredth of the voxels stay below."""
    top = max(1.0, float(np.percentile(hu, 99)))
    unit = 10 ** math.floor(math.log10(top))
    return int(math.ceil(top / unit) * unit)


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
    # the scripts are one module: a component takes a single text
    parts = ("data", "draw", "depth", "gestures", "layouts", "parts", "replay", "flicker")
    names = (*(f"viewer_{part}.js" for part in parts), "viewer.js")
    script = "\n".join((_HERE / name).read_text("utf-8") for name in names)
    return st.components.v2.component(
        "tomopatch_viewer",
        html='<div class="tv"></div>',
        css=(_HERE / "viewer.css").read_text("utf-8"),
        js=script,
    )
