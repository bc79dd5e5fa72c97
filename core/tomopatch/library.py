"""One loader for every source of volumes: files, folders and built-in phantoms."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from tomopatch.io.dicom import is_dicom, read_dicom
from tomopatch.io.nifti import SUFFIXES, decompressed_head, is_nifti, read_nifti
from tomopatch.io.slices import MAX_VOXELS
from tomopatch.parsing import home_path
from tomopatch.phantoms.catalogue import PHANTOMS, current_name, phantom
from tomopatch.volume import Shape, Volume

__all__ = ["MAX_VOXELS", "PHANTOMS", "SOURCES", "load_volume"]

SOURCES = (
    "a folder, .zip or file of DICOM, a NIfTI file "
    f"({', '.join(SUFFIXES)}), or phantom:NAME[:SEED] with NAME one of {', '.join(PHANTOMS)}"
)
"""Sources that `load_volume` understands, for messages and help texts."""
MAX_SEED_DIGITS = 9
"""The number of a phantom has at most this many digits."""


def load_volume(
    spec: str | Path,
    *,
    shape: Shape | None = None,
    units: str | None = None,
    max_voxels: int | None = None,
) -> Volume:
    """Load a volume from a file, a folder or a built-in phantom.

    A file keeps its own grid; to resample, pass the result to `tomopatch.volume.resample`. Files are
    recognised by their content, whatever their names.

    Parameters
    ----------
    spec : str or Path
        A folder or zip of DICOM files, a NIfTI file, `phantom:NAME` or `phantom:NAME:SEED`.
    shape : (z, y, x), optional
        Grid to draw a phantom on.
    units : "HU", "1/mm", "1/cm" or None
        Units of the numbers in a file; None = Hounsfield units, if the numbers look like it (see
        `tomopatch.io.units`).
    max_voxels : int or None
        Files with more voxels are refused before they are decoded; None = MAX_VOXELS.

    Raises
    ------
    ValueError
        If the source is not understood. The message is one sentence.
    """
    text = str(spec)
    if text.startswith("phantom:"):
        name, seed = phantom_of(text)
        return phantom(name, seed=seed) if shape is None else phantom(name, shape, seed=seed)
    path = home_path(text)
    if not path.exists():
        raise ValueError(f"{text!r} does not exist; expected {SOURCES}.")
    if path.is_dir():
        return read_dicom(path, units=units, max_voxels=max_voxels)
    if path.is_file():
        with path.open("rb") as file:
            kind = kind_of(file, path.name)
        if kind == "NIfTI":
            return read_nifti(path, units=units, max_voxels=max_voxels)
        if kind is not None:
            return read_dicom(path, units=units, max_voxels=max_voxels)
    raise ValueError(f"{text!r} is not a volume that is understood; expected {SOURCES}.")


def kind_of(file: BinaryIO, name: str) -> str | None:
    """ "DICOM", "zip" or "NIfTI", by the content of a file; None for anything else.

    A damaged file, whose content does not match its name, counts as what its name says: that reader reports
    the damage.
    """
    file.seek(0)
    head = file.read(540)
    if head[:4] == b"PK\x03\x04":
        return "zip"
    if is_dicom(head):
        return "DICOM"
    if is_nifti(decompressed_head(file)) or name.lower().endswith(SUFFIXES):
        return "NIfTI"
    return {".zip": "zip", ".dcm": "DICOM"}.get(Path(name).suffix.lower())


def current_source(source: str) -> str:
    """Return a volume's source with the present name of its phantom."""
    kind, _, rest = source.partition(":")
    name, colon, seed = rest.partition(":")
    return f"phantom:{current_name(name)}{colon}{seed}" if kind == "phantom" else source


def phantom_of(spec: str) -> tuple[str, int]:
    """Name and seed of `phantom:NAME` or `phantom:NAME:SEED`."""
    name, _, seed = spec.removeprefix("phantom:").partition(":")
    if seed and not (seed.isdecimal() and len(seed) <= MAX_SEED_DIGITS):
        raise ValueError(
            f"phantom seed must be a whole number of at least 0 and at most {MAX_SEED_DIGITS} digits, "
            f"got {seed[:80]!r}."
        )
    return name, int(seed or 0)
