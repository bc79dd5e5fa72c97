"""Reader of MATLAB files of the Helsinki tomography challenges, version 5 to 7 (scipy) and 7.3 (HDF5).

A struct holds `sinogram` (view, u) and `parameters` with the angles [degrees] and distances [mm] of a fan
beam. (Meaney, Silva de Moura, Siltanen 2022, doi:10.5281/zenodo.6984868)
"""

from __future__ import annotations

import zlib
from typing import Any, BinaryIO

import numpy as np

from tomopatch.io.projections import hdf5
from tomopatch.io.projections.raw import Raw, check_numbers, check_size

V5, V73 = b"MATLAB 5.0 MAT-file", b"MATLAB 7.3 MAT-file"
FIELDS = {
    "distanceSourceOrigin": "src_orig_dist_mm",
    "distanceSourceDetector": "src_det_dist_mm",
    "pixelSizePost": "pixel_size_mm",
}
_COMPRESSED = 15  # data type of a compressed element


def is_matlab(head: bytes) -> bool:
    """Whether a file with these first bytes is a MATLAB file."""
    return head.startswith((V5, V73))


def read_matlab(file: BinaryIO, name: str, max_mb: float) -> Raw:
    """Read the sinogram and the parameters of a challenge file: line integrals of one detector row."""
    head = file.read(128)
    file.seek(0)
    sinogram, values = (_version_73 if head.startswith(V73) else _version_5)(file, name, max_mb)
    if sinogram.ndim != 2:
        raise ValueError(f"{name} has a sinogram of shape {sinogram.shape}; expected (view, u).")
    keys: dict[str, Any] = {"quantity": "line_integrals"}
    for key, field in FIELDS.items():
        if key in values:
            keys[field] = _number(values[key], name, key)
    if "src_orig_dist_mm" in keys:
        keys["beam"] = "fan"
    if "angles" in values:
        keys["angles_deg"] = np.ravel(values["angles"]).astype(float).tolist()
    return Raw(sinogram[:, None], keys=keys)


def _number(value: np.ndarray, name: str, key: str) -> float:
    if np.size(value) != 1:
        raise ValueError(f"{name} has {key} of shape {np.shape(value)}; expected one number.")
    return float(np.ravel(value)[0])


def _version_73(file: BinaryIO, name: str, max_mb: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    with hdf5.opened(file, name) as root:
        for key in root:
            sinogram = hdf5.array(root, f"{key}/sinogram", name, max_mb) if key != "#refs#" else None
            if sinogram is not None:
                found = {
                    field: hdf5.array(root, f"{key}/parameters/{field}", name, max_mb)
                    for field in (*FIELDS, "angles")
                }
                return sinogram.T, {k: v for k, v in found.items() if v is not None}
    raise _without_sinogram(name)


def _version_5(file: BinaryIO, name: str, max_mb: float) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        _check_elements(file, name, max_mb)
        file.seek(0)
        variables = loadmat(file, verify_compressed_data_integrity=True)
        for variable in variables.values():
            fields = getattr(getattr(variable, "dtype", None), "names", None) or ()
            if "sinogram" in fields and variable.size == 1:
                struct = variable.reshape(())[()]
                sinogram = struct["sinogram"]
                check_numbers(sinogram.dtype, name, "sinogram")
                return sinogram, _parameters(struct, name)
    except (*hdf5.ERRORS, EOFError, IndexError, OverflowError, MatReadError, zlib.error) as error:
        if str(error).startswith(name):
            raise
        raise ValueError(
            f"{name} cannot be read as MATLAB file ({str(error)[:120]}); it is damaged."
        ) from error
    raise _without_sinogram(name)


def _parameters(struct: Any, name: str) -> dict[str, np.ndarray]:
    if "parameters" not in struct.dtype.names or struct["parameters"].dtype.names is None:
        return {}
    values = struct["parameters"].reshape(-1)[0]
    found = {field: values[field] for field in (*FIELDS, "angles") if field in values.dtype.names}
    for field, value in found.items():
        check_numbers(value.dtype, name, field)
    return found


def _check_elements(file: BinaryIO, name: str, max_mb: float) -> None:
    """Decompress each compressed element once, in pieces, and refuse sizes beyond the memory limit."""
    head = file.read(128)
    order = "<" if head[126:128] == b"IM" else ">"
    left = int(max_mb * 2**20)
    while len(tag := file.read(8)) == 8:
        kind, size = (int(n) for n in np.frombuffer(tag, f"{order}u4"))
        if kind != _COMPRESSED:
            file.seek(size, 1)
            continue
        unpacker = zlib.decompressobj()
        while size > 0 and (packed := file.read(min(size, 1 << 20))):
            size -= len(packed)
            while packed:
                left -= len(unpacker.decompress(packed, 1 << 22))
                packed = unpacker.unconsumed_tail
                if left < 0:
                    check_size((int(2 * max_mb * 2**20),), 1, name, max_mb)


def _without_sinogram(name: str) -> ValueError:
    return ValueError(
        f"{name} has no struct with a field 'sinogram'; expected a file of the Helsinki challenge."
    )
