"""Volumes as files that other programs open."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from core.scan.dicom import write_dicom
from core.scan.nifti import write_nifti
from core.show import WINDOW, slices_png
from core.volume import Volume


def nifti_bytes(volume: Volume) -> bytes:
    """A .nii.gz of the volume in HU."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "volume.nii.gz"
        write_nifti(path, volume)
        return path.read_bytes()


def dicom_zip_bytes(volume: Volume) -> bytes:
    """A zip with a DICOM CT series of the volume, marked derived, simulated and not for diagnosis."""
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder:
        series = Path(folder) / "series"
        write_dicom(series, volume)
        with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(series.iterdir()):
                archive.write(path, path.name)
    return out.getvalue()


def png_bytes(volumes: Sequence[tuple[str, Volume]], window: tuple[float, float] = WINDOW) -> bytes:
    """A PNG with the three middle slices of each volume, in one window [HU]."""
    return slices_png(volumes, window)
