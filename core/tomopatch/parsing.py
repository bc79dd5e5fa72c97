"""Texts from outside: JSON of files, addresses and uploads, and paths. Read, or a ValueError."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

MAX_CHARACTERS = 8_000_000
"""Longer texts are refused. The largest file that the app writes, an experiment, has a tenth of that."""


def parse_json(text: str | bytes, *, most: int = MAX_CHARACTERS) -> Any:
    """Parse a JSON text of at most `most` characters or bytes.

    Raises
    ------
    ValueError
        If it is longer, not JSON, cut off, or nested too deeply for Python to parse.
    """
    if len(text) > most:
        raise ValueError(f"the JSON has {len(text)} characters; at most {most} are read.")
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deep; expected a few levels.") from None
    except ValueError as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(f"the text is not JSON{where}; it may be damaged or cut off.") from None


def home_path(path: str | Path) -> Path:
    """Return a path, with ~ as the home folder and ~NAME as that of another user.

    Raises
    ------
    ValueError
        If there is no such home folder.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise ValueError(f"the home folder in {str(path)!r} is not known; give the whole path.") from None
