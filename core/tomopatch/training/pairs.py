"""Simulated training pairs: a training volume and the reconstructions of a sparse scan of it.

A pair holds the clean volume and the images that condition the denoiser on a measurement: the total-variation
reconstruction and the least-squares image. It may also hold iterates of the sampler, so that the restoration
mode is trained on the errors of its own passes. (Ross et al. 2011, DAgger)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tomopatch.geometry.beams import ConeBeam, Geometry, ParallelBeam
from tomopatch.io.writing import write_arrays
from tomopatch.physics.measurement import Measurement, simulate
from tomopatch.prior.conditions import Condition
from tomopatch.prior.denoiser import PatchPrior, alternately_mirrored
from tomopatch.prior.ranges import Range
from tomopatch.prior.sampler import karras_sigmas, sample
from tomopatch.progress import last
from tomopatch.projector import Projector
from tomopatch.reconstruct.classical.coarse import tv_coarse_to_fine
from tomopatch.reconstruct.diffusion.consistency import restoration_consistency
from tomopatch.reconstruct.diffusion.expected_error import ScanFigures, expected_error
from tomopatch.reconstruct.diffusion.initial import least_squares, tv_weight
from tomopatch.reconstruct.diffusion.tuned import RESTORE_RHO, RESTORE_SPAN, RESTORE_STEPS, WIDER
from tomopatch.volume import Triple, Volume, VolumeGeometry, hu_from_mu, resample

MAX_VOXELS = 800_000
"""Grids of pairs are cropped along z to about this size: many short volumes teach more than few long ones."""

MIN_SLICES = 16
LOWERED = (-0.7, 0.2)
"""Range of the logarithm of the first noise level of a pair's restoration, relative to the usual one."""

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
    iterates : (k, z, y, x), volumes that restoration passed to the prior after its first pass; k may be 0
    voxel_size : (z, y, x) [mm]
    figures : figures of the scan
    """

    clean: np.ndarray
    tv: np.ndarray
    least_squares: np.ndarray
    iterates: np.ndarray
    voxel_size: Triple
    figures: ScanFigures


IMAGES = ("clean", "tv", "least_squares", "iterates")


def pair_path(folder: Path, seed: int, i: int) -> Path:
    return folder / f"pair-{seed}-{i:05d}.npz"


def write_pair(path: Path, pair: Pair) -> None:
    """Write a pair as an .npz with an array for each field, and for each figure of the scan."""
    numbers = {"voxel_size": pair.voxel_size, **asdict(pair.figures)}
    arrays = {name: getattr(pair, name) for name in IMAGES}
    write_arrays(path, arrays | {name: np.asarray(value) for name, value in numbers.items()})


def read_pair(path: Path) -> Pair:
    """Read a file of `write_pair`."""
    with np.load(path, allow_pickle=False) as file:
        figures = ScanFigures(**{f.name: float(file[f.name]) for f in fields(ScanFigures)})
        images = {name: file[name] for name in IMAGES}
        return Pair(**images, voxel_size=tuple(file["voxel_size"].tolist()), figures=figures)


def make_pairs(
    volumes: Sequence[TrainingVolume],
    count: int,
    folder: Path,
    voxels: VoxelRanges,
    *,
    prior: PatchPrior | None = None,
    seed: int = 0,
    report: Callable[[str], None] = lambda text: None,
) -> list[Pair]:
    """Return `count` pairs: those in the folder are read, the others are simulated and written to it."""
    folder.mkdir(parents=True, exist_ok=True)
    pairs = []
    for i in range(count):
        path = pair_path(folder, seed, i)
        if not path.exists():
            write_pair(path, simulate_pair(volumes, voxels, np.random.default_rng([seed, 3, i]), prior))
            report(f"pair {i + 1} of {count}")
        pairs.append(read_pair(path))
    return pairs


def simulate_pair(
    volumes: Sequence[TrainingVolume],
    voxels: VoxelRanges,
    rng: np.random.Generator,
    prior: PatchPrior | None = None,
) -> Pair:
    """Simulate a random scan of a random volume on a random grid and reconstruct it.

    With a prior the pair also holds iterates of the restoration.
    """
    reference, A, measurement = draw_scan(volumes, voxels, rng)
    y, weights = measurement.projections, measurement.weights
    lam = tv_weight(A) * math.exp(rng.normal(0, 0.25))
    num_iterations = int(rng.integers(30, 150))
    x = last(tv_coarse_to_fine(A, y, lam=lam, num_iterations=num_iterations, weights=weights)).x
    figures, ls = ScanFigures.of(A, y, weights), least_squares(A, y, weights)
    iterates: list[Tensor] = []
    if prior is not None:
        iterates = _iterates(A, measurement, x, ls, figures, prior, rng)
    stack = torch.stack(iterates) if iterates else torch.zeros(0, *x.shape)
    images = {
        name: hu_from_mu(v).round().clamp(-2000, 8000).to("cpu", torch.int16).numpy()
        for name, v in zip(IMAGES, (reference.data, x, ls, stack), strict=True)
    }
    return Pair(**images, voxel_size=A.vg.voxel_size, figures=figures)


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


def _iterates(
    A: Projector,
    measurement: Measurement,
    x: Tensor,
    ls: Tensor,
    figures: ScanFigures,
    prior: PatchPrior,
    rng: np.random.Generator,
) -> list[Tensor]:
    """Volumes (z, y, x) [1/mm] that restoration of x passes to the prior after its first pass.

    Its first noise level is random, because restoration lowers it for some objects.
    """
    start, voxel_size = PatchPrior.to_network(x), A.vg.voxel_size
    error = expected_error(figures, voxel_size)
    condition = Condition(start, error, PatchPrior.to_network(ls), figures.sampling_ratio)
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    denoiser = prior.bind(voxel_size, condition=condition, generator=generator)
    consistency = restoration_consistency(A, measurement.projections, measurement.weights, x)
    first = WIDER * error * math.exp(rng.uniform(*LOWERED))
    sigmas = karras_sigmas(RESTORE_STEPS, first / RESTORE_SPAN, first, RESTORE_RHO)
    passes = alternately_mirrored(denoiser, denoiser, sigmas[1:-1:2])
    steps = list(sample(passes, start, sigmas, correct=consistency, generator=generator))
    return [PatchPrior.from_network(step.noisy) for step in steps[1:] if step.noisy is not None]
