"""Drafts for the prior's training: training volumes scanned sparsely at random and reconstructed quickly.

Given a prior, drafts also hold what the sampler makes of them with it: the next one to be trained then knows the
errors of its own later passes. (Ross et al. 2011, DAgger)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.prior.data import DataConfig, Draft, Scan
from core.prior.denoiser import PatchPrior
from core.progress import Step
from core.reconstruct.diffusion import diffusion
from core.reconstruct.iterative import sirt, tv
from core.reconstruct.starts import least_squares
from core.runs.config import ScanConfig
from core.runs.prepare import Prepared, scan_volume
from core.runs.writing import write_arrays
from core.volume import MU_WATER, Volume, VolumeGeometry, hu_from_mu, resample


def make_drafts(
    scans: Sequence[Scan],
    count: int,
    folder: Path,
    config: DataConfig,
    *,
    prior: PatchPrior | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> list[Draft]:
    """So many drafts; those that the folder holds already are read, the others made, with the prior if given, and
    kept there."""
    folder.mkdir(parents=True, exist_ok=True)
    drafts = []
    for i in range(count):
        path = draft_path(folder, seed, i)
        if not path.exists():
            write_draft(path, draw_draft(scans, config, np.random.default_rng([seed, 3, i]), prior))
            say(f"draft {i + 1} of {count}")
        drafts.append(read_draft(path))
    return drafts


def draft_path(folder: Path, seed: int, i: int) -> Path:
    return folder / f"draft-{seed}-{i:04d}.npz"


def write_draft(path: Path, draft: Draft) -> None:
    volumes = {"hu": draft.hu, "clean_hu": draft.clean_hu, "guide_hu": draft.guide_hu}
    write_arrays(path, {**volumes, "voxel_size": np.array(draft.voxel_size)})


def read_draft(path: Path) -> Draft:
    with np.load(path, allow_pickle=False) as file:
        return Draft(file["hu"], file["clean_hu"], file["guide_hu"], tuple(file["voxel_size"].tolist()))


def draw_draft(
    scans: Sequence[Scan], config: DataConfig, rng: np.random.Generator, prior: PatchPrior | None = None
) -> Draft:
    """A random scan of a random training volume on a random grid, and its reconstruction."""
    prepared = draw_scan(scans, config, rng)
    iterates = [_quick(prepared, rng)] if prior is None else _sampled(prepared, prior, rng)
    reference = prepared.reference
    measurement = prepared.measurement
    guide = least_squares(prepared.A, measurement.projections, measurement.weights)
    hu, clean_hu, guide_hu = (
        hu_from_mu(x).round().clamp(-2000, 8000).to("cpu", torch.int16)
        for x in (torch.stack(iterates), reference.data, guide)
    )
    return Draft(hu.numpy(), clean_hu.numpy(), guide_hu.numpy(), reference.geometry.voxel_size)


def draw_scan(scans: Sequence[Scan], config: DataConfig, rng: np.random.Generator) -> Prepared:
    """A random scan of a random training volume on a random grid; on the GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    weights = np.array([s.weight for s in scans])
    scan = scans[int(rng.choice(len(scans), p=weights / weights.sum()))]
    most = max(1, round(150 / scan.voxel_size[0]))  # many short ones teach more than few long ones
    start = int(rng.integers(max(1, len(scan.hu) - most + 1)))
    hu = np.ascontiguousarray(scan.hu[start : start + most])
    volume = Volume.from_hu(torch.from_numpy(hu).to(device), VolumeGeometry(hu.shape, scan.voxel_size))
    edges = []
    for (low, high), native in zip(
        (config.voxel_z, config.voxel_xy), (scan.voxel_size[0], scan.voxel_size[2]), strict=True
    ):
        finest = max(low, native, config.draft_finest)
        edges.append(math.exp(rng.uniform(math.log(finest), math.log(max(high, finest)))))
    nz, ny, nx = (
        max(8, round(size / edge))
        for size, edge in zip(volume.geometry.size, (edges[0], edges[1], edges[1]), strict=True)
    )
    chosen = ScanConfig(
        source="training",
        grid=(nz, ny, nx),
        num_views=round(math.exp(rng.uniform(math.log(6), math.log(80)))),
        photons=math.exp(rng.uniform(math.log(5e3), math.log(3e5))) if rng.random() < 0.4 else None,
        seed=int(rng.integers(2**31)),
    )
    kind = rng.random()
    if kind < 0.3:
        chosen = replace(chosen, beam="cone", angle_range=360.0)
    elif kind < 0.5:
        chosen = replace(chosen, angle_range=float(rng.uniform(90, 150)))
    # scanned at twice the grid's resolution: finer costs much and tells little more
    fine_z, fine_y, fine_x = (min(n, 2 * m) for n, m in zip(volume.shape, (nz, ny, nx), strict=True))
    return scan_volume(resample(volume, (fine_z, fine_y, fine_x)), chosen)


def _quick(prepared: Prepared, rng: np.random.Generator) -> Tensor:
    """By total variation of a random weight, or by SIRT, stopped early: (z, y, x) [1/mm]."""
    A, y = prepared.A, prepared.measurement.projections
    if rng.random() < 0.8:
        lam = MU_WATER * math.exp(rng.uniform(math.log(1.5e-4), math.log(6e-4)))
        iterations = int(rng.integers(60, 120))
        return tv(A, y, lam=lam, weights=prepared.measurement.weights, num_iterations=iterations)
    return sirt(A, y, num_iterations=int(rng.integers(20, 120)))


def _sampled(prepared: Prepared, prior: PatchPrior, rng: np.random.Generator) -> list[Tensor]:
    """The sampler's start, and what it hands the prior at two later passes."""
    num_steps = int(rng.integers(3, 9))
    later = sorted(int(i) for i in rng.choice(np.arange(2, num_steps + 1), 2, replace=False))
    kept: list[Tensor] = []

    def keep(step: Step) -> None:
        if step.stage == "start":
            kept[:] = [step.x.clone()]
        elif step.i in later:
            assert step.noisy is not None
            kept.append(step.noisy)
            if step.i == later[-1]:
                raise StopIteration

    diffusion(
        prepared.A,
        prepared.measurement.projections,
        prior.at(prepared.reference.geometry.voxel_size),
        weights=prepared.measurement.weights,
        num_steps=num_steps,
        start_iterations=int(rng.integers(100, 300)),
        generator=torch.Generator().manual_seed(int(rng.integers(2**31))),
        stages=1,
        mirror=False,
        callback=keep,
    )
    return kept
