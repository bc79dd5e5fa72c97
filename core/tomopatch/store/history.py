"""History of a run for replays: figures of every step, and reduced volumes of some steps."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tomopatch.io.writing import write_array, write_bytes
from tomopatch.progress import Step, Tiles
from tomopatch.volume import Shape, area_average, hu_from_mu

FRAMES = {"initial": 4, "": 20}
"""Number of snapshots per stage, in addition to its first and last step."""
SNAPSHOT_VOXELS = 48 * 96 * 96
PARTS = ("noisy", "denoised", "x")
"""Volumes of a step that a snapshot can hold."""
MAX_BYTES = 2 * SNAPSHOT_VOXELS * sum((n + 2) * len(PARTS) for n in FRAMES.values())
"""Largest size of a history."""


@dataclass(frozen=True)
class Point:
    """Index of a step within the run, and its figures, if known."""

    i: int
    total: int
    stage: str = ""
    seconds: float = 0.0
    residual: float | None = None
    sigma: float | None = None
    psnr: float | None = None
    work: float | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """A snapshot: int16 HU (z, y, x) by the names in PARTS, and the tiles of the pass on the run's grid."""

    point: Point
    volumes: dict[str, np.ndarray]
    tiles: Tiles | None = None


@dataclass
class History:
    """Writes snapshots of a run into its folder.

    Parameters
    ----------
    folder : Path
        The run's folder.
    parts : names in PARTS
        Volumes of a step to store.
    count : int
        Number of snapshots to keep, for a resumed run.
    """

    folder: Path
    parts: tuple[str, ...] = PARTS
    count: int = 0
    _index: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        try:
            index = (
                json.loads((self.folder / "history" / "index.json").read_text("utf-8")) if self.count else []
            )
        except (OSError, ValueError):
            index = []  # snapshots are only for viewing; the run continues without the earlier ones
        self._index = index[: self.count]

    def add(self, step: Step, point: Point, *, last: bool = False) -> bool:
        """Store the step if it is the first, the last or one of the evenly spaced ones of its stage.

        Return whether it was stored.
        """
        stride = math.ceil(step.total / FRAMES.get(step.stage, FRAMES[""]))
        if not (last or step.i in (1, step.total) or step.i % stride == 0):
            return False
        if len(self._index) >= sum(n + 2 for n in FRAMES.values()):
            return False
        folder, number = self.folder / "history", len(self._index)
        folder.mkdir(exist_ok=True)
        kept = []
        self.count = number + 1
        for name in self.parts:
            volume = getattr(step, name)
            if volume is not None:
                write_array(folder / f"{number:03d}-{name}.npy", reduced(volume, SNAPSHOT_VOXELS))
                kept.append(name)
        tiles = None if step.tiles is None else asdict(step.tiles)
        self._index.append({"point": asdict(point), "parts": kept, "tiles": tiles})
        write_bytes(folder / "index.json", json.dumps(self._index).encode())
        return True


def read_history(folder: Path) -> list[Frame]:
    """Return the snapshots of a run in order; empty if there are none.

    Raises
    ------
    ValueError
        If the history is damaged.
    """
    index = folder / "history" / "index.json"
    if not index.exists():
        return []
    try:
        frames = []
        for number, entry in enumerate(json.loads(index.read_text("utf-8"))):
            volumes = {
                name: np.load(folder / "history" / f"{number:03d}-{name}.npy", allow_pickle=False)
                for name in entry["parts"]
                if name in PARTS
            }
            tiles = entry["tiles"]
            if tiles is not None:
                edges = tiles["size"]  # a single number in stores of an earlier version
                depth, height, width = edges if isinstance(edges, list) else [edges] * 3
                tiles = Tiles(
                    (int(depth), int(height), int(width)),
                    tuple((int(z), int(y), int(x)) for z, y, x in tiles["starts"]),
                )
            frames.append(Frame(Point(**entry["point"]), volumes, tiles))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ValueError(f"the history of this run is damaged ({error}); run it again.") from error
    return frames


def write_trace(folder: Path, points: list[Point]) -> None:
    """Store the figures of all steps."""
    write_bytes(folder / "trace.json", json.dumps([asdict(p) for p in points]).encode())


def read_trace(folder: Path) -> tuple[Point, ...]:
    """Return the figures of all steps; empty if there are none."""
    try:
        return tuple(Point(**stored) for stored in json.loads((folder / "trace.json").read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return ()


def reduced(x: Tensor, max_voxels: int) -> np.ndarray:
    """A volume mu (z, y, x) as int16 HU, averaged onto a coarser grid if it has more than `max_voxels`."""
    return int16_hu(area_average(x, reduced_shape((x.shape[0], x.shape[1], x.shape[2]), max_voxels)))


def reduced_shape(shape: Shape, max_voxels: int) -> Shape:
    """The finest grid of the same proportions with at most `max_voxels` voxels."""
    scale = min(1.0, (max_voxels / math.prod(shape)) ** (1 / 3))
    z, y, x = (max(1, math.floor(n * scale + 1e-9)) for n in shape)
    return z, y, x


def int16_hu(x: Tensor) -> np.ndarray:
    """A volume mu [1/mm] as whole HU."""
    return hu_from_mu(x).clamp(-32000, 32000).round().to(torch.int16).cpu().numpy()
