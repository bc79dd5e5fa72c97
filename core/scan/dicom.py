"""DICOM series of computed tomography, read to a Volume.

Only geometry and pixels are kept; nothing of the patient, of the institution or of dates.
"""

from __future__ import annotations

import re
import struct
import warnings
from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pydicom
import torch
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian

from core.scan.files import File, Source, files_of
from core.scan.slices import AIR_HU, PADDING_HU, Orientation, Slice, arrange, check_voxels, evenly
from core.volume import Volume, VolumeGeometry

_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "Modality", "ImageType", "SeriesNumber", "SeriesDescription",
    "Rows", "Columns", "NumberOfFrames", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing",
    "RescaleSlope", "RescaleIntercept", "PhotometricInterpretation", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
]  # fmt: skip
"""All that is read of a header; nothing that says who the patient is."""
_DAMAGE = (ValueError, TypeError, AttributeError, LookupError, EOFError, OverflowError, NotImplementedError)
_MALFORMED = (*_DAMAGE, struct.error, BytesLengthException)
"""What pydicom raises on files that are damaged in one way or another."""


@dataclass(frozen=True)
class Series:
    """One series of a source: `shape` is (slices, rows, columns); `read_dicom` takes the default one."""

    uid: str
    description: str
    modality: str
    num_slices: int
    shape: tuple[int, int, int]
    is_default: bool = False


class _Image(NamedTuple):
    """One slice: where it lies, where its pixels are, and what they mean."""

    lies: Slice
    file: File
    frame: int  # of a multi-frame file, else 0
    slope: float
    intercept: float


def list_series(source: Source) -> list[Series]:
    """The image series in a folder, a zip or a list of uploads, largest first; localizers are left out.

    Parameters
    ----------
    source : path, or sequence of (name, bytes or binary file)
        Files that are not DICOM are skipped.
    """
    with files_of(source) as files:
        series = [_describe(uid, headers) for uid, headers in _headers(files).items()]
    series.sort(key=lambda s: (s.modality != "CT", -s.num_slices * s.shape[1] * s.shape[2], s.uid))
    return [Series(**{**vars(s), "is_default": k == 0 and s.modality == "CT"}) for k, s in enumerate(series)]


def read_dicom(source: Source, series_uid: str | None = None) -> Volume:
    """Read a CT series in Hounsfield units; its centre becomes `pos` (0, 0, 0).

    Slices are sorted by position, never by name or number, and brought to our axes by permuting and flipping.
    Unevenly spaced slices are interpolated linearly to even spacing, with a warning. Pixels that are marked
    as padding, and values below -1024 HU, become air (-1000).

    Parameters
    ----------
    source : path, or sequence of (name, bytes or binary file)
        A folder, a zip, one multi-frame file, or uploads in any order.
    series_uid : str, optional
        One of `list_series`; the largest CT series unless given.
    """
    with files_of(source) as files:
        found = _headers(files)
        listed = [_describe(uid, headers) for uid, headers in found.items()]
        if series_uid is None:
            scans = [s for s in listed if s.modality == "CT"]
            if not scans:
                others = ", ".join(sorted({s.modality for s in listed}))
                raise ValueError(f"the images are of modality {others}; expected CT; choose a CT series.")
            chosen = min(scans, key=lambda s: (-s.num_slices * s.shape[1] * s.shape[2], s.uid))
        else:
            by_uid = {s.uid: s for s in listed}
            if series_uid not in by_uid:
                raise ValueError(f"there is no series {series_uid}; expected one of {', '.join(by_uid)}.")
            chosen = by_uid[series_uid]
            if chosen.modality != "CT":
                raise ValueError(
                    f"the chosen series is of modality {chosen.modality}; expected CT; choose a CT series."
                )
        headers = found[chosen.uid]
        number = headers[0][1].get("SeriesNumber")
        name = f"CT series {number}" if number is not None else "CT series"
        array, lies = _assemble(headers, name)
    array = np.ascontiguousarray(lies.apply(array))
    z, y, x = array.shape
    geometry = VolumeGeometry((z, y, x), lies.voxel_size)
    return Volume.from_hu(torch.from_numpy(array), geometry, f"{name}, {chosen.num_slices} slices")


# ---- headers ------------------------------------------------------------------------------------


def _headers(files: list[File]) -> dict[str, list[tuple[File, Dataset]]]:
    """Headers of the image files by series, localizers left out."""
    series: dict[str, list[tuple[File, Dataset]]] = defaultdict(list)
    localizers = skipped = 0
    others = set()
    for file in files:
        header = _header(file)
        if header is None:
            skipped += 1
        elif "Rows" not in header or "Columns" not in header:
            others.add(str(header.get("Modality", "unknown")))
        elif "LOCALIZER" in (header.get("ImageType") or ()):
            localizers += 1
        else:
            series[str(header.get("SeriesInstanceUID", ""))].append((file, header))
    if not series:
        got = [f"{skipped} {'is' if skipped == 1 else 'are'} not DICOM"] * (skipped > 0)
        got += [f"{localizers} localizer{'s' * (localizers != 1)}"] * (localizers > 0)
        got += [f"no images but {', '.join(sorted(others))}"] if others else []
        raise ValueError(
            f"no CT images among {len(files)} file{'s' * (len(files) != 1)} ({'; '.join(got) or 'empty'}); expected a CT series."
        )
    return series


def _header(file: File) -> Dataset | None:
    """The tags that are needed, without pixels; None for what is not DICOM."""
    with file.open() as stream:
        try:
            read_preamble(stream, False)
            meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag.group != 2)
            syntax = meta.get("TransferSyntaxUID")
        except (InvalidDicomError, EOFError):
            return None
        except _MALFORMED as error:
            raise _damaged(file, error) from error
        # pydicom would inflate the whole file at once, however large it becomes.
        if syntax == DeflatedExplicitVRLittleEndian:
            raise ValueError(
                f"{file.name} is stored deflated, which is not read; convert it to explicit VR first."
            )
        stream.seek(0)
        try:
            header = pydicom.dcmread(stream, stop_before_pixels=True, specific_tags=_TAGS)
            list(header)  # converts every value now, inside this guard
        except _MALFORMED as error:
            raise _damaged(file, error) from error
    return header


def _damaged(file: File, error: Exception) -> ValueError:
    return ValueError(f"{file.name} has a header that cannot be read ({error}); it is damaged, get it again.")


def _describe(uid: str, headers: list[tuple[File, Dataset]]) -> Series:
    file, first = headers[0]
    try:
        slices = sum(int(header.get("NumberOfFrames") or 1) for _, header in headers)
        shape = (slices, int(first.Rows), int(first.Columns))
    except _MALFORMED as error:
        raise _damaged(file, error) from error
    description = re.sub(r"[^\w .,+()/-]", "", str(first.get("SeriesDescription") or ""), flags=re.ASCII)[
        :64
    ].strip()
    return Series(uid, description or "no description", str(first.get("Modality", "unknown")), slices, shape)


def _images(file: File, header: Dataset) -> list[_Image]:
    """The slices of one file: one, or a frame each of an enhanced CT file."""
    kind = header.get("PhotometricInterpretation")
    if kind != "MONOCHROME2":
        raise ValueError(f"{file.name} has pixels of kind {kind}; expected MONOCHROME2, as CT has.")
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    frames = int(header.get("NumberOfFrames") or 1)
    if (len(per_frame) if per_frame is not None else 1) != frames:
        described = len(per_frame) if per_frame is not None else "no"
        raise ValueError(f"{file.name} has {frames} frames but {described} positions; expected one for each.")
    images = []
    for k in range(frames):
        groups = [per_frame[k], shared] if per_frame is not None else []
        name = f"{file.name} frame {k + 1}" if frames > 1 else file.name
        slope, intercept = (
            _numbers(name, header, groups, "PixelValueTransformationSequence", keyword, 1)[0]
            for keyword in ("RescaleSlope", "RescaleIntercept")
        )
        if slope == 0:
            raise ValueError(f"{name} has a RescaleSlope of 0; expected the step of its Hounsfield units.")
        position = _numbers(name, header, groups, "PlanePositionSequence", "ImagePositionPatient", 3)
        directions = _numbers(name, header, groups, "PlaneOrientationSequence", "ImageOrientationPatient", 6)
        spacing = _numbers(name, header, groups, "PixelMeasuresSequence", "PixelSpacing", 2)
        lies = Slice(name, (int(header.Rows), int(header.Columns)), position, directions, spacing)
        images.append(_Image(lies, file, k, float(slope), float(intercept)))
    return images


def _numbers(
    name: str, header: Dataset, groups: list[Dataset], sequence: str, keyword: str, count: int
) -> np.ndarray:
    """`count` numbers from the frame's own group, the shared one, or the top of the header."""
    places = [group[sequence][0] for group in groups if sequence in group] + [header]
    found: list = next(
        (p[keyword].value for p in places if keyword in p and p[keyword].value is not None), []
    )
    numbers = np.array(found, dtype=float).ravel()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(
            f"{name} has no usable {keyword} (got {found}); expected {count} numbers, as CT has."
        )
    return numbers


# ---- pixels -------------------------------------------------------------------------------------


def _assemble(headers: list[tuple[File, Dataset]], what: str) -> tuple[np.ndarray, Orientation]:
    """Hounsfield units (slice, row, column), and how these indices lie in the patient."""
    images = []
    for file, header in headers:
        try:
            check_voxels(
                (int(header.get("NumberOfFrames") or 1), int(header.Rows), int(header.Columns)), file.name
            )
            images += _images(file, header)
        except (TypeError, AttributeError, LookupError) as error:
            raise _damaged(file, error) from error
    check_voxels((len(images), *images[0].lies.shape), what)
    order, heights, even, lies = arrange([image.lies for image in images], what)

    hu = np.empty((len(images), *images[0].lies.shape), dtype=np.float32)
    opened: tuple[File, Dataset] | None = None
    for place, k in enumerate(order):
        if opened is None or opened[0] is not images[k].file:
            opened = (images[k].file, _with_pixels(images[k].file))
        hu[place] = _hounsfield(images[k], opened[1])
    if not even:
        gaps = np.diff(heights)
        warnings.warn(
            f"{what} has slices {gaps.min():.4g} to {gaps.max():.4g} mm apart; interpolated to every "
            f"{gaps.mean():.4g} mm.",
            stacklevel=3,
        )
        hu = evenly(hu, heights)
    return hu, lies


def _with_pixels(file: File) -> Dataset:
    with file.open() as stream:
        try:
            dataset = pydicom.dcmread(stream)
            syntax = dataset.file_meta.TransferSyntaxUID
            decoder = get_decoder(syntax) if syntax.is_encapsulated else None
        except _MALFORMED as error:
            raise _damaged(file, error) from error
    if decoder is not None and not decoder.is_available:
        raise ValueError(
            f"{file.name} is compressed ({syntax.name}); to read it: pip install 'tomopatch[dicom]'."
        )
    return dataset


def _hounsfield(image: _Image, dataset: Dataset) -> np.ndarray:
    """Hounsfield units of one slice, float32 (row, column)."""
    name = image.lies.name
    try:
        raw = pixel_array(dataset, index=image.frame)
    except (*_MALFORMED, RuntimeError) as error:
        raise ValueError(f"{name} has pixels that cannot be decoded ({error}); get it again.") from error
    if raw.shape != image.lies.shape:
        raise ValueError(f"{name} has an image of {raw.shape} pixels but its header says {image.lies.shape}.")
    hu = (raw * image.slope + image.intercept).astype(np.float32)
    padding = dataset.get("PixelPaddingValue")
    if padding is not None:
        ends = (padding, dataset.get("PixelPaddingRangeLimit", padding))
        low, high = sorted(
            int(np.int64(int(end)).astype(raw.dtype)) for end in ends
        )  # may be stored unsigned
        hu[(raw >= low) & (raw <= high)] = AIR_HU
    hu[hu < PADDING_HU] = AIR_HU
    return hu
