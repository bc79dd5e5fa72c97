"""The pool of resampled training volumes.

Resampling a volume costs more than a training step, so a pool of resampled volumes is kept and one of them is
replaced every few steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from tomopatch.prior.patches import Device
from tomopatch.training.data_config import DataConfig
from tomopatch.training.pairs import TrainingVolume
from tomopatch.volume import Shape, Triple, area_average

AIR_HU = -1000


class VolumePool:
    """Training volumes on random grids, each kept for some steps.

    Parameters
    ----------
    volumes : training volumes
    config : DataConfig
    tile : (z, y, x)
        Volumes that are padded with air are padded to whole tiles.
    seed : int
    device : torch.device
        Device on which the volumes are resampled and kept.
    """

    def __init__(
        self,
        volumes: Sequence[TrainingVolume],
        config: DataConfig,
        *,
        tile: Shape,
        seed: int = 0,
        device: Device = "cpu",
    ) -> None:
        self.volumes, self.config, self.tile, self.seed = list(volumes), config, tile, seed
        self.device = torch.device(device)
        self._held: dict[int, tuple[int, Tensor, Triple]] = {}
        self._halves: dict[tuple[int, int], np.ndarray] = {}

    def volume(self, slot: int, step: int) -> tuple[Tensor, Triple]:
        """The volume (z, y, x), network space, that the pool holds in this slot at this step."""
        cycle = self.config.pool * self.config.refresh
        generation = (step + cycle - 1 - slot * self.config.refresh) // cycle
        held = self._held.get(slot)
        if held is None or held[0] != generation:
            data, voxel_size = self._draw(np.random.default_rng([self.seed, 2, slot, generation]))
            self._held[slot] = held = (generation, data, voxel_size)
        return held[1].to(torch.float32) / 1000 + 1, held[2]

    def _draw(self, rng: np.random.Generator) -> tuple[Tensor, Triple]:
        """A random volume on a random grid, as int16 HU."""
        config = self.config
        weights = np.array([v.weight for v in self.volumes])
        index = int(rng.choice(len(self.volumes), p=weights / weights.sum()))
        chosen = self.volumes[index]
        body = rng.random() < config.body
        range_xy, range_z = (config.body_voxel,) * 2 if body else (config.voxel_xy, config.voxel_z)
        vxy = _log_uniform(rng, max(range_xy[0], chosen.voxel_size[2]), range_xy[1])
        # in practice slices are between half and four times as thick as voxels are wide
        low = max(range_z[0], chosen.voxel_size[0], 0.5 * vxy)
        vz = _log_uniform(rng, low, min(range_z[1], 4 * vxy))
        halvings = int(math.log2(max(1.0, vxy / chosen.voxel_size[2]))) if self.device.type == "cpu" else 0
        hu, native = self._reduced(index, halvings), chosen.voxel_size
        start, stop = (0, len(hu)) if body else random_slab(len(hu), config.slab, rng)
        hu, depth = hu[start:stop], stop - start
        scale = 2**halvings
        size = (depth * native[0], hu.shape[1] * native[1] * scale, hu.shape[2] * native[2] * scale)
        nz, ny, nx = (max(2, round(s / v)) for s, v in zip(size, (vz, vxy, vxy), strict=True))
        native_hu = torch.from_numpy(np.ascontiguousarray(hu)).to(self.device, torch.float32)
        data = area_average(native_hu, (nz, ny, nx))
        if rng.random() < 0.5:
            data = data.flip(2)  # left-right: the coordinates are those of the mirrored place
        if body and rng.random() < config.air:
            data = _amid_air(data, self.tile)
        voxel_size = (size[0] / nz, size[1] / ny, size[2] / nx)
        return data.round().to(torch.int16), voxel_size

    def _reduced(self, index: int, halvings: int) -> np.ndarray:
        """A training volume with its in-plane resolution halved `halvings` times; cached for later draws."""
        if halvings == 0:
            return self.volumes[index].hu
        key = (index, halvings)
        if key not in self._halves:
            finer = self._reduced(index, halvings - 1)
            nz, ny, nx = finer.shape
            even = finer[:, : ny // 2 * 2, : nx // 2 * 2].reshape(nz, ny // 2, 2, nx // 2, 2)
            self._halves[key] = even.mean((2, 4), dtype=np.float32).round().astype(np.int16)
        return self._halves[key]


def random_slab(depth: int, least: float, rng: np.random.Generator) -> tuple[int, int]:
    """Start and stop of a random range of slices, at least the share `least` of `depth` slices."""
    kept = max(1, round(depth * rng.uniform(least, 1.0)))
    start = int(rng.integers(depth - kept + 1))
    return start, start + kept


def _amid_air(hu: Tensor, tile: Shape) -> Tensor:
    """hu (z, y, x) centred on a number of whole tiles, in plane: the one nearest to its size."""
    ends = []
    for n, p in zip(hu.shape[:0:-1], tile[:0:-1], strict=True):  # x, y
        missing = max(1, round(n / p)) * p - n
        ends += [missing // 2, missing - missing // 2]
    return functional.pad(hu, ends, value=AIR_HU)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(low * (max(high, low) / low) ** rng.random())
