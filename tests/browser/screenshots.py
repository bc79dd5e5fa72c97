"""Pictures of the app for manual inspection, in `artifacts/` in the repository's root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ARTIFACTS = Path(__file__).parents[2] / "artifacts"
"""Folder outside of version control; it remains after the tests."""


def keep(page: Any, name: str) -> Path:
    """Save a picture of the whole page under this name; it replaces an earlier one."""
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path
