"""Folders of the store: created as a whole, removed at once, cleaned after killed processes."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import platformdirs

from tomopatch.io.writing import PART, in_use, is_abandoned, patiently
from tomopatch.parsing import home_path

SCHEMA = 1
"""Version of the stored records, which each of them states. No reader depends on it: earlier records are
recognised by the names of their fields.
"""
DAMAGE = (FileNotFoundError, EOFError, ValueError, TypeError, RecursionError)
"""Exceptions for stored files that are missing or cannot be read."""
KINDS = ("runs", "volumes", "scans", "phantoms", "computed")
"""Folders within the store."""


class StoreError(OSError, ValueError):
    """The store's folder cannot be used. The message says what to do."""


class Folders:
    """Folders of several kinds under one root.

    Parameters
    ----------
    root : Path or None
        None = the folder in the environment variable TOMOPATCH_STORE, or the default folder.

    Raises
    ------
    StoreError
        If the root does not exist and cannot be created.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = home_path(root or os.environ.get("TOMOPATCH_STORE") or default_root())
        for folder in ("runs", "volumes"):
            try:
                (self.root / folder).mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StoreError(
                    f"the store {self.root} cannot be written ({error.strerror}); "
                    "set TOMOPATCH_STORE to a folder that you can write."
                ) from error

    def _folder(self, kind: str, name: str, noun: str) -> Path:
        """Return an existing folder, or raise ValueError with `noun` as the name of its kind."""
        if (
            not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,79}", name)
            or not (self.root / kind / name).is_dir()
        ):
            raise ValueError(f"there is no {noun} {name[:80]!r} in the store; it may have been deleted.")
        return self.root / kind / name

    def remove_abandoned(self) -> int:
        """Remove files that killed processes left half written or half deleted; return their size in bytes.

        Files that a live process is writing stay (`tomopatch.io.writing.in_use`).
        """
        candidates = [
            self.root.glob(".*"),
            *(self.root.glob(f"{kind}/**/.*") for kind in KINDS),
        ]
        freed = 0
        for part in [p for found in candidates for p in found if PART.fullmatch(p.name)]:
            with contextlib.suppress(OSError):  # removed meanwhile, or a read-only store
                if is_abandoned(part):
                    freed += sum(p.stat().st_size for p in [part, *part.rglob("*")] if p.is_file())
                    shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink()
        return freed

    @contextmanager
    def _new(self, kind: str, name: str) -> Iterator[Path]:
        """Temporary folder that is renamed when it is complete, and removed after an error."""
        (self.root / kind).mkdir(parents=True, exist_ok=True)
        temporary = self.root / f".new-{kind}-{secrets.token_hex(4)}"
        temporary.mkdir()
        try:
            with in_use(temporary):
                yield temporary
            rename(temporary, self.root / kind / name)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def _remove(self, folder: Path) -> None:
        """Remove a folder; it disappears at once."""
        gone = self.root / f".gone-{secrets.token_hex(4)}"
        patiently(lambda: folder.rename(gone))
        shutil.rmtree(gone, ignore_errors=True)


def default_root() -> Path:
    """Return the default folder of the store, in the user's data folder of this system."""
    # earlier versions used this folder on macOS, too
    earlier = home_path(os.environ.get("XDG_DATA_HOME") or "~/.local/share") / "tomopatch"
    return earlier if earlier.is_dir() else platformdirs.user_data_path("tomopatch", appauthor=False)


def rename(temporary: Path, folder: Path) -> None:
    """Rename a complete folder; one with the same content may exist already."""
    try:
        patiently(lambda: temporary.rename(folder))
    except OSError:  # another process stored the same at the same time
        if not folder.exists():
            raise


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file; None if it cannot be read."""
    try:
        stored = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return stored if isinstance(stored, dict) else None
