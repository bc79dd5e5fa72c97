"""Small measured scans for tests: counts of a fan beam whose axis is 1.5 columns off the middle."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np

from tomopatch import ConeBeam, Projector, Volume, VolumeGeometry, phantom, simulate
from tomopatch.geometry.beams import even_angles
from tomopatch.io.projections import Projections

VIEWS, COLUMNS, AXIS, WHITE = 60, 72, 34.0, 1e4
GEOMETRY = {
    "beam": "fan",
    "src_orig_dist_mm": 100,
    "src_det_dist_mm": 150,
    "pixel_size_mm": 1.5,
    "angle_step_deg": 6,
}


@cache
def counts() -> np.ndarray:
    """Counts (v, angle, u) of a Shepp-Logan phantom."""
    grid = VolumeGeometry((1, 48, 48), (1.0, 1.0, 1.0))
    image = phantom("shepp-logan", shape=(9, 48, 48)).data[4:5].contiguous()
    offset = ((COLUMNS - 1) / 2 - AXIS) * 1.5
    pg = ConeBeam(even_angles(VIEWS, 2 * np.pi), (1, COLUMNS), (1.5, 1.5), 100, 150, (0.0, offset))
    m = simulate(Volume(image, grid), Projector(grid, pg), photon_count=1e5)
    return (WHITE * np.exp(-m.projections.numpy())).astype(np.float32)


def small_projections() -> Projections:
    """Return the counts with their geometry, but without the axis."""
    return Projections(
        counts(),
        "counts",
        angles=np.radians(6.0 * np.arange(VIEWS)),
        white=WHITE,
        beam="cone",
        pixel_size=(1.5, 1.5),
        src_orig_dist=100.0,
        src_det_dist=150.0,
        name="scan.npz",
    )


def scan_file(folder: Path, *, stated: bool = False) -> tuple[Path, dict[str, object]]:
    """Write the counts as an NPZ, with the geometry if `stated`; return the file and its geometry keys."""
    arrays = {"projections": counts().transpose(1, 0, 2), "quantity": "counts", "white_level": WHITE}
    if stated:
        arrays |= {k: v for k, v in GEOMETRY.items() if k != "angle_step_deg"}
        arrays["pixel_size_mm"] = [1.5, 1.5]
        arrays["angles_deg"] = 6.0 * np.arange(VIEWS)
    np.savez(folder / "scan.npz", **arrays)
    (folder / "geometry.json").write_text(json.dumps(GEOMETRY))
    return folder / "scan.npz", GEOMETRY
