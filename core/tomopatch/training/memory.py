"""Memory of a training step, estimated in advance."""

from __future__ import annotations

from tomopatch.prior.network import NetworkConfig
from tomopatch.training.trainer import TrainConfig

NUMBERS_PER_CHANNEL = 10
"""Numbers that a step holds per voxel, channel and block, gradients included; measured on a CPU."""
LEAST_MB = 200.0
"""[MB] Network, optimiser and training volumes at their smallest."""


def estimated_step_mb(config: TrainConfig) -> float:
    """Estimate the peak memory [MB] of a step on the CPU, which grows with the number of patches.

    The estimate serves to refuse a step that would not fit. It is accurate within a factor of 2.
    """
    patches = config.volumes * config.crops
    return LEAST_MB + 4 * patches * _numbers_per_patch(config.network) / 2**20


def _numbers_per_patch(network: NetworkConfig) -> float:
    dimensions = 2 if network.two_d else 3
    per_voxel = float(network.fine_channels * (1 + network.fine_blocks))
    for level, (channels, blocks) in enumerate(zip(network.channels, network.blocks, strict=True), start=1):
        per_voxel += channels * (1 + 2 * blocks) / 2 ** (dimensions * level)
    return NUMBERS_PER_CHANNEL * per_voxel * network.patch_size**dimensions
