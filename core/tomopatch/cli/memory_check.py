"""Memory check of a command before its work, with the estimate of the app."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tomopatch.projector import Projector
from tomopatch.reconstruct.memory import estimated_mb
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.limits import memory_mb
from tomopatch.runs.resource_estimate import PROCESS_MB, refusal
from tomopatch.training.memory import estimated_calibration_mb, estimated_step_mb
from tomopatch.training.pairs import VoxelRanges
from tomopatch.training.train_config import TrainConfig
from tomopatch.volume import Shape, VolumeGeometry


@dataclass(frozen=True)
class _OneVolume:
    """Replaces the store in an estimate: it knows the grid of one volume."""

    native: VolumeGeometry

    def volume_geometry(self, digest: str) -> VolumeGeometry:
        return self.native


def check_scan(
    scan: ScanConfig,
    methods: Sequence[str] = (),
    params: Mapping[str, dict[str, Any]] | None = None,
    *,
    native: VolumeGeometry,
) -> None:
    """Refuse a scan, or its reconstruction with one of these methods, that does not fit into the memory.

    `native` is the grid of the scanned volume.

    Raises
    ------
    ValueError
        With the estimate, the limit and a grid that would fit, or if the scan is impossible.
    """
    if not scan.source.startswith("phantom:"):
        scan = replace(scan, source="volume:known")
    for name in methods or [
        "fbp" if scan.beam == "parallel" else "fdk"
    ]:  # a simulation needs about as much memory
        text = refusal(RunConfig(scan, name, dict((params or {}).get(name, {}))), _OneVolume(native))
        if text:
            subject = METHODS[name].label if methods else "This scan"
            raise ValueError(text.replace("This run", subject, 1))


def check_measured(A: Projector, method: str, params: Mapping[str, Any]) -> None:
    """Refuse the reconstruction of a stored measurement on a grid that does not fit."""
    voxels, rays = math.prod(A.domain_shape), math.prod(A.range_shape)
    data = 4 * (voxels + 2 * rays) / 2**20
    samples = int(params.get("num_samples", 1))
    _refuse(data + estimated_mb(method, voxels, rays, samples=samples), "choose a smaller --grid")


def check_generated(grid: Shape) -> None:
    """Refuse to generate a volume that does not fit."""
    _refuse(estimated_mb("generate", math.prod(grid), 0), "choose a smaller --grid")


def check_training(config: TrainConfig, *, with_pairs: bool) -> None:
    """Refuse training steps that do not fit. On a GPU they take its own memory."""
    if not torch.cuda.is_available():
        _refuse(
            estimated_step_mb(config, with_pairs=with_pairs),
            "choose fewer --volumes or --crops, a smaller --network, or --data chains=0",
        )


def check_calibration(voxels: VoxelRanges, num_scans: int, num_samples: int) -> None:
    """Refuse a calibration that does not fit."""
    _refuse(
        estimated_calibration_mb(voxels, num_scans, num_samples),
        "choose fewer --scans or --samples",
    )


def _refuse(mb: float, advice: str) -> None:
    allowed = memory_mb()
    if PROCESS_MB + mb > allowed:
        raise ValueError(
            f"This run needs about {(PROCESS_MB + mb) / 1000:.1f} GB of memory, "
            f"and one may take {allowed / 1000:.1f} GB here; {advice}."
        )
