"""Drafts for the prior's training: training volumes scanned sparsely at random and reconstructed quickly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from core.prior.data import DataConfig, Draft, Scan
from core.reconstruct.iterative import sirt, tv
from core.runs.config import ScanConfig, scan_volume
from core.volume import MU_WATER, Volume, VolumeGeometry, resample


def make_drafts(
    scans: Sequence[Scan],
    count: int,
    folder: Path,
    config: DataConfig,
    *,
    seed: int = 0,
    say: Callable[[str], None] = lambda text: None,
) -> list[Draft]:
    """So many drafts; those that the folder holds already are read, the others made and kept there."""
    folder.mkdir(parents=True, exist_ok=True)
    drafts = []
    for i in range(count):
        path = folder / f"draft-{seed}-{i:04d}.npz"
        if not path.exists():
            draft = draw_draft(scans, config, np.random.default_rng([seed, 3, i]))
            beside = folder / f".{path.name}"
            np.savez(beside, hu=draft.hu, clean_hu=draft.clean_hu, voxel_size=np.array(draft.voxel_size))
            beside.replace(path)
            say(f"draft {i + 1} of {count}")
        with np.load(path, allow_pickle=False) as file:
            drafts.append(Draft(file["hu"], file["clean_hu"], tuple(file["voxel_size"].tolist())))
    return drafts


def draw_draft(scans: Sequence[Scan], config: DataConfig, rng: np.random.Generator) -> Draft:
    """A random scan of a random training volume on a random grid, and its reconstruction by TV or SIRT."""
    weights = np.array([s.weight for s in scans])
    scan = scans[int(rng.choice(len(scans), p=weights / weights.sum()))]
    most = max(1, round(150 / scan.voxel_size[0]))  # many short ones teach more than few long ones
    start = int(rng.integers(max(1, len(scan.hu) - most + 1)))
    hu = np.ascontiguousarray(scan.hu[start : start + most])
    volume = Volume.from_hu(torch.from_numpy(hu), VolumeGeometry(hu.shape, scan.voxel_size))
    edges = [
        math.exp(rng.uniform(math.log(max(low, native)), math.log(max(high, low, native))))
        for (low, high), native in zip(
            (config.voxel_z, config.voxel_xy), (scan.voxel_size[0], scan.voxel_size[2]), strict=True
        )
    ]
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
    prepared = scan_volume(resample(volume, (fine_z, fine_y, fine_x)), chosen)
    A, y, variances = prepared.A, prepared.measurement.projections, prepared.measurement.weights
    if rng.random() < 0.8:
        lam = MU_WATER * math.exp(rng.uniform(math.log(1.5e-4), math.log(6e-4)))
        iterations = int(rng.integers(60, 120))
        draft = tv(A, y, lam=lam, weights=variances, num_iterations=iterations)
    else:
        draft = sirt(A, y, num_iterations=int(rng.integers(20, 120)))
    rough = Volume(draft, prepared.reference.geometry)
    as_int = [v.hu.round().clamp(-2000, 8000).to(torch.int16).numpy() for v in (rough, prepared.reference)]
    return Draft(as_int[0], as_int[1], prepared.reference.geometry.voxel_size)
