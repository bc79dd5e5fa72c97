"""Files of a CT volume in a folder, a zip or uploads. Nothing is ever unpacked to disk.

The sizes and counts that an archive declares are checked before any of it is unpacked.
"""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from tomopatch.parsing import home_path

MAX_FILES = 20_000
MAX_BYTES = 4 * 1024**3
"""Limits for one CT volume: number of files, and bytes of all files together, unpacked."""
MAX_RATIO, RATIO_FROM = 200, 64 << 20
"""An archive is refused if it grows by more than this ratio and to more than this number of bytes."""

_DAMAGED = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,
    OSError,
    ValueError,
)
"""Exceptions that zipfile raises on damaged members."""

Upload = tuple[str, bytes | BinaryIO]
Source = str | Path | BinaryIO | Sequence[Upload | str | Path]


class File(NamedTuple):
    """Bare name of a file, a function that opens it for reading, and its folder within the source."""

    name: str
    open: Callable[[], BinaryIO]
    folder: str = ""


@contextmanager
def files_of(source: Source) -> Iterator[list[File]]:
    """Files of a folder (with subfolders), a zip or one file, or of paths and uploads in any order."""
    archives: list[zipfile.ZipFile] = []
    try:
        if isinstance(source, (str, Path)) or hasattr(source, "read"):
            source = [source]  # type: ignore[list-item]
        found = [file for item in source for file in _of_item(item, archives)]
        if len(found) > MAX_FILES:
            raise ValueError(f"there are {len(found)} files; expected one CT volume, at most {MAX_FILES}.")
        yield found
    finally:
        for archive in archives:
            archive.close()


def _of_item(item: Any, archives: list[zipfile.ZipFile]) -> list[File]:
    """Files of a path, of an open file, or of a name with its content."""
    if isinstance(item, (str, Path)):
        return _on_disk(home_path(item), archives)
    if hasattr(item, "read"):
        return _uploaded(Path(str(getattr(item, "name", "the upload"))).name, item, archives)
    if not isinstance(item, tuple) or len(item) != 2:
        raise TypeError(f"expected a path, an open file, or (name, bytes), got {type(item).__name__}.")
    return _uploaded(*item, archives)


def _on_disk(path: Path, archives: list[zipfile.ZipFile]) -> list[File]:
    if path.is_dir():
        paths = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        total = sum(p.stat().st_size for p in paths[: MAX_FILES + 1])
        if total > MAX_BYTES:
            raise ValueError(
                f"{path} holds {total / 1e9:.1f} GB; expected one volume, at most {MAX_BYTES / 1e9:.1f} GB."
            )
        return [
            File(p.name, lambda p=p: p.open("rb"), str(p.parent.relative_to(path)))  # type: ignore[misc]
            for p in paths
        ]
    if not path.is_file():
        raise ValueError(f"{path} does not exist; expected a folder or a .zip of DICOM files.")
    if zipfile.is_zipfile(path):
        return _zipped(path.name, path, archives)
    if path.suffix.lower() == ".zip" and not _has_preamble(path):
        raise ValueError(f"{path.name} is named .zip but is not a zip archive; it is damaged, get it again.")
    return [File(path.name, lambda: path.open("rb"))]


def _has_preamble(path: Path) -> bool:
    """Whether a file begins like DICOM."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def _uploaded(name: str, content: bytes | BinaryIO, archives: list[zipfile.ZipFile]) -> list[File]:
    name = Path(name.replace("\\", "/")).name
    if isinstance(content, (bytes, bytearray, memoryview)):
        content = io.BytesIO(content)
    content.seek(0)
    if content.read(4) == b"PK\x03\x04":
        return _zipped(name, content, archives)
    return [File(name, lambda: _rewound(content))]


def _zipped(name: str, content: Path | BinaryIO, archives: list[zipfile.ZipFile]) -> list[File]:
    try:
        archive = zipfile.ZipFile(content)
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(
            f"{name} is not a readable zip archive ({error}); it is damaged, get it again."
        ) from error
    archives.append(archive)
    members = [m for m in archive.infolist() if m.filename and not m.is_dir()]
    declared, packed = sum(m.file_size for m in members), sum(m.compress_size for m in members)
    if len(members) > MAX_FILES or declared > MAX_BYTES:
        raise ValueError(
            f"{name} declares {len(members)} files of {declared / 1e9:.1f} GB together; expected one volume, "
            f"at most {MAX_FILES} files of {MAX_BYTES / 1e9:.1f} GB."
        )
    if declared > RATIO_FROM and declared > MAX_RATIO * packed:
        raise ValueError(
            f"{name} would grow from {packed / 1e6:.1f} to {declared / 1e6:.0f} MB when unpacked; expected "
            f"less than {MAX_RATIO} times; it is not a CT volume."
        )
    _check_overlap(name, members)
    if any(m.flag_bits & 1 for m in members):
        raise ValueError(f"{name} is encrypted; unpack it and choose the folder.")
    shown = [m for m in members if not Path(m.filename).name.startswith((".", "__MACOSX"))]
    return [
        File(
            Path(m.filename).name,
            lambda m=m: _unpacked(name, archive, m),  # type: ignore[misc]
            str(Path(m.filename).parent),
        )
        for m in shown
    ]


def _check_overlap(name: str, members: list[zipfile.ZipInfo]) -> None:
    """Refuse members that overlap: many could be unpacked from the same few bytes."""
    end = 0
    for member in sorted(members, key=lambda m: m.header_offset):
        if member.header_offset < end:
            raise ValueError(f"{name} has overlapping files ({member.filename[:64]}); it is not a CT volume.")
        end = member.header_offset + 30 + member.compress_size  # 30: a local header without names


def _unpacked(name: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> BinaryIO:
    """One member in memory; zipfile stops at the declared size, which was checked."""
    try:
        with archive.open(member) as file:
            return io.BytesIO(file.read(member.file_size))
    except _DAMAGED as error:
        raise ValueError(
            f"{member.filename} in {name} cannot be unpacked ({error}); get the archive again."
        ) from error


def _rewound(content: BinaryIO) -> BinaryIO:
    content.seek(0)
    return io.BytesIO(content.read())
