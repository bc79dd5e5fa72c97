"""Simulated training pairs: a training volume, a sparse scan of it, and two reconstructions of the scan.

The reconstructions, total variation and least squares, condition the denoiser on the measurement. The scan is
kept for the chains of the training (see `chains`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.io.writing import write_arrays
from tomopatch.physics.measurement import Measurement, simulate
from tomopatch.prior.ranges import Range
from tomopatch.progress import last
from tomopatch.projector import Projector
from tomopatch.reconstruct.classical.coarse import tv_coarse_to_fine
from tomopatch.reconstruct.diffusion.expected_error import ScanFigures
from tomopatch.reconstruct.diffusion.initial import least_squares, tv_weight
from tomopatch.volume import Triple, Volume, VolumeGeometry, hu_from_mu, resample

MAX_VOXELS = 300_000
"""Grids of pairs are cropped along z to about this size: many short volumes teach more than few long ones."""

MIN_SLICES = 16

FINEST_VOXEL = 1.6
"""Smallest in-plane voxel of a pair [mm]: the cost of a scan grows with the resolution's fourth power."""


@dataclass(frozen=True)
class VoxelRanges:
    """Ranges of the random voxel sizes, in plane and between slices [mm]."""

    xy: Range
    z: Range


@dataclass(frozen=True, eq=False)
class TrainingVolume:
    """A training volume on its own grid: HU as int16 (z, y, x), voxel size [mm], relative probability."""

    name: str
    hu: np.ndarray
    voxel_size: Triple
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Pair:
    """One simulated scan of a training volume. Images are HU as int16, (z, y, x).

    Attributes
    ----------
    clean : the training volume on the reconstruction grid
    tv, least_squares : the two conditioning images
    voxel_size : (z, y, x) [mm]
    figures : figures of the scan
    geometry : ParallelBeam or ConeBeam
    projections : (v, angle, u), line integrals
    weights : (v, angle, u), their inverse variances; None = no photon noise
    """

    clean: np.ndarray
    tv: np.ndarray
    least_squares: np.ndarray
    voxel_size: Triple
    figures: ScanFigures
    geometry: ParallelBeam | ConeBeam
    projections: np.ndarray
    weights: np.ndarray | None = None

    @property
    def grid(self) -> VolumeGeometry:
        z, y, x = self.clean.shape
        return VolumeGeometry((z, y, x), self.voxel_size)


ARRAYS = ("clean", "tv", "least_squares", "projections", "weights")
BEAMS: dict[str, type[ParallelBeam] | type[ConeBeam]] = {"parallel": ParallelBeam, "cone": ConeBeam}


def pair_path(folder: Path, seed: int, i: int) -> Path:
    return folder / f"pair-{seed}-{i:05d}.npz"


def write_pair(path: Path, pair: Pair) -> None:
    """Write a pair as an .npz with an array for each field and each figure of the scan; geometry as JSON."""
    arrays = {name: getattr(pair, name) for name in ARRAYS if getattr(pair, name) is not None}
    beam = next(name for name, kind in BEAMS.items() if isinstance(pair.geometry, kind))
    geometry = asdict(pair.geometry) | {"angles": np.asarray(pair.geometry.angles).tolist(), "beam": beam}
    numbers = {"voxel_size": pair.voxel_size, **asdict(pair.figures), "geometry": json.dumps(geometry)}
    write_arrays(path, arrays | {name: np.asarray(value) for name, value in numbers.items()})


def read_pair(path: Path) -> Pair:
    """Read a file of `write_pair`.

    Raises
    ------
    ValueError
        If the file holds no scan, like the files of earlier versions.
    """
    with np.load(path, allow_pickle=False) as file:
        if "geometry" not in file:
            raise ValueError(
                f"{path} holds no projections: an earlier version made it. Delete the folder {path.parent};"
                " its pairs will be made again."
            )
        figures = ScanFigures(**{f.name: float(file[f.name]) for f in fields(ScanFigures)})
        stored: dict[str, Any] = json.loads(str(file["geometry"]))
        kind = BEAMS[stored.pop("beam")]
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}
        geometry = kind(**values)
        arrays = {name: file[name] for name in ARRAYS if name in file}
        return Pair(
            **arrays, voxel_size=tuple(file["voxel_size"].tolist()), figures=figures, geometry=geometry
        )


def make_pairs(
    volumes: Sequence[TrainingVolume],
    count: int,
    folder: Path,
    voxels: VoxelRanges,
    *,
    seed: int = 0,
    report: Callable[[str], None] = lambda text: None,
) -> list[Pair]:
    """Return `count` pairs: those in the folder are read, the others are simulated and written to it."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for i in range(count):
        path = pair_path(folder, seed, i)
        if not path.exists():
            write_pair(path, simulate_pair(volumes, voxels, np.random.default_rng([seed, 3, i])))
            report(f"pair {i + 1} of {count}")
        pairs.append(read_pair(path))
    return pairs


def simulate_pair(volumes: Sequence[TrainingVolume], voxels: VoxelRanges, rng: np.random.Generator) -> Pair:
    """Simulate a random scan of a random volume on a random grid and reconstruct it."""
    reference, A, measurement = draw_scan(volumes, voxels, rng)
    assert isinstance(A.pg, ParallelBeam | ConeBeam)
    y, weights = measurement.projections, measurement.weights
    lam = tv_weight(A) * math.exp(rng.normal(0, 0.15))
    num_iterations = int(rng.integers(60, 150))
    x = last(tv_coarse_to_fine(A, y, lam=lam, num_iterations=num_iterations, weights=weights)).x
    clean, tv, ls = (
        hu_from_mu(v).round().clamp(-2000, 8000).to("cpu", torch.int16).numpy()
        for v in (reference.data, x, least_squares(A, y, weights))
    )
    return Pair(
        clean=clean,
        tv=tv,
        least_squares=ls,
        voxel_size=A.vg.voxel_size,
        figures=ScanFigures.of(A, y, weights),
        geometry=A.pg,
        projections=y.cpu().numpy(),
        weights=None if weights is None else weights.cpu().numpy(),
    )


def draw_scan(
    volumes: Sequence[TrainingVolume],
    voxels: VoxelRanges,
    rng: np.random.Generator,
) -> tuple[Volume, Projector, Measurement]:
    """A random volume on a random grid, the projector and the measurement of a random scan of it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    chances = np.array([v.weight for v in volumes])
    chosen = volumes[int(rng.choice(len(volumes), p=chances / chances.sum()))]
    native = chosen.voxel_size
    low = max(voxels.xy[0], native[2], FINEST_VOXEL)
    xy = math.exp(rng.uniform(math.log(low), math.log(max(voxels.xy[1], low))))
    low = max(voxels.z[0], native[0], 0.5 * xy)
    z = math.exp(rng.uniform(math.log(low), math.log(max(low, min(voxels.z[1], 4 * xy)))))
    ny, nx = (max(8, round(n * s / xy)) for n, s in zip(chosen.hu.shape[1:], native[1:], strict=True))
    most = max(MIN_SLICES, MAX_VOXELS // (ny * nx))
    slices = max(1, round(most * z / native[0]))
    start = int(rng.integers(max(1, len(chosen.hu) - slices + 1)))
    hu = np.ascontiguousarray(chosen.hu[start : start + slices])
    volume = Volume.from_hu(torch.from_numpy(hu).to(device), VolumeGeometry(hu.shape, native))
    nz = max(4, round(len(hu) * native[0] / z))
    # the scan is simulated at twice the grid's resolution; a finer one costs much and changes little
    fz, fy, fx = (min(n, 2 * m) for n, m in zip(volume.shape, (nz, ny, nx), strict=True))
    fine = resample(volume, (fz, fy, fx))
    reference = resample(fine, (nz, ny, nx))
    A = Projector(reference.geometry, _draw_geometry(reference.geometry, rng))
    photons = math.exp(rng.uniform(math.log(5e3), math.log(3e5))) if rng.random() < 0.4 else None
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    return reference, A, simulate(fine, A, photon_count=photons, generator=generator)


def _draw_geometry(vg: VolumeGeometry, rng: np.random.Generator) -> Geometry:
    """A cone beam (0.3), a parallel beam over a limited angle (0.25) or over half a turn."""
    views = round(math.exp(rng.uniform(math.log(5), math.log(100))))
    start = float(rng.uniform(0, 2 * math.pi))
    kind = rng.random()
    if kind < 0.3:
        angle_range = 2 * math.pi if rng.random() < 0.8 else float(rng.uniform(1.1, 2)) * math.pi
        return ConeBeam.circular(
            vg, num_views=views, angle_range=angle_range, start=start,
            src_orig_dist=max(800.0, 2 * vg.radius), src_det_dist=max(1200.0, 3 * vg.radius),
        )  # fmt: skip
    angle_range = float(rng.uniform(80, 150)) / 180 * math.pi if kind < 0.55 else math.pi
    return ParallelBeam.circular(vg, num_views=views, angle_range=angle_range, start=start)
