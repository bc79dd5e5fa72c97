"""Measurements as files: projections, weights and the config of their scan, in one .npz."""

from __future__ import annotations

import io
import json
import lzma
import math
import zipfile
import zlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.io.projections.writing import npz_keys
from tomopatch.io.writing import write_arrays
from tomopatch.parsing import home_path, parse_json
from tomopatch.physics.measurement import Measurement
from tomopatch.projector import Projector
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import Prepared
from tomopatch.volume import Volume, VolumeGeometry

_DAMAGED = (
    AttributeError,
    RuntimeError,  # a zip that says it is encrypted
    OSError,
    KeyError,
    ValueError,
    TypeError,
    EOFError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    OverflowError,
    SyntaxError,  # of an array's header
)
"""Exceptions that zipfile and numpy raise for a corrupted .npz."""


def write_measurement(path: Path, scan: ScanConfig, prepared: Prepared) -> None:
    """Write a measurement and its reconstruction grid, as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, measurement_arrays(scan, prepared), compress=True)


def measurement_bytes(scan: ScanConfig, prepared: Prepared) -> bytes:
    """Return the content of the file that `write_measurement` writes."""
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **measurement_arrays(scan, prepared))
    return out.getvalue()


def measurement_arrays(scan: ScanConfig, prepared: Prepared) -> dict[str, np.ndarray]:
    """Return the arrays of a stored measurement.

    `projections` (v, view, u) are line integrals. The geometry is stored twice: as arrays with the names of a
    geometry file, for other programs, and in `about` with the scan and the grid, for `read_measurement`.
    """
    m = prepared.measurement
    arrays = {"projections": m.projections.cpu().numpy(), **npz_keys(m.geometry)}
    if m.weights is not None:
        arrays["weights"] = m.weights.cpu().numpy()
    if m.metal is not None:
        arrays["metal"] = m.metal.data.cpu().numpy()
    pg = prepared.A.pg
    if isinstance(pg, ParallelBeam | ConeBeam):
        scan = replace(scan, det_offset=pg.det_offset)  # includes an estimated axis
    about = json.dumps({"scan": scan.to_json(), "grid": asdict(prepared.A.vg)})
    arrays["about"] = np.frombuffer(about.encode(), np.uint8)
    return arrays


def read_measurement(path: str | Path, *, max_mb: float | None = None) -> tuple[Projector, Measurement]:
    """Read a file of `write_measurement`; return the projector and the measurement.

    A file whose arrays take more than `max_mb` megabytes of memory is refused before they are read.
    """
    path = home_path(path)
    if not path.is_file():
        raise ValueError(f"there is no measurement {path}; make one with `tomopatch simulate`.")
    try:
        needed = _declared_mb(path)
        if max_mb is not None and needed > max_mb:
            raise _TooLarge(
                f"{path} holds {needed / 1000:.1f} GB, and a run may take {max_mb / 1000:.1f} GB of memory "
                "here; make one with fewer views or larger pixels."
            )
        with np.load(path, allow_pickle=False) as file:
            about = parse_json(file["about"].tobytes())
            projections = torch.from_numpy(file["projections"])
            weights, metal = (
                torch.from_numpy(file[name]) if name in file else None for name in ("weights", "metal")
            )
        scan, grid = ScanConfig.from_json(about["scan"]), VolumeGeometry(**about["grid"])
        if scan.det_shape is None:  # keep the detector of the file; another version may choose another one
            v, _, u = projections.shape if projections.ndim == 3 else (0, 0, 0)
            scan = replace(scan, det_shape=(v, u))
        measurement = Measurement(
            projections,
            scan.geometry(grid),
            weights,
            scan.photons,
            None if metal is None else Volume(metal, grid, "metal"),
        )
    except _TooLarge:
        raise
    except _DAMAGED as error:
        raise ValueError(
            f"{path} is not a measurement of `tomopatch simulate`, or it is damaged: {error}"
        ) from error
    return Projector(grid, measurement.geometry), measurement


class _TooLarge(ValueError):
    pass


def _declared_mb(path: Path) -> float:
    """Size of all arrays in an .npz [MB]; refuse an array whose header does not match its data."""
    total = 0
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = (
                    np.lib.format.read_array_header_1_0
                    if version == (1, 0)
                    else np.lib.format.read_array_header_2_0
                )
                shape, _, dtype = read(file)
                declared = math.prod(shape) * dtype.itemsize
                if dtype.hasobject or declared != member.file_size - file.tell():
                    raise ValueError(f"{member.filename} does not hold the {declared} bytes that it declares")
            total += declared
    return total / 2**20
