"""NIfTI files (.nii, .nii.gz, .nii.bz2) in Hounsfield units.

NIfTI uses RAS coordinates (x to the right, y to the front). They become LPS here and RAS again in the writer.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import nibabel as nib
import numpy as np
import torch
from nibabel.spatialimages import HeaderDataError

from tomopatch.io.files import MAX_RATIO, RATIO_FROM
from tomopatch.io.nifti_writer import OURS, RAS_TO_LPS, SUFFIXES, stem, write_nifti
from tomopatch.io.slices import AIR_HU, PADDING_HU, check_voxels, orientation
from tomopatch.io.units import accept, conclude, to_hu
from tomopatch.notes import note
from tomopatch.parsing import home_path
from tomopatch.volume import Volume, VolumeGeometry, mu_from_hu_

__all__ = ["SUFFIXES", "decompressed_head", "is_nifti", "read_nifti", "stem", "write_nifti"]

_MM_PER_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
LONGEST_QUATERNION = 1.01
"""Longer quaternions are damage, not rounding."""
_CHUNK = 1 << 18  # voxels decoded at a time
_MAX_OFFSET = 1 << 26  # bytes of header extensions that are skipped, and of data after the voxels


def read_nifti(
    source: str | Path | bytes | BinaryIO,
    *,
    name: str | None = None,
    units: str | None = None,
    max_voxels: int | None = None,
) -> Volume:
    """Read a CT volume; its centre becomes `pos` (0, 0, 0).

    The affine gives the directions left, back and head. A grid that is turned by up to 20 degrees keeps its
    voxels; a sheared grid is refused. Values below -1024 HU, which no tissue has, are padding and become
    -1000 (air), except in files of `write_nifti`, which have no padding. Memory use depends on the content of
    the file, not on the sizes that its header declares. The file is read to its end, so that the checksum of
    a compressed file is verified.

    Parameters
    ----------
    source : path, bytes or binary file object
        Compressed or not, recognised by content, not by suffix. A file object is read from its beginning.
    name : str, optional
        Name of the volume, also used in messages; the file's stem unless given.
    units : "HU", "1/mm", "1/cm" or None
        Units of the numbers; None = Hounsfield units, if the numbers look like it (see `tomopatch.io.units`).
    max_voxels : int or None
        Larger volumes are refused before anything is decoded; None = MAX_VOXELS.

    Raises
    ------
    ValueError
        If the file cannot be read as a CT volume. The message is one sentence that names the file.
    """
    if isinstance(source, (str, Path)):
        path = home_path(source)
        if not path.is_file():
            raise ValueError(f"{path} is not a file; expected one of {', '.join(SUFFIXES)}.")
        with path.open("rb") as file:
            return _read(file, name or path.name, units, max_voxels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        source = io.BytesIO(source)
    return _read(source, name or Path(str(getattr(source, "name", "the upload"))).name, units, max_voxels)


def decompressed_head(file: BinaryIO) -> bytes:
    """The first 540 bytes of a file, decompressed if necessary; fewer if the file is short or damaged."""
    try:
        return _decompressed(file).read(540)
    except (OSError, EOFError, zlib.error):
        return b""


def is_nifti(head: bytes) -> bool:
    """Whether these first 348 or more bytes, decompressed, are a NIfTI header."""
    return _kind(head) is not None


# ---- reading ------------------------------------------------------------------------------------


def _read(file: BinaryIO, name: str, units: str | None, max_voxels: int | None) -> Volume:
    try:
        size = file.seek(0, os.SEEK_END)
        stream = _decompressed(file)
        header = _header(stream, name)
        shape = _shape(header, name, max_voxels)
        _check_ratio(header, shape, size, name)
        lies = orientation(_lps_axes(header, name), name)
        values = _voxels(stream, header, shape, name)
        _finish(stream, name)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name} cannot be decompressed ({error}); it is damaged, get it again.") from error
    ours = bytes(header["descrip"].item()).startswith(OURS)
    if units is None and ours:
        units = "HU"
    found = conclude(values, given=units)
    accept(name, found, units)
    if found.warning:
        note(f"{name} {found.warning}.", stacklevel=3)
    hu = to_hu(values, found.units)
    array = np.ascontiguousarray(lies.apply(hu))
    del values, hu
    if found.units == "HU" and not ours:
        array[array < PADDING_HU] = AIR_HU
    z, y, x = array.shape
    return Volume(
        mu_from_hu_(torch.from_numpy(array)), VolumeGeometry((z, y, x), lies.voxel_size), stem(name)
    )


def _decompressed(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    magic = file.read(3)
    file.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(file)  # type: ignore[return-value]
    if magic == b"BZh":
        return bz2.open(file)  # type: ignore[return-value]
    return file


def _check_ratio(header: nib.nifti1.Nifti1Header, shape: tuple[int, int, int], size: int, name: str) -> None:
    """Refuse a file of `size` bytes whose declared voxels would need an implausible compression ratio."""
    declared = int(np.prod(shape, dtype=object)) * _dtype(header, name).itemsize
    if declared > RATIO_FROM and declared > MAX_RATIO * size:
        raise ValueError(
            f"{name} would grow from {size / 1e6:.3g} to {declared / 1e6:.0f} MB when unpacked; expected less"
            f" than {MAX_RATIO} times; it is not a CT volume."
        )


def _finish(stream: BinaryIO, name: str) -> None:
    """Read the data after the voxels, so that a checksum at the end is verified."""
    left = _MAX_OFFSET
    while left >= 0:
        more = len(stream.read(1 << 20))
        if more == 0:
            return
        left -= more
    raise ValueError(
        f"{name} goes on for more than {_MAX_OFFSET >> 20} MB after its voxels; it is not a CT volume."
    )


def _kind(head: bytes) -> tuple[int, type[nib.nifti1.Nifti1Header]] | None:
    """Size [bytes] and class of the header, from its first bytes; None if it is not a NIfTI header."""
    for size, kind, magic in ((348, nib.nifti1.Nifti1Header, b"n+1"), (540, nib.nifti2.Nifti2Header, b"n+2")):
        where = slice(344, 347) if size == 348 else slice(4, 7)
        if head[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big")) and head[where] == magic:
            return size, kind
    return None


def _header(stream: BinaryIO, name: str) -> nib.nifti1.Nifti1Header:
    """The header without extensions, which are never read: their declared sizes could be anything."""
    head = stream.read(348)
    found = _kind(head)
    if found is not None:
        size, kind = found
        head += stream.read(size - 348)
        if len(head) == size:
            return _repaired(kind.from_fileobj(io.BytesIO(head + bytes(4)), check=False), name)
    raise ValueError(f"{name} is not a NIfTI file, or not complete; expected {', '.join(SUFFIXES)}.")


def _repaired(header: nib.nifti1.Nifti1Header, name: str) -> nib.nifti1.Nifti1Header:
    """The header with invalid values replaced as the standard prescribes.

    pixdim[0], the sense of the third axis, is 1 unless it is -1. Voxel sizes are lengths, whatever their
    sign. An unknown orientation code counts as no orientation. A quaternion slightly longer than 1 is scaled
    to 1. (nifti1.h, methods 2 and 3, and nifti1_io.c.)
    """
    repairs = []
    if int(header["qform_code"]) > 0 and header["pixdim"][0] not in (-1, 1):
        repairs.append(f"pixdim[0] was {float(header['pixdim'][0]):g}, taken as 1")
    if header["pixdim"][0] not in (-1, 1):
        header["pixdim"][0] = 1
    if (header["pixdim"][1:4] < 0).any():
        repairs.append("negative voxel sizes, taken as lengths")
        header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
    for code in ("qform_code", "sform_code"):
        if not 0 <= int(header[code]) <= 5:
            repairs.append(f"the unknown {code} {int(header[code])}, taken as 0")
            header[code] = 0
    quaternion = np.array([header[key] for key in ("quatern_b", "quatern_c", "quatern_d")], dtype=float)
    length = float(np.linalg.norm(quaternion))
    if int(header["qform_code"]) > 0 and 1 < length <= LONGEST_QUATERNION:
        if length > 1 + 1e-6:  # more than the rounding of float32
            repairs.append(f"a quaternion of length {length:.6g}, scaled to 1")
        # a little shorter, since rounding to float32 may make it longer than 1 again
        for key, value in zip(("quatern_b", "quatern_c", "quatern_d"), quaternion / length, strict=True):
            header[key] = value * (1 - 1e-7)
    if repairs:
        note(f"{name} has a header that was repaired: {'; '.join(repairs)}.", stacklevel=5)
    return header


def _shape(header: nib.nifti1.Nifti1Header, name: str, max_voxels: int | None) -> tuple[int, int, int]:
    shape = tuple(int(n) for n in header.get_data_shape())
    frames = int(np.prod(shape[3:], dtype=object))
    if len(shape) < 3 or frames != 1:
        got = f"{frames} volumes" if len(shape) > 3 else "a single image"
        raise ValueError(f"{name} holds {got} (shape {shape}); expected one 3D volume; extract one first.")
    x, y, z = shape[:3]
    check_voxels((z, y, x), name, max_voxels)
    return (x, y, z)


def _dtype(header: nib.nifti1.Nifti1Header, name: str) -> np.dtype:
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError) as error:
        raise ValueError(f"{name} has a header that cannot be used: {error}.") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ValueError(
            f"{name} holds voxels of type {dtype}; expected integers or floats of up to 64 bits."
        )
    return dtype


def _voxels(
    stream: BinaryIO, header: nib.nifti1.Nifti1Header, shape: tuple[int, int, int], name: str
) -> np.ndarray:
    """Stored numbers, scaled: float32 (x, y, z), decoded in chunks."""
    dtype = _dtype(header, name)
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise ValueError(f"{name} has a header that cannot be used: {error}.") from error
    offset = int(header["vox_offset"]) if np.isfinite(header["vox_offset"]) else -1
    if not stream.tell() <= offset <= _MAX_OFFSET:
        raise ValueError(
            f"{name} says that its voxels start at byte {offset}; expected 352 or a little more."
        )
    stream.read(offset - stream.tell())
    flat = np.empty(int(np.prod(shape)), dtype=np.float32)  # untouched pages cost nothing
    exact = dtype.itemsize <= 2 or dtype == np.float32
    for start in range(0, flat.size, _CHUNK):
        count = min(_CHUNK, flat.size - start)
        data = stream.read(count * dtype.itemsize)
        if len(data) < count * dtype.itemsize:
            got = start + len(data) // dtype.itemsize
            raise ValueError(f"{name} ends after {got} of {flat.size} voxels; it is truncated, get it again.")
        values: np.ndarray[Any, np.dtype[np.floating]] = np.frombuffer(data, dtype).astype(
            np.float32 if exact else np.float64
        )
        with np.errstate(over="ignore", invalid="ignore"):  # checked below
            if slope is not None:
                values *= slope
                values += intercept or 0
            flat[start : start + count] = values
        if not np.isfinite(flat[start : start + count]).all():
            raise ValueError(f"{name} holds NaN or infinite values; replace them (air is -1000 HU) first.")
    return flat.reshape(shape, order="F")


def _lps_axes(header: nib.nifti1.Nifti1Header, name: str) -> np.ndarray:
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        note(f"{name} does not say how the patient lies; NIfTI's default is assumed.", stacklevel=4)
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError as error:
        raise ValueError(f"{name} has lengths in an unknown unit (code {error}); expected mm.") from error
    if unit not in _MM_PER_UNIT:
        raise ValueError(f"{name} has lengths in {unit!r}; expected one of {', '.join(_MM_PER_UNIT)}.")
    try:
        affine = np.asarray(header.get_best_affine(), dtype=float)
    except (HeaderDataError, ValueError) as error:
        raise ValueError(f"{name} has an orientation that cannot be used: {error}.") from error
    return RAS_TO_LPS @ affine[:3, :3] * _MM_PER_UNIT[unit]
