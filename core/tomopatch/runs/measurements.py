"""Measurements as files: projections, weights and the scan that made them, in one .npz."""

from __future__ import annotations

import json
import zipfile
import zlib
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from tomopatch.io.writing import write_arrays
from tomopatch.physics.measurement import Measurement
from tomopatch.projector import Projector
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import Prepared
from tomopatch.volume import VolumeGeometry

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
)
"""What a spoilt .npz raises on its way through zipfile and numpy."""


def write_measurement(path: Path, scan: ScanConfig, prepared: Prepared) -> None:
    """Write a measurement and the grid it is to be reconstructed on; beside, then renamed."""
    m = prepared.measurement
    arrays = {"projections": m.projections.cpu().numpy()}
    if m.weights is not None:
        arrays["weights"] = m.weights.cpu().numpy()
    about = json.dumps({"scan": scan.to_json(), "grid": asdict(prepared.A.vg)})
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays["about"] = np.frombuffer(about.encode(), np.uint8)
    write_arrays(path, arrays, compress=True)


def read_measurement(path: str | Path) -> tuple[Projector, Measurement]:
    """The projector and the measurement of a file that `write_measurement` wrote."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no measurement {path}; make one with `tomopatch simulate`.")
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(file["about"].tobytes())
            projections = torch.from_numpy(file["projections"])
            weights = torch.from_numpy(file["weights"]) if "weights" in file else None
        scan, grid = ScanConfig.from_json(about["scan"]), VolumeGeometry(**about["grid"])
    except _DAMAGED as error:
        raise ValueError(
            f"{path} is not a measurement of `tomopatch simulate`, or it is damaged: {error}"
        ) from error
    if scan.det_shape is None:  # the detector that was fitted then, which another version may fit otherwise
        v, _, u = projections.shape if projections.ndim == 3 else (0, 0, 0)
        scan = replace(scan, det_shape=(v, u))
    pg = scan.geometry(grid)
    return Projector(grid, pg), Measurement(projections, pg, weights, scan.photons)
