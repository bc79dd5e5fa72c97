"""DICOM series of computed tomography, read as a Volume.

Only geometry and pixels are kept; no data about the patient, the institution or dates.
"""

from __future__ import annotations

import numpy as np
import torch

from tomopatch.io.dicom.headers import Series, describe, headers_by_series, is_dicom
from tomopatch.io.dicom.images import assemble
from tomopatch.io.files import Source, files_of
from tomopatch.notes import note
from tomopatch.volume import Volume, VolumeGeometry, mu_from_hu_

__all__ = ["Series", "is_dicom", "list_series", "read_dicom"]


def list_series(source: Source) -> list[Series]:
    """Image series in a folder, a zip or a list of uploads, largest first, without localizers.

    Acquisitions that share a series are listed separately.

    Parameters
    ----------
    source : path, binary file, or sequence of paths or (name, bytes or binary file)
        Files that are not DICOM are skipped.
    """
    with files_of(source) as files:
        series = [describe(uid, headers) for uid, headers in headers_by_series(files).items()]
    series.sort(key=lambda s: (s.modality != "CT", -s.num_slices * s.shape[1] * s.shape[2], s.uid))
    return [Series(**{**vars(s), "is_default": k == 0 and s.modality == "CT"}) for k, s in enumerate(series)]


def read_dicom(
    source: Source,
    series_uid: str | None = None,
    *,
    units: str | None = None,
    max_voxels: int | None = None,
) -> Volume:
    """Read a CT series; its centre becomes `pos` (0, 0, 0).

    Slices are sorted by position, never by name or number, and permuted and flipped to (z, y, x). Unevenly
    spaced slices are interpolated linearly to even spacing, with a warning. Pixels marked as padding become
    air (-1000), and so do values below -1024 HU, except in series of `write_dicom`.

    Parameters
    ----------
    source : path, binary file, or sequence of paths or (name, bytes or binary file)
        A folder, a zip, one multi-frame file, or files in any order.
    series_uid : str, optional
        One of `list_series`; the largest CT series unless given.
    units : "HU", "1/mm", "1/cm" or None
        Units of the rescaled numbers; None = Hounsfield units, if the file says so or the numbers look like
        it (see `tomopatch.io.units`).
    max_voxels : int or None
        Larger volumes are refused before a pixel is decoded; None = MAX_VOXELS.

    Raises
    ------
    ValueError
        If the series cannot be read as a CT volume. The message is one sentence that names the file.
    """
    with files_of(source) as files:
        found = headers_by_series(files)
        listed = [describe(uid, headers) for uid, headers in found.items()]
        if series_uid is None:
            scans = [s for s in listed if s.modality == "CT"]
            if not scans:
                others = ", ".join(sorted({s.modality for s in listed}))
                raise ValueError(f"the images are of modality {others}; expected CT; choose a CT series.")
            chosen = min(scans, key=lambda s: (-s.num_slices * s.shape[1] * s.shape[2], s.uid))
            if len(scans) > 1:
                note(
                    f"{len(scans)} CT series were found; the largest was read: {chosen.description}, "
                    f"{chosen.num_slices} slices.",
                    stacklevel=3,
                )
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
        hu, lies = assemble(headers, name, units, max_voxels)
    array = np.ascontiguousarray(lies.apply(hu))
    del hu
    z, y, x = array.shape
    geometry = VolumeGeometry((z, y, x), lies.voxel_size)
    return Volume(mu_from_hu_(torch.from_numpy(array)), geometry, f"{name}, {chosen.num_slices} slices")
