"""NIfTI files (.nii, .nii.gz, .nii.bz2) in Hounsfield units.

NIfTI's world is RAS (x to the right, y to the front); it becomes LPS on entry and RAS on exit, here only.
"""

from __future__ import annotations

import bz2
import gzip
import io
import os
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import nibabel as nib
import numpy as np
import torch
from nibabel.spatialimages import HeaderDataError

from core.scan.slices import AIR_HU, PADDING_HU, check_voxels, orientation
from core.volume import Volume, VolumeGeometry

SUFFIXES = (".nii", ".nii.gz", ".nii.bz2")
_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])
_MM_PER_UNIT = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
_CHUNK = 1 << 22  # voxels decoded at a time
_MAX_OFFSET = 1 << 26  # bytes of header extensions that are skipped


def read_nifti(source: str | Path | BinaryIO, *, name: str | None = None) -> Volume:
    """Read a CT volume in Hounsfield units; its centre becomes `pos` (0, 0, 0).

    The affine decides what is left, back and head; a grid that is turned by up to 20 degrees keeps its
    voxels, a sheared one is refused. Padding: values below -1024 HU, which no tissue has, become -1000 (air).
    The memory used is what the file holds, never what its header merely declares.

    Parameters
    ----------
    source : path or binary file object
        Compressed or not; told apart by content, not by suffix.
    name : str, optional
        Of the volume and in messages; the file's stem unless given.
    """
    if isinstance(source, (str, Path)):
        path = Path(source)
        if not path.is_file():
            raise ValueError(f"{path} is not a file; expected one of {', '.join(SUFFIXES)}.")
        with path.open("rb") as file:
            return _read(file, name or path.name)
    return _read(source, name or Path(str(getattr(source, "name", "the upload"))).name)


def write_nifti(path: str | Path, volume: Volume) -> Path:
    """Write a volume as float32 Hounsfield units with its affine, `pos` included; returns the path.

    Not int16: a reconstruction keeps its digits. The file appears whole or not at all.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIXES):
        raise ValueError(
            f"{path.name} does not say which NIfTI to write; end it in one of {', '.join(SUFFIXES)}."
        )
    vg = volume.geometry
    first = [float(vg.axis(axis)[0]) for axis in (2, 1, 0)]  # LPS (x, y, z) of voxel 0
    affine = np.eye(4)
    affine[:3, :3] = _RAS_TO_LPS @ np.diag(vg.voxel_size[::-1])
    affine[:3, 3] = _RAS_TO_LPS @ first
    image = nib.nifti1.Nifti1Image(volume.hu.detach().cpu().numpy().T, affine)
    image.header.set_xyzt_units("mm")
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        nib.save(image, beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def stem(name: str) -> str:
    """A file's name without its NIfTI suffix."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        name = name.removesuffix(suffix)
    return name


# ---- reading ------------------------------------------------------------------------------------


def _read(file: BinaryIO, name: str) -> Volume:
    try:
        stream = _decompressed(file)
        header = _header(stream, name)
        shape = _shape(header, name)
        lies = orientation(_lps_axes(header, name), name)
        hu = _voxels(stream, header, shape, name)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{name} cannot be decompressed ({error}); it is damaged, get it again.") from error
    low, high = float(hu.min()), float(hu.max())
    if low >= 0 and high < 100:
        raise ValueError(
            f"{name} holds values from {low:g} to {high:g}; expected Hounsfield units (air -1000, water 0). "
            "It looks like a mask or a normalised image; convert it to Hounsfield units first."
        )
    if low >= 0:
        warnings.warn(
            f"{name} has no value below 0 HU, so no air or fat; it may be stored with an offset.",
            stacklevel=3,
        )
    array = np.ascontiguousarray(lies.apply(hu))
    array[array < PADDING_HU] = AIR_HU
    z, y, x = array.shape
    return Volume.from_hu(torch.from_numpy(array), VolumeGeometry((z, y, x), lies.voxel_size), stem(name))


def _decompressed(file: BinaryIO) -> BinaryIO:
    magic = file.read(3)
    file.seek(0)
    if magic[:2] == b"\x1f\x8b":
        return gzip.open(file)  # type: ignore[return-value]
    if magic == b"BZh":
        return bz2.open(file)  # type: ignore[return-value]
    return file


def _header(stream: BinaryIO, name: str) -> nib.nifti1.Nifti1Header:
    """The header alone: extensions, whose declared sizes could be anything, are never read."""
    head = stream.read(348)
    for size, kind, magic in ((348, nib.nifti1.Nifti1Header, b"n+1"), (540, nib.nifti2.Nifti2Header, b"n+2")):
        where = slice(344, 347) if size == 348 else slice(4, 7)
        if head[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big")) and head[where] == magic:
            head += stream.read(size - 348)
            if len(head) == size:
                return kind.from_fileobj(io.BytesIO(head + bytes(4)), check=False)
    raise ValueError(f"{name} is not a NIfTI file in one piece; expected {', '.join(SUFFIXES)}.")


def _shape(header: nib.nifti1.Nifti1Header, name: str) -> tuple[int, int, int]:
    shape = tuple(int(n) for n in header.get_data_shape())
    frames = int(np.prod(shape[3:], dtype=object))
    if len(shape) < 3 or frames != 1:
        got = f"{frames} volumes" if len(shape) > 3 else "a single image"
        raise ValueError(f"{name} holds {got} (shape {shape}); expected one 3D volume; extract one first.")
    x, y, z = shape[:3]
    check_voxels((z, y, x), name)
    return (x, y, z)


def _voxels(
    stream: BinaryIO, header: nib.nifti1.Nifti1Header, shape: tuple[int, int, int], name: str
) -> np.ndarray:
    """Hounsfield units float32 (x, y, z), decoded chunk by chunk."""
    try:
        dtype = header.get_data_dtype()
        slope, intercept = header.get_slope_inter()
    except (HeaderDataError, KeyError) as error:
        raise ValueError(f"{name} has a header that cannot be used: {error}.") from error
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise ValueError(
            f"{name} holds voxels of type {dtype}; expected integers or floats of up to 64 bits."
        )
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
        values = np.frombuffer(data, dtype).astype(np.float32 if exact else np.float64)
        flat[start : start + count] = values * (1 if slope is None else slope) + (intercept or 0)
        if not np.isfinite(flat[start : start + count]).all():
            raise ValueError(f"{name} holds NaN or infinite values; replace them (air is -1000 HU) first.")
    return flat.reshape(shape, order="F")


def _lps_axes(header: nib.nifti1.Nifti1Header, name: str) -> np.ndarray:
    if int(header["sform_code"]) == 0 and int(header["qform_code"]) == 0:
        warnings.warn(f"{name} does not say how the patient lies; NIfTI's default is assumed.", stacklevel=4)
    try:
        unit = header.get_xyzt_units()[0]
    except KeyError as error:
        raise ValueError(f"{name} has lengths in an unknown unit (code {error}); expected mm.") from error
    if unit not in _MM_PER_UNIT:
        raise ValueError(f"{name} has lengths in {unit!r}; expected one of {', '.join(_MM_PER_UNIT)}.")
    try:
        affine = np.asarray(header.get_best_affine(), dtype=float)
    except HeaderDataError as error:
        raise ValueError(f"{name} has an orientation that cannot be used: {error}.") from error
    return _RAS_TO_LPS @ affine[:3, :3] * _MM_PER_UNIT[unit]
