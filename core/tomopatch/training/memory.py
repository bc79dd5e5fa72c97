"""Memory of a training step and of a calibration, estimated in advance."""

from __future__ import annotations

from tomopatch.prior.network import NetworkConfig
from tomopatch.reconstruct.memory import estimated_mb
from tomopatch.training.chains import KEPT_TILES
from tomopatch.training.pairs import FINEST_VOXEL, MAX_VOXELS, MIN_SLICES, VoxelRanges
from tomopatch.training.train_config import TrainConfig

NUMBERS_PER_CHANNEL = 10
"""Numbers that a step holds per voxel, channel and block, gradients included; measured on a CPU."""
LEAST_MB = 200.0
"""[MB] Network, optimiser and training volumes at their smallest."""


def estimated_step_mb(config: TrainConfig, *, with_pairs: bool = True) -> float:
    """Estimate the peak memory [MB] of a step on the CPU: of a batch, or of a pass over a whole volume.

    The estimate serves to refuse a step that would not fit. It is accurate within a factor of 2. Only a run
    with pairs makes passes over whole volumes.
    """
    patches = max(config.volumes * config.crops, KEPT_TILES if with_pairs and config.data.chains else 0)
    return LEAST_MB + 4 * patches * _numbers_per_patch(config.network) / 2**20


BODY = 500.0
"""[mm] Width of the volumes that are scanned."""
MAX_VIEWS = 100
VOLUMES_KEPT = 3
"""Volumes of each scan that a calibration keeps: mean, deviation and truth."""


def estimated_calibration_mb(voxels: VoxelRanges, num_scans: int, num_samples: int) -> float:
    """Estimate the peak memory [MB] of a calibration on scans with the finest of these voxels."""
    across = BODY / max(voxels.xy[0], FINEST_VOXEL)
    most = max(MAX_VOXELS, round(MIN_SLICES * across**2))
    rays = round(MAX_VIEWS * most / across)
    kept = 4 * VOLUMES_KEPT * 2 * num_scans * most / 2**20  # fitted and held-out scans
    return LEAST_MB + kept + estimated_mb("diffusion", most, rays, samples=num_samples)


def _numbers_per_patch(network: NetworkConfig) -> float:
    dimensions = 2 if network.two_d else 3
    per_voxel = float(network.fine_channels * (1 + network.fine_blocks))
    for level, (channels, blocks) in enumerate(zip(network.channels, network.blocks, strict=True), start=1):
        per_voxel += channels * (1 + 2 * blocks) / 2 ** (dimensions * level)
    return NUMBERS_PER_CHANNEL * per_voxel * network.patch_size**dimensions
