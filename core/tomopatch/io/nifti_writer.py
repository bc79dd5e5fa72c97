"""NIfTI file written from a Volume, in Hounsfield units.

NIfTI uses RAS coordinates (x to the right, y to the front); volumes here use LPS.
"""

from __future__ import annotations

import os
from pathlib import Path

import nibabel as nib
import numpy as np

from tomopatch.io.writing import patiently
from tomopatch.parsing import home_path
from tomopatch.volume import Volume

SUFFIXES = (".nii", ".nii.gz", ".nii.bz2")
OURS = b"Hounsfield units, written by TomoPatch"
"""Description in the header of the files written here. Their units are known, and they hold no padding."""
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0])


def write_nifti(path: str | Path, volume: Volume) -> Path:
    """Write a volume as float32 Hounsfield units with its affine, including `pos`; return the path.

    Float32 keeps the precision of a reconstruction; int16 would not. The file appears only when complete.
    """
    path = home_path(path)
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is not a folder; make it first.")
    if not path.name.endswith(SUFFIXES):
        raise ValueError(f"{path.name} has no NIfTI suffix; end it in one of {', '.join(SUFFIXES)}.")
    if not isinstance(volume, Volume):
        raise TypeError(f"expected a Volume, got {type(volume).__name__}; make one with Volume.from_hu.")
    volume.check_finite("to be written")
    vg = volume.geometry
    first = [float(vg.axis(axis)[0]) for axis in (2, 1, 0)]  # LPS (x, y, z) of voxel 0
    affine = np.eye(4)
    affine[:3, :3] = RAS_TO_LPS @ np.diag(vg.voxel_size[::-1])
    affine[:3, 3] = RAS_TO_LPS @ first
    image = nib.nifti1.Nifti1Image(volume.hu.detach().cpu().numpy().T, affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = OURS
    image.set_sform(affine, code="scanner")
    image.set_qform(affine, code="scanner")
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        nib.save(image, temporary)
        patiently(lambda: temporary.replace(path))
    finally:
        temporary.unlink(missing_ok=True)
    return path


def stem(name: str) -> str:
    """A file's name without its NIfTI suffix."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        name = name.removesuffix(suffix)
    return name
