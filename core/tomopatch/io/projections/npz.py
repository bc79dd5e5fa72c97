"""Projections in an .npz: the arrays `projections` and `angles_deg`, and the keys of a geometry file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tomopatch.io.files import File
from tomopatch.io.projections.raw import Raw, check_numbers, check_size

TEXTS = ("quantity", "beam", "order", "rows")
NUMBERS = (
    "white_level", "dark_level", "air", "background", "angle_sign", "src_orig_dist_mm", "src_det_dist_mm",
    "rotation_axis_u_px", "middle_row_v_px",
)  # fmt: skip
ARRAYS = ("projections", "dark", "flat", "angles_deg", "pixel_size_mm", "vectors")
RENAMED = {"haadf_intensity": "intensity"}


def is_npz(files: Sequence[File]) -> bool:
    """Whether these members of a zip are the arrays of an .npz."""
    return bool(files) and all(f.name.endswith(".npy") for f in files)


def read_npz(files: Sequence[File], name: str, max_mb: float) -> Raw:
    """Read the arrays of an .npz; arrays of other names are ignored. Nothing is unpickled."""
    members = {f.name.removesuffix(".npy"): f for f in files}
    if "projections" not in members:
        raise ValueError(f"{name} has no array 'projections'; it has {', '.join(sorted(members)[:9])}.")
    if "about" in members and not {"angles_deg", "vectors"} & set(members):
        raise ValueError(
            f"{name} is a measurement of an earlier version of `tomopatch simulate`, without its geometry as"
            " arrays; read it with tomopatch.runs.measurements.read_measurement."
        )
    arrays = {key: _array(members[key], name, key, max_mb) for key in ARRAYS if key in members}
    scalars = {key: _array(members[key], name, key, max_mb) for key in (*TEXTS, *NUMBERS) if key in members}
    keys: dict[str, Any] = {}
    for key, value in scalars.items():
        if value.size != 1:
            raise ValueError(f"{name} has {key} of shape {value.shape}; expected a single value.")
        item = value.reshape(()).item()
        keys[key] = RENAMED.get(item, item) if key in TEXTS else item
    keys |= {key: arrays[key].tolist() for key in ("angles_deg", "pixel_size_mm", "vectors") if key in arrays}
    return Raw(arrays["projections"], arrays.get("dark"), arrays.get("flat"), keys)


def _array(member: File, name: str, key: str, max_mb: float) -> np.ndarray:
    file = member.open()
    try:
        version = np.lib.format.read_magic(file)
        header = (
            np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = header(file)
        if key in TEXTS:
            if dtype.kind != "U" or dtype.itemsize > 4096:
                raise ValueError(f"{key} is of type {dtype}, expected a text")
        else:
            check_numbers(dtype, name, key)
        if shape:
            check_size(shape, dtype.itemsize, name, max_mb)
        file.seek(0)
        return np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, TypeError, EOFError, OSError, SyntaxError, KeyError) as error:
        if str(error).startswith(name):
            raise
        raise ValueError(f"{name} has an array {key!r} that cannot be read ({error}).") from error
