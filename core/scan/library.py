"""One door for every source of volumes: files, folders and built-in phantoms."""

from __future__ import annotations

from pathlib import Path

from core.scan.dicom import read_dicom
from core.scan.nifti import SUFFIXES, read_nifti
from core.scan.phantom import PHANTOMS, phantom
from core.scan.slices import MAX_VOXELS
from core.volume import Shape, Volume

__all__ = ["MAX_VOXELS", "PHANTOMS", "SOURCES", "load_volume"]

SOURCES = (
    "a folder or .zip of DICOM files, a NIfTI file "
    f"({', '.join(SUFFIXES)}), or phantom:NAME[:SEED] with NAME one of {', '.join(PHANTOMS)}"
)
"""What `load_volume` understands, for messages and help texts."""


def load_volume(spec: str | Path, *, shape: Shape | None = None) -> Volume:
    """Load a volume from a file, a folder or a built-in phantom.

    Not a resampler: a file keeps its own grid, so pass the result to `core.volume.resample`.

    Parameters
    ----------
    spec : str or Path
        A folder or zip of DICOM files, a NIfTI file, `phantom:NAME` or `phantom:NAME:SEED`.
    shape : (z, y, x), optional
        Grid to draw a phantom on.
    """
    text = str(spec)
    if text.startswith("phantom:"):
        name, seed = phantom_of(text)
        return phantom(name, seed=seed) if shape is None else phantom(name, shape, seed=seed)
    path = Path(spec)
    if path.is_dir() or (path.is_file() and path.suffix.lower() in (".zip", ".dcm")):
        return read_dicom(path)
    if path.is_file() and path.name.lower().endswith(SUFFIXES):
        return read_nifti(path)
    problem = "is not a volume that is understood" if path.exists() else "does not exist"
    raise ValueError(f"{text!r} {problem}; expected {SOURCES}.")


def phantom_of(spec: str) -> tuple[str, int]:
    """Name and seed of `phantom:NAME` or `phantom:NAME:SEED`."""
    name, _, seed = spec.removeprefix("phantom:").partition(":")
    if seed and not seed.isdecimal():
        raise ValueError(f"phantom seed must be a whole number of at least 0, got {seed!r} in {spec!r}.")
    return name, int(seed or 0)
