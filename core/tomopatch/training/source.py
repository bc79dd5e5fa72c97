"""Training data: degraded patches of training volumes, with and without conditions.

A batch consists of three kinds of degraded volumes:

- *posterior*: what posterior sampling passes to the prior: the volume of a simulated pair with white noise,
  combined with the scan's image (see `prior.combined`), conditioned on the scan's images;
- *upsample*: a volume with white noise, conditioned on the same volume at half the resolution, upsampled;
- *unconditional*: a volume with white noise alone.

The batch of step i depends only on the seed, the pairs and i, so a resumed run gets exactly the batches of an
uninterrupted one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from tomopatch.prior.combined import combine
from tomopatch.prior.conditions import Condition, Context, network_inputs
from tomopatch.prior.network import ABLATIONS, NetworkConfig
from tomopatch.prior.patches import Device, PatchGrid, cut, offset_steps
from tomopatch.prior.precond import Numbers
from tomopatch.prior.upsampling import upsampled, upsampling_error
from tomopatch.reconstruct.diffusion.expected_error import expected_error
from tomopatch.reconstruct.diffusion.tuned import WIDER
from tomopatch.training.data_config import DataConfig
from tomopatch.training.pairs import Pair, TrainingVolume
from tomopatch.training.volume_pool import VolumePool, random_slab
from tomopatch.volume import Triple, VolumeGeometry, area_average

KINDS = ("posterior", "upsample", "unconditional")
SIGMA_MIN = 0.004  # network units: 4 HU, less than the noise of the training volumes
CANDIDATES = 2  # places drawn for each patch
COARSE_NOISE = 0.02  # network units: the error of a coarse volume that was generated or reconstructed


@dataclass(frozen=True, eq=False)
class _Degraded:
    """A clean and a degraded volume (z, y, x) in network space.

    true_sigma: RMS distance of the two (); sigma: the noise level passed to the network ().
    """

    clean: Tensor
    noisy: Tensor
    true_sigma: Tensor
    sigma: Tensor
    voxel_size: Triple
    condition: Condition


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches of one step.

    inputs (b, c, *tile) and numbers are as `Precond.forward` takes them. clean (b, 1, *tile). weight (b,) is
    1 / c_out^2 at the true noise level.
    """

    inputs: Tensor
    numbers: Numbers
    clean: Tensor
    weight: Tensor

    def part(self, index: slice, device: Device) -> Batch:
        """The patches of an index, on a device."""
        numbers = Numbers(*(t[index].to(device) for t in vars(self.numbers).values()))
        inputs, clean, weight = (t[index].to(device) for t in (self.inputs, self.clean, self.weight))
        return Batch(inputs, numbers, clean, weight)


@dataclass(frozen=True, eq=False)
class _StoredPair:
    """Images of a pair on the training device, HU as int16, and the expected error of its condition."""

    pair: Pair
    clean: Tensor
    tv: Tensor
    least_squares: Tensor
    error: float


class PatchSource:
    """Random batches of degraded patches.

    Parameters
    ----------
    volumes : training volumes
    config : DataConfig
    network : NetworkConfig
        Determines the size of the patches and their channels.
    num_volumes, crops : int
        A batch holds `crops` patches of each of `num_volumes` degraded volumes: further crops of one volume
        cost almost nothing.
    pairs : simulated training pairs
    seed : int
    device : torch.device
        Device of the batches, the pool and the pairs.
    """

    def __init__(
        self,
        volumes: Sequence[TrainingVolume],
        config: DataConfig,
        *,
        network: NetworkConfig,
        num_volumes: int,
        crops: int,
        pairs: Sequence[Pair] = (),
        seed: int = 0,
        device: Device = "cpu",
    ) -> None:
        if not volumes:
            raise ValueError(
                "there are no training volumes; give a folder with DICOM or NIfTI volumes of CT."
            )
        self.config, self.network = config, network
        self.num_volumes, self.crops, self.seed = num_volumes, crops, seed
        self.device = torch.device(device)
        self._pairs: list[_StoredPair] = []
        for pair in pairs:
            self.add(pair)
        self.pool = VolumePool(volumes, config, tile=network.tile, seed=seed, device=self.device)

    @property
    def num_pairs(self) -> int:
        return len(self._pairs)

    def add(self, pair: Pair) -> None:
        """Add a pair to the source."""
        clean, tv, least_squares = (
            torch.from_numpy(hu).to(self.device) for hu in (pair.clean, pair.tv, pair.least_squares)
        )
        error = expected_error(pair.figures, pair.voxel_size)
        self._pairs.append(_StoredPair(pair, clean, tv, least_squares, error))

    def batch(self, step: int) -> Batch:
        """The batch of step 0, 1, 2, ... Nothing in here waits for the device."""
        rng = np.random.default_rng([self.seed, 1, step])
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        sigmas = self._sigmas(rng)
        slots = rng.choice(self.config.pool, self.num_volumes, replace=self.config.pool < self.num_volumes)
        parts = []
        for kind, slot, sigma in zip(self.draw_kinds(rng), slots, sigmas, strict=True):
            noise_level = torch.tensor(float(sigma), device=self.device)
            if kind == "posterior":
                degraded = self._from_pair(noise_level, rng, generator)
            else:
                degraded = self._from_pool(kind, int(slot), step, noise_level, generator)
            parts.append(self._patches(degraded, rng))
        numbers = Numbers(*(torch.cat([getattr(p.numbers, f.name) for p in parts]) for f in fields(Numbers)))
        inputs, clean, weight = (
            torch.cat([getattr(p, name) for p in parts]) for name in ("inputs", "clean", "weight")
        )
        return Batch(inputs, numbers, clean, weight)

    def draw_kinds(self, rng: np.random.Generator) -> list[str]:
        """The kind of each volume of a batch, stratified, so that a small batch sees all of them."""
        config = self.config
        shares = [config.posterior, config.upsample]
        if not self._pairs:
            shares[0] = 0.0
        if not self.network.conditional:
            shares[1] = 0.0
        edges = np.cumsum(shares)
        quantile = (rng.permutation(self.num_volumes) + rng.random(self.num_volumes)) / self.num_volumes
        return [KINDS[int(np.searchsorted(edges, q, side="right"))] for q in quantile]

    def _white(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randn(x.shape, generator=generator, device=self.device)

    def _sigmas(self, rng: np.random.Generator) -> np.ndarray:
        """One noise level per volume, stratified over the distribution, so that a small batch covers it."""
        config, n = self.config, self.num_volumes
        quantile = (rng.permutation(n) + rng.random(n)) / n
        wide = config.sigma_max ** rng.random(n)
        normal = torch.special.ndtri(torch.tensor(quantile)).numpy()
        usual = config.sigma_median * np.exp(config.sigma_spread * normal)
        return np.clip(np.where(rng.random(n) < config.sigma_wide, wide, usual), SIGMA_MIN, config.sigma_max)

    def _from_pair(self, sigma: Tensor, rng: np.random.Generator, generator: torch.Generator) -> _Degraded:
        """A volume of a pair with white noise, combined with the images of its scan."""
        stored = self._pairs[int(rng.integers(len(self._pairs)))]
        start, stop = random_slab(len(stored.clean), self.config.slab, rng)
        flip = rng.random() < 0.5

        def part(hu: Tensor) -> Tensor:
            x = hu[start:stop].to(torch.float32) / 1000 + 1
            return x.flip(2) if flip else x

        clean, image, least_squares = map(part, (stored.clean, stored.tv, stored.least_squares))
        # the expected error is an estimate, accurate to about a third
        error = stored.error * math.exp(rng.normal(0, 0.3))
        ratio, voxel_size = stored.pair.figures.sampling_ratio, stored.pair.voxel_size
        condition = Condition(image, error, least_squares, ratio)
        bound = condition if self.network.conditional else Condition(least_squares=least_squares)
        noisy = clean + sigma * self._white(clean, generator)
        combined, guess = combine(noisy, sigma, image, error, WIDER * error)
        true_sigma = (combined - clean).square().mean().sqrt().clamp(min=SIGMA_MIN)
        return _Degraded(clean, combined, true_sigma, guess.clamp(min=SIGMA_MIN), voxel_size, bound)

    def _from_pool(
        self, kind: str, slot: int, step: int, sigma: Tensor, generator: torch.Generator
    ) -> _Degraded:
        """A resampled volume with white noise, conditioned on its half resolution or on nothing."""
        clean, voxel_size = self.pool.volume(slot, step)
        condition = Condition()
        if kind == "upsample":
            grid = VolumeGeometry((clean.shape[0], clean.shape[1], clean.shape[2]), voxel_size)
            coarse = area_average(clean, grid.halved().shape)
            coarse = coarse + COARSE_NOISE * self._white(coarse, generator)
            image = upsampled(coarse, (clean.shape[0], clean.shape[1], clean.shape[2]))
            condition = Condition(image, upsampling_error(image))
        noisy = clean + sigma * self._white(clean, generator)
        return _Degraded(clean, noisy, sigma, sigma, voxel_size, condition)

    def _patches(self, degraded: _Degraded, rng: np.random.Generator) -> Batch:
        tile, n = self.network.tile, self.crops
        clean, condition = degraded.clean, degraded.condition
        grid = PatchGrid((clean.shape[0], clean.shape[1], clean.shape[2]), tile)

        shown = condition.on(grid, self.device)
        volume, context = grid.pad(clean), Context.of(grid.pad(degraded.noisy), self.network, shown)
        starts, targets = self._cuts(volume, rng)
        inputs = network_inputs(context, starts, tile)
        for kind in ABLATIONS:
            if rng.random() < self.config.drop:
                names = self.network.input_names
                channels = [i for i in self.network.channels_of(kind) if not names[i].startswith("condition")]
                inputs[:, channels] = 0.0 if kind == "coordinates" else self.network.mean
        numbers = condition.numbers(n, degraded.sigma, grid, degraded.voxel_size)
        s = self.network.sigma_data if condition.image is None else condition.error
        weight = (degraded.true_sigma**2 + s**2) / (degraded.true_sigma * s) ** 2
        return Batch(inputs, numbers, targets[:, None], weight.expand(n))

    def _cuts(self, volume: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Places (n, 3) and patches (n, *tile): of some random places, those with the largest deviation.

        Air is half of a volume and teaches little.
        """
        tile = self.network.tile
        steps = np.array(offset_steps(tile))
        drawn = rng.integers(np.array(volume.shape) // steps, size=(CANDIDATES * self.crops, 3))
        if tuple(volume.shape) == tile:
            drawn[:] = 0  # as at inference: see `PatchGrid.random`
        starts = torch.from_numpy(drawn * steps).to(self.device)
        candidates = cut(volume, starts, tile)
        best = candidates.flatten(1).std(1).topk(self.crops).indices
        return starts[best], candidates[best]
