"""Reader of MRC tilt series of electron microscopes, with the angles in a .tlt or .rawtlt file.

(Cheng et al. 2015, "MRC2014: Extensions to the MRC format header", J. Struct. Biol. 192, 146)
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tomopatch.io.files import File
from tomopatch.io.projections.raw import Raw, check_size, missing

TILTS = (".tlt", ".rawtlt")
"""Extensions of files with tilt angles. The first one, for angles after alignment, is preferred."""
_BYTES = {0: 1, 1: 2, 2: 4, 6: 2, 12: 2}
"""Bytes per pixel of the modes that hold real numbers."""
_ANGSTROM = 1e-7  # mm


def is_mrc(head: bytes) -> bool:
    """Whether a file with these first bytes is an MRC file."""
    return head[208:211] == b"MAP"


def tilts_beside(path: Path) -> list[Path]:
    """Files of tilt angles with the same name in the same folder."""
    return [p for p in (path.with_suffix(ending) for ending in TILTS) if p.is_file()]


def read_mrc(file: BinaryIO, name: str, max_mb: float, tilts: Sequence[File] = ()) -> Raw:
    """Read a tilt series (view, v, u) as intensities, with the angles of one of the files `tilts`."""
    try:
        from mrcfile.mrcinterpreter import MrcInterpreter
    except ImportError:
        raise missing("mrcfile", "MRC") from None
    _check_header(file, name, max_mb)
    try:
        with MrcInterpreter(iostream=io.BytesIO(file.read()), permissive=True) as mrc:
            data = np.array(mrc.data, dtype=np.float32)
            edge = float(mrc.voxel_size.x), float(mrc.voxel_size.y)
    except (ValueError, OSError, TypeError, RuntimeError, AttributeError) as error:
        raise ValueError(f"{name} cannot be read as MRC ({str(error)[:120]}); it is damaged.") from error
    if data.ndim == 2:
        data = data[None]
    keys: dict[str, Any] = {"quantity": "intensity", "beam": "parallel"}
    if all(math.isfinite(e) and e > 0 for e in edge):
        keys["pixel_size_mm"] = [edge[1] * _ANGSTROM, edge[0] * _ANGSTROM]
    raw = Raw(data, keys=keys)
    if tilts:
        chosen = min(tilts, key=lambda f: not f.name.endswith(TILTS[0]))
        keys["angles_deg"] = _angles(chosen, len(data))
        raw.notes.append(f"the tilt angles come from its {Path(chosen.name).suffix} file.")
    return raw


def _check_header(file: BinaryIO, name: str, max_mb: float) -> None:
    """Refuse a declared size that exceeds the file or the memory limit."""
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(1024)
    file.seek(0)
    if len(head) < 1024:
        raise ValueError(f"{name} ends within its header of 1024 bytes; it is truncated, get it again.")
    order = ">" if head[212] == 0x11 else "<"
    nx, ny, nz, mode = struct.unpack(f"{order}4i", head[:16])
    (extended,) = struct.unpack(f"{order}i", head[92:96])
    if mode not in _BYTES:
        raise ValueError(
            f"{name} has mode {mode}; expected real numbers (modes {', '.join(map(str, _BYTES))})."
        )
    check_size((nz, ny, nx), 4, name, max_mb)
    needed = 1024 + extended + nx * ny * nz * _BYTES[mode]
    if extended < 0 or needed > size:
        raise ValueError(f"{name} has {size} bytes, and its header declares {needed}; it is truncated.")


def _angles(file: File, num_views: int) -> list[float]:
    with file.open() as opened:
        text = opened.read(1 << 22).decode("ascii", "replace").split()
    try:
        angles = [float(word) for word in text]
    except ValueError:
        angles = []
    if len(angles) != num_views or not all(map(math.isfinite, angles)):
        raise ValueError(
            f"{file.name} holds {len(text)} words; expected {num_views} angles in degrees, one per view."
        )
    return angles
