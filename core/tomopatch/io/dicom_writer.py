"""DICOM series written from a Volume, marked as derived and not for diagnosis."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import format_number_as_ds

from tomopatch.io.writing import patiently
from tomopatch.parsing import home_path
from tomopatch.volume import Volume

OURS = "TomoPatch"
"""Manufacturer of the series written here. Their units are known, and they hold no padding."""


def write_dicom(
    folder: str | Path, volume: Volume, *, description: str = "Reconstruction", simulated: bool = True
) -> Path:
    """Write a CT series, one file per slice, marked as derived and "simulated, not for diagnosis".

    Hounsfield units are rounded to integers. All identifiers are new; the patient is called SIMULATED. With
    `simulated=False`, the marks say "measured" instead.
    The folder appears only when it is complete. An existing folder with files in it is refused.
    """
    folder = home_path(folder)
    if not folder.parent.is_dir():
        raise ValueError(f"{folder.parent} is not a folder; make it first.")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not an empty folder; choose a new one.")
    if not isinstance(volume, Volume):
        raise TypeError(f"expected a Volume, got {type(volume).__name__}; make one with Volume.from_hu.")
    volume.check_finite("to be written")
    hu = volume.hu.detach().cpu().round()
    low, high = float(hu.min()), float(hu.max())
    if not -32768 <= low <= high <= 32767:
        raise ValueError(f"the volume reaches from {low:.5g} to {high:.5g} HU; DICOM holds -32768 to 32767.")
    study, series, frame = generate_uid(), generate_uid(), generate_uid()
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        for k, pixels in enumerate(hu.numpy().astype("<i2")):
            dataset = _template(volume, k, description, "simulated" if simulated else "measured")
            dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.FrameOfReferenceUID = (
                study,
                series,
                frame,
            )
            dataset.PixelData = pixels.tobytes()
            dataset.save_as(temporary / f"slice{k + 1:04d}.dcm", enforce_file_format=True)
        temporary.chmod(0o755)
        patiently(lambda: temporary.replace(folder))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _template(volume: Volume, k: int, description: str, origin: str) -> FileDataset:
    """Slice k without pixels and without the identifiers common to all slices."""
    vg = volume.geometry
    z, y, x = (float(vg.axis(axis)[i]) for axis, i in ((0, k), (1, 0), (2, 0)))
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    values = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "ImageType": ["DERIVED", "SECONDARY", "AXIAL"], "Modality": "CT", "Manufacturer": OURS,
        "PatientName": origin.upper(), "PatientID": origin.upper(), "PatientBirthDate": "", "PatientSex": "",
        "StudyDate": "", "StudyTime": "", "StudyID": "", "AccessionNumber": "", "ReferringPhysicianName": "",
        "SeriesNumber": 1, "AcquisitionNumber": None, "InstanceNumber": k + 1, "KVP": None,
        "SeriesDescription": f"{description[:30]} ({origin}, not for diagnosis)",
        "ImageComments": f"{origin}, not for diagnosis",
        "DerivationDescription": f"reconstructed from {origin} projections by TomoPatch",
        "PatientPosition": "HFS", "PositionReferenceIndicator": "", "BurnedInAnnotation": "NO",
        "ImagePositionPatient": [_ds(v) for v in (x, y, z)], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [_ds(v) for v in vg.voxel_size[1:]], "SliceThickness": _ds(vg.voxel_size[0]),
        "Rows": vg.shape[1], "Columns": vg.shape[2], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "PixelRepresentation": 1,
        "BitsAllocated": 16, "BitsStored": 16, "HighBit": 15,
        "RescaleIntercept": 0, "RescaleSlope": 1, "RescaleType": "HU",
    }  # fmt: skip
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def _ds(value: float) -> str:
    return format_number_as_ds(float(value))
