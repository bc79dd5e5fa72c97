"""Projections as TIFF: one file per view in a folder or zip, or several pages in one file."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from tomopatch.io.files import File
from tomopatch.io.projections.raw import Raw, check_numbers, check_size, missing

DARK = re.compile(r"dark|(^|[^a-z])(di|df)(?=[^a-z]|$)", re.IGNORECASE)
FLAT = re.compile(r"flat|white|open|bright|(^|[^a-z])(io|ff|ob)(?=[^a-z]|$)", re.IGNORECASE)
"""Patterns for names of files or folders with dark frames and with flat frames."""
MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def is_tiff(head: bytes) -> bool:
    """Whether a file with these first bytes is a TIFF."""
    return head[:4] in MAGIC


def read_tiff(files: Sequence[File], name: str, max_mb: float) -> Raw:
    """Read a stack: files in the order of the numbers in their names, each with one or more pages.

    A file whose name or folder matches DARK or FLAT holds frames without beam or without object.
    """
    try:
        import tifffile
    except ImportError:
        raise missing("tifffile", "TIFF") from None
    kinds: dict[str, list[File]] = {"data": [], "dark": [], "flat": []}
    for file in sorted(files, key=_natural):
        where = f"{file.folder}/{file.name}"
        kinds["dark" if DARK.search(where) else "flat" if FLAT.search(where) else "data"].append(file)
    if len(files) == 1 or not kinds["data"]:  # a single file is the scan, whatever its name is
        kinds = {"data": sorted(files, key=_natural), "dark": [], "flat": []}
    stacks = {kind: _stack(tifffile, group, name, max_mb) for kind, group in kinds.items() if group}
    raw = Raw(stacks["data"], stacks.get("dark"), stacks.get("flat"))
    for kind in ("dark", "flat"):
        if kinds[kind]:
            count = len(stacks[kind])
            raw.notes.append(f"{count} {kind} frame{'s' if count > 1 else ''} by the file names.")
    return raw


def _natural(file: File) -> list[tuple[int, int, str]]:
    """Sort key under which view2 comes before view10."""
    parts = re.split(r"(\d+)", f"{file.folder}/{file.name}")
    return [(1, int(part), "") if part.isdigit() else (0, 0, part.lower()) for part in parts]


def _stack(tifffile: Any, files: Sequence[File], name: str, max_mb: float) -> np.ndarray:
    """All pages of all files: (page, row, column), float32."""
    stack: np.ndarray | None = None
    filled = 0
    for file in files:
        try:
            with tifffile.TiffFile(file.open()) as tiff:
                pages = tiff.pages
                first = pages[0]
                count = len(pages)
                if stack is None:
                    total = count if len(files) == 1 else max(count, 1) * len(files)
                    _check_page(first, file.name)
                    check_size((total, *first.shape), first.dtype.itemsize, name, max_mb)
                    stack = np.empty((total, *first.shape), np.float32)
                for k in range(count):
                    page = pages[k]
                    _check_page(page, file.name)
                    if page.shape != stack.shape[1:]:
                        raise ValueError(
                            f"{file.name} has an image of {page.shape} pixels, the first one has"
                            f" {stack.shape[1:]}; expected equal sizes."
                        )
                    if filled == len(stack):
                        raise ValueError(
                            f"{file.name} has more pages than the first file; expected equal numbers."
                        )
                    stack[filled] = page.asarray()
                    filled += 1
        except ValueError as error:
            if str(error).startswith((name, file.name)):
                raise
            raise _damaged(file.name, error) from error
        except (OSError, EOFError, KeyError, IndexError, TypeError, AttributeError, RuntimeError,
                ImportError, MemoryError, OverflowError, ArithmeticError, AssertionError,
                tifffile.TiffFileError) as error:  # fmt: skip
            raise _damaged(file.name, error) from error
    assert stack is not None
    return stack[:filled]


def _check_page(page: Any, name: str) -> None:
    if page.dtype is None or len(page.shape) != 2:
        raise ValueError(f"{name} has an image of shape {page.shape}; expected grey values (row, column).")
    check_numbers(page.dtype, name, "pixels")
    check_size(page.shape, 4, name, 4096.0)


def _damaged(name: str, error: Exception) -> ValueError:
    return ValueError(f"{name} cannot be read as TIFF ({str(error)[:120]}); it is damaged, get it again.")
