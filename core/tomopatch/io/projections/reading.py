"""`read_projections`: one function for all formats; the content of a file shows its format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tomopatch.io.files import File, Source, files_of
from tomopatch.io.projections import hdf5, matlab, mrc, npz, tiff
from tomopatch.io.projections.geometry_file import angles_of, checked_keys, read_geometry_file
from tomopatch.io.projections.projections import Projections
from tomopatch.io.projections.raw import MAX_MB, Raw, check_numbers, check_size
from tomopatch.io.projections.writing import GEOMETRY_NAME
from tomopatch.notes import note
from tomopatch.parsing import home_path

FORMATS = (
    "NPZ, TIFF (folder, zip or several pages), HDF5 (Data Exchange), MATLAB (Helsinki challenge) or MRC with"
    " .tlt or .rawtlt"
)
"""The formats that `read_projections` understands, for messages and help texts."""
_HEAD = 520
_MAX_GEOMETRY = 2**26
"""Largest size of a geometry file next to TIFF files [bytes]."""
_LOOKED_AT = 20
"""Number of files of a folder or zip that are opened to recognise a stack."""


class QuantityError(ValueError):
    """The file does not state the quantity of its values."""


def is_projections(path: str | Path) -> bool:
    """Whether a file or folder holds measured projections; False for output of `tomopatch simulate`."""
    path = home_path(path)
    if not path.exists():
        return False
    try:
        with files_of(path) as files:
            if npz.is_npz(files):
                names = {f.name for f in files}
                return "projections.npy" in names and "about.npy" not in names
            return any(_format(_head(f)) is not None for f in islice(files, _LOOKED_AT))
    except (ValueError, OSError):
        return False


def read_projections(
    source: Source,
    *,
    geometry: str | Path | bytes | Mapping[str, Any] | None = None,
    max_mb: float | None = None,
) -> Projections:
    """Read measured projections.

    Parameters
    ----------
    source : path, open file, (name, bytes), or a list of them
        A file or folder in one of FORMATS. A .tlt or .rawtlt file with the same name as an MRC file is read
        with it.
    geometry : path, bytes, dict or None
        A geometry file (see `geometry_file.KEYS`), its content, or its keys. They complete or replace the
        metadata of the projections.
    max_mb : float or None
        Memory that may be used [MB]; larger projections are refused before they are decoded. None = MAX_MB.

    Raises
    ------
    ValueError
        If the file cannot be read. The message is one sentence that names the file.
    """
    max_mb = MAX_MB if max_mb is None else max_mb
    if isinstance(geometry, Mapping):
        given = checked_keys(geometry, "geometry")
    else:
        given = {} if geometry is None else read_geometry_file(geometry)
    name, source = _named(source)
    with files_of(source) as files:
        raw = _read(files, name, max_mb)
    return _assembled(raw, given, name, max_mb)


def _named(source: Source) -> tuple[str, Source]:
    """Return the name of a source for messages, and the source together with its files of tilt angles."""
    if isinstance(source, str | Path):
        path = home_path(source)
        if not path.exists():
            raise ValueError(f"{path} does not exist; expected {FORMATS}.")
        if path.is_file():
            with path.open("rb") as file:
                is_mrc = mrc.is_mrc(file.read(_HEAD))
            return path.name, [path, *mrc.tilts_beside(path)] if is_mrc else path
        return path.name or str(path), path
    if isinstance(source, tuple) and len(source) == 2 and isinstance(source[0], str):
        return Path(source[0]).name, [source]  # type: ignore[list-item]
    if isinstance(source, Sequence) and source:
        first = source[0]
        return Path(str(first[0] if isinstance(first, tuple) else first)).name, source
    return Path(str(getattr(source, "name", "the upload"))).name, source


def _read(files: Sequence[File], name: str, max_mb: float) -> Raw:
    if npz.is_npz(files):
        return npz.read_npz(files, name, max_mb)
    found: dict[str, list[File]] = {}
    for file in files:
        kind = _format(_head(file))
        if kind is not None:
            found.setdefault(kind, []).append(file)
    if not found:
        raise ValueError(f"{name} holds no projections in a known format; expected {FORMATS}.")
    if len(found) > 1 or (len(files) > 1 and any(k != "tiff" and len(f) > 1 for k, f in found.items())):
        several = ", ".join(f"{len(f)} {kind}" for kind, f in found.items())
        raise ValueError(f"{name} holds several scans ({several} files); choose one of them.")
    kind, matching = next(iter(found.items()))
    if kind == "tiff":
        raw = tiff.read_tiff(matching, name, max_mb)
        for file in files:
            if file.name == GEOMETRY_NAME:
                with file.open() as opened:
                    raw.keys |= read_geometry_file(opened.read(_MAX_GEOMETRY))
        return raw
    with matching[0].open() as opened:
        if kind == "matlab":
            return matlab.read_matlab(opened, name, max_mb)
        if kind == "mrc":
            return mrc.read_mrc(opened, name, max_mb, [f for f in files if f.name.endswith(mrc.TILTS)])
        return hdf5.read_exchange(opened, name, max_mb)


def _head(file: File) -> bytes:
    opened: BinaryIO = file.open()
    with opened:
        return opened.read(_HEAD)


def _format(head: bytes) -> str | None:
    if matlab.is_matlab(head):
        return "matlab"
    if hdf5.is_hdf5(head):
        return "hdf5"
    if tiff.is_tiff(head):
        return "tiff"
    return "mrc" if mrc.is_mrc(head) else None


def _assembled(raw: Raw, given: Mapping[str, Any], name: str, max_mb: float) -> Projections:
    """Projections from a file's content and the keys of a geometry file, which take precedence."""
    keys = _merged(checked_keys(raw.keys, name), given)
    data = raw.data
    if data.ndim == 2:  # one view
        data = data[None]
    if data.ndim != 3:
        raise ValueError(f"{name} has projections of shape {data.shape}; expected three axes.")
    check_numbers(data.dtype, name, "projections")
    check_size(data.shape, 4, name, max_mb)
    axes = keys.get("order", "view,v,u").split(",")
    data = np.ascontiguousarray(data.transpose([axes.index(a) for a in ("v", "view", "u")]), np.float32)
    turned = [a for a in axes if a != "view"] == ["u", "v"]
    dark, flat = (_frames(f, turned) for f in (raw.dark, raw.flat))
    quantity = keys.get("quantity") or ("counts" if flat is not None or "white_level" in keys else None)
    if quantity is None:
        raise QuantityError(
            f"{name} does not state the quantity of its values; write quantity (counts, transmission,"
            " line_integrals or intensity) in a geometry file."
        )
    angles = angles_of(keys, data.shape[1])
    beam = keys.get("beam") or ("cone" if "src_det_dist_mm" in keys else None)
    dark_level = keys.get("background" if quantity == "intensity" else "dark_level", 0.0)
    projections = Projections(
        data,
        quantity,
        angles=None if angles is None else np.asarray(angles, float),
        dark=dark,
        flat=flat,
        white=keys.get("air" if quantity == "transmission" else "white_level"),
        background=dark_level,
        beam="cone" if beam == "fan" else beam,
        pixel_size=keys.get("pixel_size_mm"),
        src_orig_dist=keys.get("src_orig_dist_mm"),
        src_det_dist=keys.get("src_det_dist_mm"),
        axis=keys.get("rotation_axis_u_px"),
        middle_row=keys.get("middle_row_v_px"),
        rows_down=keys.get("rows", "down") == "down",
        vectors=None if "vectors" not in keys else np.asarray(keys["vectors"], float),
        name=name,
        notes=tuple(raw.notes),
    )
    for text in raw.notes:
        note(f"{name}: {text}", stacklevel=4)
    return _without(projections, keys.get("leave_out", []))


def _merged(keys: dict[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the keys. Given keys take precedence; given angles replace all keys of the file about angles."""
    if "angle_step_deg" in given or "angles_deg" in given:
        keys = {k: v for k, v in keys.items() if k not in ("angles_deg", "angle_start_deg", "angle_step_deg")}
    return keys | dict(given)


def _frames(frames: np.ndarray | None, turned: bool) -> np.ndarray | None:
    """Dark or flat frames as float32 (frame, v, u)."""
    if frames is None:
        return None
    if frames.ndim == 2:
        frames = frames[None]
    if turned and frames.ndim == 3:
        frames = frames.transpose(0, 2, 1)
    return np.ascontiguousarray(frames, np.float32)


def _without(projections: Projections, leave_out: Sequence[float]) -> Projections:
    """Projections without these views."""
    if not leave_out:
        return projections
    out = {int(i) for i in leave_out}
    outside = [i for i in out if not 0 <= i < projections.num_views]
    if outside:
        raise ValueError(
            f"leave_out names view {outside[0]}, but {projections.name} has views 0 to"
            f" {projections.num_views - 1}."
        )
    kept = [i for i in range(projections.num_views) if i not in out]
    if not kept:
        raise ValueError(f"leave_out names all views of {projections.name}; expected some to remain.")
    text = f"{len(out)} view{'s' if len(out) > 1 else ''} left out as the geometry file says."
    note(text, stacklevel=5)
    return replace(projections.subset(kept), notes=(*projections.notes, text))
