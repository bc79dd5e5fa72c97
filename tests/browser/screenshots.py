"""Pictures of the app that a test leaves behind, to be looked at by people: `artifacts/` in the repository's root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

ARTIFACTS = Path(__file__).parents[2] / "artifacts"
"""Not part of the repository; the checks leave it as it is after the tests."""


def keep(page: Any, name: str) -> Path:
    """A picture of the whole page, under this name; a later one of the same name takes its place."""
    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / f"{name}.png"
    page.screenshot(path=path, full_page=True)
    return path
