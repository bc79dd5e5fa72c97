"""The slices of a DICOM series: position, meaning of the numbers, and pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array

from tomopatch.io.dicom.headers import DAMAGE, MALFORMED, Header, damaged, read_file
from tomopatch.io.dicom_writer import OURS
from tomopatch.io.files import File
from tomopatch.io.slices import (
    AIR_HU,
    PADDING_HU,
    Orientation,
    Slice,
    arrange,
    check_voxels,
    evenly,
    spacings,
)
from tomopatch.io.units import accept, conclude, to_hu
from tomopatch.notes import note


class Image(NamedTuple):
    """One slice: its position, its file and frame, and the conversion of its numbers."""

    lies: Slice
    file: File
    frame: int  # of a multi-frame file, else 0
    slope: float
    intercept: float
    kind: str  # the RescaleType, or empty


def assemble(
    headers: list[Header], what: str, units: str | None, max_voxels: int | None
) -> tuple[np.ndarray, Orientation]:
    """Return Hounsfield units (slice, row, column) and the orientation of these indices in the patient."""
    images = []
    for file, header in headers:
        try:
            shape = (int(header.get("NumberOfFrames") or 1), int(header.Rows), int(header.Columns))
            check_voxels(shape, file.name, max_voxels)
            images += _images(file, header)
        except (TypeError, AttributeError, LookupError) as error:
            raise damaged(file, error) from error
    check_voxels((len(images), *images[0].lies.shape), what, max_voxels)
    order, heights, wanted, lies = arrange([image.lies for image in images], what)
    if wanted is not None:
        check_voxels((len(wanted), *images[0].lies.shape), what, max_voxels)

    values = np.empty((len(images), *images[0].lies.shape), dtype=np.float32)
    opened: tuple[File, Dataset] | None = None
    for place, k in enumerate(order):
        if opened is None or opened[0] is not images[k].file:
            opened = (images[k].file, _with_pixels(images[k].file))
        values[place] = _values(images[k], opened[1])
    ours = all(header.get("Manufacturer") == OURS for _, header in headers)
    hu = _hounsfield(values, sorted({image.kind for image in images}), what, units, ours)
    if wanted is not None:
        note(
            f"{what} has slices {spacings(heights)}; interpolated to every {wanted[1] - wanted[0]:.4g} mm.",
            stacklevel=3,
        )
        hu = evenly(hu, heights, wanted)
    return hu, lies


def _images(file: File, header: Dataset) -> list[Image]:
    """The slices of one file: one, or one per frame of an enhanced CT file."""
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
        declared = _value(header, groups, "PixelValueTransformationSequence", "RescaleType")
        images.append(Image(lies, file, k, float(slope), float(intercept), str(declared or "")))
    return images


def _value(header: Dataset, groups: list[Dataset], sequence: str, keyword: str) -> object:
    """A value from the frame's own group, the shared group or the top of the header; None if absent."""
    places = [group[sequence][0] for group in groups if sequence in group] + [header]
    return next((p[keyword].value for p in places if keyword in p and p[keyword].value is not None), None)


def _numbers(
    name: str, header: Dataset, groups: list[Dataset], sequence: str, keyword: str, count: int
) -> np.ndarray:
    """The `count` numbers of a tag; ValueError unless it has that many finite ones."""
    found = _value(header, groups, sequence, keyword)
    try:
        numbers = np.array([] if found is None else found, dtype=float).ravel()
    except (ValueError, TypeError):
        numbers = np.array([])
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(
            f"{name} has no usable {keyword} (got {[] if found is None else found}); expected {count} "
            f"number{'s' if count > 1 else ''}, as CT has."
        )
    return numbers


# ---- pixels -------------------------------------------------------------------------------------


def _with_pixels(file: File) -> Dataset:
    with file.open() as stream:
        try:
            dataset = read_file(stream)
            syntax = dataset.file_meta.TransferSyntaxUID
            decoder = get_decoder(syntax) if syntax.is_encapsulated else None
        except MALFORMED as error:
            raise damaged(file, error) from error
    if decoder is not None and not decoder.is_available:
        raise ValueError(
            f"{file.name} is compressed ({syntax.name}); to read it: pip install 'tomopatch[dicom]'."
        )
    return dataset


def _values(image: Image, dataset: Dataset) -> np.ndarray:
    """The rescaled numbers of one slice, float32 (row, column); NaN where a pixel is marked as padding."""
    name = image.lies.name
    try:
        raw = pixel_array(dataset, index=image.frame)
    except (*MALFORMED, RuntimeError) as error:
        raise ValueError(f"{name} has pixels that cannot be decoded ({error}); get it again.") from error
    if raw.shape != image.lies.shape:
        raise ValueError(f"{name} has an image of {raw.shape} pixels but its header says {image.lies.shape}.")
    with np.errstate(over="ignore", invalid="ignore"):
        values = (raw * image.slope + image.intercept).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError(
            f"{name} has values beyond the range of float32 (RescaleSlope {image.slope:g}, RescaleIntercept"
            f" {image.intercept:g}); correct these tags."
        )
    try:
        padding = dataset.get("PixelPaddingValue")
        if padding is None:
            return values
        ends = (padding, dataset.get("PixelPaddingRangeLimit", padding))
        # they may be stored unsigned
        low, high = sorted(int(np.int64(int(end)).astype(raw.dtype)) for end in ends)
    except DAMAGE as error:
        raise ValueError(
            f"{name} has a PixelPaddingValue or PixelPaddingRangeLimit that is not one whole number"
            f" ({error}); correct that tag."
        ) from error
    values[(raw >= low) & (raw <= high)] = np.nan
    return values


def _hounsfield(
    values: np.ndarray, declared: list[str], what: str, units: str | None, ours: bool
) -> np.ndarray:
    """Convert rescaled numbers with NaN as padding to Hounsfield units, in place; padding becomes air."""
    if units is None and ours:
        units = "HU"
    if len(declared) > 1 and units is None:
        raise ValueError(
            f"{what} mixes values of the types {', '.join(map(repr, declared))}; expected HU alone."
        )
    padded = np.isnan(values)
    some = bool(padded.any())
    found = conclude(values[~padded] if some else values, declared=declared[0], given=units)
    accept(what, found, units)
    if found.warning:
        note(f"{what} {found.warning}.", stacklevel=4)
    hu = to_hu(values, found.units)
    if some:
        hu[padded] = AIR_HU
    if found.units == "HU" and not ours:
        hu[hu < PADDING_HU] = AIR_HU
    return hu
