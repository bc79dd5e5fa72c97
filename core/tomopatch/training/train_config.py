"""Settings of a training run, and the learning rate that follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tomopatch.prior.network import PRESETS, NetworkConfig
from tomopatch.prior.ranges import MODES, TrainedRanges
from tomopatch.training.data_config import DataConfig


@dataclass(frozen=True)
class TrainConfig:
    """Settings of a training run: everything that changes its result."""

    network: NetworkConfig = PRESETS["small"]
    data: DataConfig = field(default_factory=DataConfig)
    num_steps: int = 20_000
    volumes: int = 4  # degraded volumes per batch, each with its own noise level
    crops: int = 2  # patches of each degraded volume
    patch_weight: float = 0.2  # weight of the loss of patches next to that of whole reconstructions
    learning_rate: float = 1e-2  # peak; weights have unit scale, so it is a relative one
    constant_steps: int = 600  # then the learning rate falls with the step's inverse root (EDM2, eq. 67)
    cooldown: int = 3000  # last steps of the run, over which the learning rate falls linearly to 0
    warmup: int = 50  # steps
    clip: float = 1.0  # limit of the gradient's norm
    ema: float = 0.9998  # decay of the averaged weights per step, reached gradually
    seed: int = 0
    bf16: bool = False  # compute in bfloat16 (autocast)
    compile: bool = False  # fuse the network's operations: takes a minute, pays off in long runs on GPUs

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> TrainConfig:
        ranges = {name: tuple(stored["data"][name]) for name in ("voxel_xy", "voxel_z", "body_voxel")}
        data = DataConfig(**{**stored["data"], **ranges})
        return cls(**{**stored, "network": NetworkConfig(**stored["network"]), "data": data})

    @property
    def trained(self) -> TrainedRanges:
        """Modes and ranges that a prior of this run is trained for."""
        data = self.data
        modes = MODES if self.network.conditional else ("restore", "unconditional")
        xy = (data.voxel_xy[0], max(data.voxel_xy[1], data.body_voxel[1] if data.body else 0.0))
        return TrainedRanges(modes=modes, voxel_xy=xy, voxel_z=data.voxel_z)


def learning_rate_factor(step: int, config: TrainConfig) -> float:
    """Learning rate relative to its peak.

    Linear warm-up, constant, inverse root of the step (EDM2, eq. 67), linear cool-down at the end.
    """
    warm = min(1.0, (step + 1) / max(1, config.warmup))
    cool = min(1.0, max(0, config.num_steps - step) / max(1, config.cooldown))
    return warm * cool / max(1.0, step / config.constant_steps) ** 0.5
