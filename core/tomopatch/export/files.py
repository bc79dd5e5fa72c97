"""Volumes as files for other programs."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tomopatch.export.slices import WINDOW, slices_png
from tomopatch.io.dicom_writer import write_dicom
from tomopatch.io.nifti import write_nifti
from tomopatch.volume import Volume


def nifti_bytes(volume: Volume) -> bytes:
    """Return the volume as .nii.gz in HU."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii.gz"
        write_nifti(path, volume)
        return path.read_bytes()


def npz_bytes(volume: Volume) -> bytes:
    """Return a .npz with `data` (mu [1/mm]) and `hu`, float32 (z, y, x), and `voxel_size` (z, y, x) [mm]."""
    out = io.BytesIO()
    np.savez_compressed(
        out,
        data=volume.data.cpu().numpy(),
        hu=volume.hu.cpu().numpy(),
        voxel_size=np.array(volume.geometry.voxel_size),
    )
    return out.getvalue()


def dicom_zip_bytes(volume: Volume, *, simulated: bool = True) -> bytes:
    """Return a zip with a DICOM CT series, marked as derived and not for diagnosis."""
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        series = Path(folder) / "series"
        write_dicom(series, volume, simulated=simulated)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(series.iterdir()):
                archive.write(path, path.name)
    return out.getvalue()


def png_bytes(volumes: Sequence[tuple[str, Volume]], window: tuple[float, float] = WINDOW) -> bytes:
    """Return a PNG with the three middle slices of each volume, in one window [HU]."""
    return slices_png(volumes, window)
