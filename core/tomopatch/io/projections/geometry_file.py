"""JSON file with the geometry of a scan; it completes or replaces the metadata of the projections."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tomopatch.io.projections.projections import QUANTITIES
from tomopatch.parsing import home_path, parse_json
from tomopatch.volume import finite

KEYS: dict[str, str] = {
    "quantity": f"quantity of the values: {', '.join(QUANTITIES)}",
    "order": 'axes of the projections in the file, such as "view,v,u" (the default) or "v,view,u"',
    "rows": '"down" (the default): the first row is at the top of the projection; "up": at the bottom',
    "beam": "parallel, fan (one row) or cone",
    "angles_deg": "list of angles, one per view",
    "angle_start_deg": "first angle of evenly spaced views (default 0)",
    "angle_step_deg": "step between evenly spaced views",
    "angle_sign": "1 (the default), or -1 for the opposite direction of rotation",
    "pixel_size_mm": "edge of a detector pixel: one number, or [v, u]",
    "src_orig_dist_mm": "distance from the source to the rotation axis",
    "src_det_dist_mm": "distance from the source to the detector",
    "rotation_axis_u_px": "column onto which the rotation axis projects; 0 is the centre of the first pixel",
    "middle_row_v_px": "row at the height of the source (cone beam; default: the middle row)",
    "white_level": "counts without object, for files without flat frames",
    "dark_level": "counts without beam, for files without dark frames",
    "air": "transmission of air (default 1)",
    "background": "background level of intensities (default 0)",
    "leave_out": "list of bad views, counted from 0",
    "vectors": "arbitrary geometry in mm: per view 12 numbers, x, y, z of the source (parallel beam: of the"
    " ray direction), the detector's centre, the step to the next column and the step to the next row",
}
"""The keys of a geometry file, with their meaning."""

_TEXTS = {"quantity": tuple(QUANTITIES), "rows": ("down", "up"), "beam": ("parallel", "fan", "cone")}
_LISTS = ("angles_deg", "leave_out", "vectors")
ORDERS = ("view,v,u", "view,u,v", "v,view,u", "v,u,view", "u,view,v", "u,v,view")


def read_geometry_file(source: str | Path | bytes) -> dict[str, Any]:
    """Read a geometry file and check its keys and values.

    Parameters
    ----------
    source : path, or the content as bytes

    Raises
    ------
    ValueError
        If it is not JSON, has an unknown key, or has a value of the wrong type (see KEYS).
    """
    if isinstance(source, bytes):
        name, text = "the geometry file", source
    else:
        path = home_path(source)
        if not path.is_file():
            raise ValueError(f"there is no geometry file {path}; expected a JSON file.")
        name, text = path.name, path.read_bytes()
    try:
        values = parse_json(text)
    except ValueError as error:  # also for text that is not UTF-8
        raise ValueError(f"{name} is not a JSON file ({error}); correct it.") from error
    return checked_keys(values, name)


def checked_keys(values: Any, name: str) -> dict[str, Any]:
    """Return the keys of a geometry file with converted values; `name` begins the error messages.

    Raises
    ------
    ValueError
        For an unknown key or a value of the wrong type (see KEYS).
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{name} must hold an object {{...}}; known keys are {', '.join(KEYS)}.")
    unknown = [key for key in values if key not in KEYS]
    if unknown:
        raise ValueError(f"{name} has the unknown key {unknown[0]!r}; known are {', '.join(KEYS)}.")
    if "angles_deg" in values and "angle_step_deg" in values:
        raise ValueError(f"{name} has angles_deg and angle_step_deg; give one of them.")
    return {key: _value(key, value, name) for key, value in values.items()}


def _value(key: str, value: Any, name: str) -> Any:
    def wrong(expected: str) -> ValueError:
        return ValueError(f"{name}: {key} must be {expected}, got {str(value)[:60]}.")

    if key in _TEXTS:
        if value not in _TEXTS[key]:
            raise wrong(f"one of {', '.join(_TEXTS[key])}")
        return value
    if key == "order":
        text = value.replace(" ", "") if isinstance(value, str) else ""
        if text not in ORDERS:
            raise wrong(f"one of {' '.join(ORDERS)}")
        return text
    if key == "pixel_size_mm":
        pair = [value, value] if not isinstance(value, Sequence) else list(value)
        if len(pair) != 2 or not all(_is_number(p) and p > 0 for p in pair):
            raise wrong("a length above 0 or two of them [v, u]")
        return (float(pair[0]), float(pair[1]))
    if key in _LISTS:
        if not isinstance(value, list) or not value:
            raise wrong("a list")
        if key == "vectors":
            if not all(
                isinstance(row, list) and len(row) == 12 and all(map(_is_number, row)) for row in value
            ):
                raise wrong("a list of lists of 12 numbers")
            return value
        if not all(map(_is_number, value)) or (key == "leave_out" and any(v != int(v) for v in value)):
            raise wrong("a list of numbers" if key == "angles_deg" else "a list of whole numbers")
        return value
    if not _is_number(value) or (key == "angle_sign" and value not in (1, -1)):
        raise wrong("1 or -1" if key == "angle_sign" else "a number")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(finite(value))


def angles_of(keys: Mapping[str, Any], num_views: int) -> list[float] | None:
    """View angles [rad] from these keys; None if the keys state no angles."""
    if "angles_deg" in keys:
        degrees = [float(a) for a in keys["angles_deg"]]
    elif "angle_step_deg" in keys:
        start = keys.get("angle_start_deg", 0.0)
        degrees = [start + keys["angle_step_deg"] * i for i in range(num_views)]
    else:
        return None
    sign = keys.get("angle_sign", 1.0)
    return [sign * math.radians(a) for a in degrees]
