"""Headers of DICOM files, and the grouping of files into series.

Copies and images of another kind are left out of a series, with a note; several acquisitions in a series are
separated.
"""

from __future__ import annotations

import re
import struct
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, BinaryIO

import pydicom
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.uid import DeflatedExplicitVRLittleEndian

from tomopatch.io.files import File
from tomopatch.notes import note

_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "Manufacturer", "ImageType",
    "SeriesNumber", "SeriesDescription", "AcquisitionNumber", "AcquisitionDateTime", "AcquisitionDate",
    "AcquisitionTime",
    "Rows", "Columns", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "RescaleSlope", "RescaleIntercept", "RescaleType", "SamplesPerPixel", "PhotometricInterpretation",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
"""The tags that are read. None identifies the patient; times serve only to separate acquisitions."""
DAMAGE = (ValueError, TypeError, AttributeError, LookupError, EOFError, OverflowError, NotImplementedError)
MALFORMED = (*DAMAGE, struct.error, BytesLengthException)
"""Exceptions that pydicom raises on damaged files."""

Header = tuple[File, Dataset]


@dataclass(frozen=True)
class Series:
    """One series of a source; `shape` is (slices, rows, columns). `read_dicom` reads the default one."""

    uid: str
    description: str
    modality: str
    num_slices: int
    shape: tuple[int, int, int]
    is_default: bool = False


def headers_by_series(files: list[File]) -> dict[str, list[Header]]:
    """Headers of the image files by series, or by acquisition if a series holds several; no localizers.

    The key is the UID of the series, followed by the number of the acquisition if there are several.

    Raises
    ------
    ValueError
        If no file holds an image.
    """
    series: dict[str, list[Header]] = defaultdict(list)
    localizers = skipped = 0
    others = set()
    for file in files:
        header = _header(file)
        if header is None:
            skipped += 1
        elif "Rows" not in header or "Columns" not in header:
            others.add(str(header.get("Modality", "unknown")))
        elif "LOCALIZER" in str(header.get("ImageType") or ""):
            localizers += 1
        else:
            series[str(header.get("SeriesInstanceUID", ""))].append((file, header))
    if not series:
        got = [f"{skipped} {'is' if skipped == 1 else 'are'} not DICOM"] * (skipped > 0)
        got += [f"{localizers} localizer{'s' * (localizers != 1)}"] * (localizers > 0)
        got += [f"no images but {', '.join(sorted(others))}"] if others else []
        raise ValueError(
            f"no CT images among {len(files)} file{'s' * (len(files) != 1)} ({'; '.join(got) or 'empty'});"
            " expected a CT series."
        )
    split: dict[str, list[Header]] = {}
    for uid, headers in series.items():
        parts = _acquisitions(_of_one_kind(_distinct(headers)))
        for k, part in enumerate(parts, 1):
            split[uid if len(parts) == 1 else f"{uid} acquisition {k}"] = part
    return split


def describe(uid: str, headers: list[Header]) -> Series:
    """Summarise a series, so that a user can choose one."""
    file, first = headers[0]
    try:
        slices = sum(int(header.get("NumberOfFrames") or 1) for _, header in headers)
        shape = (slices, int(first.Rows), int(first.Columns))
    except MALFORMED as error:
        raise damaged(file, error) from error
    text = str(first.get("SeriesDescription") or "")
    description = re.sub(r"[^\w .,+()/-]", "", text, flags=re.ASCII)[:64].strip() or "no description"
    _, _, acquisition = uid.partition(" ")
    if acquisition:
        description = f"{description}, {acquisition}"
    return Series(uid, description, str(first.get("Modality", "unknown")), slices, shape)


def damaged(file: File, error: Exception) -> ValueError:
    return ValueError(f"{file.name} has a header that cannot be read ({error}); it is damaged, get it again.")


def read_file(stream: BinaryIO, **options: Any) -> FileDataset:
    """`pydicom.dcmread`, also for files without the preamble of 128 bytes or without a transfer syntax."""
    dataset = pydicom.dcmread(stream, force=True, **options)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        dataset.file_meta.TransferSyntaxUID = (
            pydicom.uid.ImplicitVRLittleEndian
            if implicit
            else pydicom.uid.ExplicitVRLittleEndian
            if little
            else pydicom.uid.ExplicitVRBigEndian
        )
    return dataset


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with these bytes (132 or more) is DICOM, with its preamble or without."""
    return head[128:132] == b"DICM" or _is_bare(head)


def _is_bare(head: bytes) -> bool:
    """Whether a data set without preamble begins here: a tag of group 2 or 8, then a VR or a short length."""
    if len(head) < 8 or head[:2] not in (b"\x02\x00", b"\x08\x00") or head[3] != 0:
        return False
    return (head[4:6].isalpha() and head[4:6].isupper()) or head[6:8] == b"\x00\x00"


def _header(file: File) -> Dataset | None:
    """The tags that are needed, without pixels; None if the file is not DICOM."""
    with file.open() as stream:
        try:
            bare = _is_bare(stream.read(132))
            stream.seek(0)
            read_preamble(stream, bare)
            meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
            syntax = meta.get("TransferSyntaxUID")
        except (InvalidDicomError, EOFError):
            return None
        except MALFORMED as error:
            if bare:
                return None
            raise damaged(file, error) from error
        # pydicom would inflate the whole file at once, however large it becomes.
        if syntax == DeflatedExplicitVRLittleEndian:
            raise ValueError(
                f"{file.name} is stored deflated, which is not supported; convert it to explicit VR first."
            )
        stream.seek(0)
        try:
            header = read_file(stream, stop_before_pixels=True, specific_tags=_TAGS)
        except MALFORMED as error:
            if bare:
                return None
            raise damaged(file, error) from error
    _convert(file, header)
    return header


def _convert(file: File, header: Dataset) -> None:
    """Convert every value now; the error about an invalid value names its tag."""
    for tag, stored in list(header.items()):
        try:
            header[tag]
        except MALFORMED as error:
            raw = getattr(stored, "value", b"")
            text = raw.decode("ascii", "replace") if isinstance(raw, bytes) else str(raw)
            raise ValueError(
                f"{file.name} has the {keyword_for_tag(tag) or tag} {text.strip()[:40]!r}, which is not what"
                " DICOM allows there (numbers have a decimal point); correct that tag."
            ) from error


# ---- grouping of files ----------------------------------------------------------------------------


def _distinct(headers: list[Header]) -> list[Header]:
    """Headers without copies, which share the SOPInstanceUID of an earlier file."""
    kept: dict[str, Header] = {}
    for k, (file, header) in enumerate(headers):
        kept.setdefault(str(header.get("SOPInstanceUID") or f"file {k}"), (file, header))
    copies = len(headers) - len(kept)
    if copies:
        note(f"{_left_out(copies)}: copies of others.", stacklevel=4)
    return list(kept.values())


def _of_one_kind(headers: list[Header]) -> list[Header]:
    """Files of the most frequent kind. A series may also contain a dose report or a preview image.

    A kind is a combination of modality, SOP class, grey or colour, and number of rows and columns.
    """

    def kind(header: Dataset) -> tuple[Any, ...]:
        colour = header.get("SamplesPerPixel") not in (None, "", 1)
        matrix = str(header.get("Rows")), str(header.get("Columns"))
        return str(header.get("Modality", "")), str(header.get("SOPClassUID", "")), colour, matrix

    counts = Counter(kind(header) for _, header in headers)
    usual = max(counts, key=lambda k: (counts[k], k[0] == "CT", not k[2]))
    kept = [(file, header) for file, header in headers if kind(header) == usual]
    foreign = [file.name for file, header in headers if kind(header) != usual]
    if foreign:
        note(
            f"{_left_out(len(foreign))}: not of the kind of the others ({foreign[0]}).",
            stacklevel=4,
        )
    return kept


def _left_out(count: int) -> str:
    return f"{count} file{'s' if count > 1 else ''} of the series {'were' if count > 1 else 'was'} left out"


def _acquisitions(headers: list[Header]) -> list[list[Header]]:
    """Split a series so that no part has two slices at one position; if impossible, return it whole."""
    most = max(Counter(map(_place, headers)).values())
    if most == 1 or any(_place(h) is None for h in headers):
        return [headers]
    for split in (_by_number, _by_time):
        parts = split(headers)
        if len(parts) == most and all(len(set(map(_place, part))) == len(part) > 1 for part in parts):
            return parts
    return [headers]


def _place(header: Header) -> tuple[Any, ...] | None:
    """Position of a slice [mm]; None if the header has none, as in multi-frame files."""
    try:
        return tuple(map(float, header[1].get("ImagePositionPatient")))
    except (TypeError, ValueError):  # missing, or not three numbers, which is refused later
        return None


def _by_number(headers: list[Header]) -> list[list[Header]]:
    groups: dict[str, list[Header]] = defaultdict(list)
    for file, header in headers:
        groups[str(header.get("AcquisitionNumber"))].append((file, header))
    return [groups[number] for number in sorted(groups, key=lambda number: (len(number), number))]


def _by_time(headers: list[Header]) -> list[list[Header]]:
    """Split in order of time: the next acquisition begins where a position occurs again, later."""
    parts: list[list[Header]] = [[]]
    seen: set[tuple[Any, ...] | None] = set()
    for header in sorted(headers, key=_time):
        if _place(header) in seen and _time(parts[-1][-1]) < _time(header):
            parts.append([])
            seen = set()
        seen.add(_place(header))
        parts[-1].append(header)
    return parts


def _time(header: Header) -> str:
    """Date and time of an acquisition, as a comparable text; empty if the header has none."""
    tags = header[1]
    moment = tags.get("AcquisitionDateTime")
    return str(moment or f"{tags.get('AcquisitionDate') or ''}{tags.get('AcquisitionTime') or ''}")
