"""Training data: a pool of volumes resampled over a range of voxel sizes, and patches of them that are spoilt.

Most patches get white noise, as in any diffusion model. The rest come from drafts, quick reconstructions of sparse
scans of the training volumes and what the sampler makes of them, with some white noise on top: the errors that the
sampler meets are streaks and blobs, which white noise does not teach. (Hu et al. 2024, A restoration network as an
implicit prior)

Resampling a volume costs more than a training step, so a pool of resampled volumes is kept and one is
replaced every few steps. The batch of step i depends on the seed and on i alone, so a resumed run sees
exactly what an uninterrupted one would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from core.prior.denoiser import Context, network_inputs
from core.prior.network import NetworkConfig
from core.prior.patches import Device, PatchGrid, cut, offset_steps
from core.volume import Shape, Triple, area_average


@dataclass(frozen=True, eq=False)
class Scan:
    """A training volume at its own resolution: HU as int16 (z, y, x), voxel size [mm], share in the draw."""

    name: str
    hu: np.ndarray
    voxel_size: Triple
    weight: float = 1.0


@dataclass(frozen=True, eq=False)
class Draft:
    """Reconstructions of one sparse scan of a training volume, and the volume: HU as int16.

    hu (k, z, y, x): a quick one, and, if a prior was at hand, what the sampler made of it after some passes;
    clean_hu (z, y, x); guide_hu (z, y, x): by least squares, see `core.prior.network`.
    """

    hu: np.ndarray
    clean_hu: np.ndarray
    guide_hu: np.ndarray
    voxel_size: Triple


@dataclass(frozen=True)
class DataConfig:
    """What the patches are drawn from. Lengths in mm, (z, y, x) where three."""

    voxel_xy: tuple[float, float] = (1.4, 4.5)  # in-plane voxel sizes, log-uniform
    voxel_z: tuple[float, float] = (1.4, 6.0)  # slice spacings, log-uniform
    sigma_median: float = 0.2  # noise levels: log-normal about this, network units
    sigma_spread: float = 1.2  # ... with this standard deviation of the logarithm
    sigma_wide: float = 0.25  # share of levels drawn log-uniform from 1 to sigma_max instead
    sigma_max: float = 40.0
    slab: float = 0.5  # a volume is cropped along z to a random share of at least this
    air: float = 0.0  # share of volumes put amid air on whole tiles, in plane: else tiles beyond an edge show it mirrored
    drop: float = 0.05  # share of volumes shown without context, surround, guide or coordinates, each
    pool: int = 48  # resampled volumes kept
    refresh: int = 4  # steps after which one of them is replaced
    draft_finest: float = 1.6  # drafts have no finer voxels: their time goes with the fourth power
    draft_share: float = 0.6  # share of patches that come from drafts, if there are any


AIR_HU = -1000
SIGMA_LEAST = 0.004  # below it there is nothing to learn
CANDIDATES = 2  # places drawn for each patch


@dataclass(frozen=True, eq=False)
class _Spoilt:
    """A clean and a spoilt volume (z, y, x), network space, how far apart they are (), how far the prior is told (), and
    the guide (z, y, x), of a draft."""

    clean: Tensor
    noisy: Tensor
    level: Tensor
    sigma: Tensor
    voxel_size: Triple
    guide: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Batch:
    """Patches of one step; fields as `Precond.forward` takes them, the clean patches (b, 1, P, P, P), and how far
    the volumes that they are cut from are off (b,), root mean square: sigma, but for drafts."""

    inputs: Tensor
    sigma: Tensor
    factor: Tensor
    voxel_size: Tensor
    clean: Tensor
    level: Tensor


class PatchSource:
    """Draws batches of noisy patches.

    Parameters
    ----------
    scans : list of Scan
    config : DataConfig
    drafts : list of Draft
    network : NetworkConfig
        Tells the patches' size and how their context is made.
    volumes, crops : int
        A batch holds `crops` patches of each of `volumes` noised volumes: crops of one volume are nearly free.
    seed : int
    device : torch.device
        Where batches are made and the pool and the drafts are kept.
    """

    def __init__(
        self,
        scans: Sequence[Scan],
        config: DataConfig,
        *,
        network: NetworkConfig,
        volumes: int,
        crops: int,
        drafts: Sequence[Draft] = (),
        seed: int = 0,
        device: Device = "cpu",
    ) -> None:
        if not scans:
            raise ValueError(
                "there are no training volumes; give a folder with DICOM or NIfTI volumes of CT."
            )
        self.scans, self.config, self.network = list(scans), config, network
        self.volumes, self.crops, self.seed, self.device = volumes, crops, seed, torch.device(device)
        self._drafts: list[tuple[Tensor, Tensor, Tensor, Triple]] = []
        for draft in drafts:
            self.add(draft)
        self._pool: dict[int, tuple[int, Tensor, Triple]] = {}
        self._halves: dict[tuple[int, int], np.ndarray] = {}

    def add(self, draft: Draft) -> None:
        """One more draft to draw from."""
        rough, clean, guide = (
            torch.from_numpy(hu).to(self.device) for hu in (draft.hu, draft.clean_hu, draft.guide_hu)
        )
        self._drafts.append((rough, clean, guide, draft.voxel_size))

    def batch(self, step: int) -> Batch:
        """The batch of step 0, 1, 2, ... Nothing in here waits for the device."""
        rng = np.random.default_rng([self.seed, 1, step])
        generator = torch.Generator(self.device).manual_seed(int(rng.integers(2**62)))
        sigmas = self._sigmas(rng)
        slots = rng.choice(self.config.pool, self.volumes, replace=self.config.pool < self.volumes)
        parts = []
        for slot, sigma in zip(slots, sigmas, strict=True):
            if self._drafts and rng.random() < self.config.draft_share:
                spoilt = self._from_draft(rng, generator)
            else:
                clean, voxel_size = self._resampled(int(slot), step)
                level = torch.tensor(float(sigma), device=self.device)
                spoilt = _Spoilt(
                    clean, clean + level * self._white(clean, generator), level, level, voxel_size
                )
            parts.append(self._patches(spoilt, rng))
        return Batch(*(torch.cat([getattr(p, f) for p in parts]) for f in Batch.__dataclass_fields__))

    def _white(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return torch.randn(x.shape, generator=generator, device=self.device)

    def _sigmas(self, rng: np.random.Generator) -> np.ndarray:
        """One level per volume, stratified over the distribution, so that a small batch sees it all."""
        config, n = self.config, self.volumes
        quantile = (rng.permutation(n) + rng.random(n)) / n
        wide = config.sigma_max ** rng.random(n)
        normal = torch.special.ndtri(torch.tensor(quantile)).numpy()
        usual = config.sigma_median * np.exp(config.sigma_spread * normal)
        return np.clip(
            np.where(rng.random(n) < config.sigma_wide, wide, usual), SIGMA_LEAST, config.sigma_max
        )

    def _from_draft(self, rng: np.random.Generator, generator: torch.Generator) -> _Spoilt:
        """A draft with more or less of its error, and with white noise of at most that size added."""
        hu, clean_hu, guide_hu, voxel_size = self._drafts[int(rng.integers(len(self._drafts)))]
        stage = int(rng.integers(len(hu)))
        start, stop = self._slab(len(clean_hu), rng)
        rough, clean, guide = (
            x[start:stop].to(torch.float32) / 1000 + 1 for x in (hu[stage], clean_hu, guide_hu)
        )
        if rng.random() < 0.5:
            rough, clean, guide = rough.flip(2), clean.flip(2), guide.flip(2)
        error = float(rng.uniform(0.5, 1.2)) * (rough - clean)
        size = error.square().mean().sqrt()
        white = size * max(0.0, float(rng.uniform(-1, 1.5)))
        noisy = clean + error + white * self._white(clean, generator)
        level = torch.hypot(size, white).clamp(min=SIGMA_LEAST)
        # in use the level is a guess, at first on the high side on purpose: the prior then takes more off
        guessed = (level * math.exp(float(rng.uniform(-0.6, 1.3)))).clamp(min=SIGMA_LEAST)
        return _Spoilt(clean, noisy, level, guessed, voxel_size, guide)

    def _slab(self, depth: int, rng: np.random.Generator) -> tuple[int, int]:
        """First and last slice of a random part of a volume."""
        kept = max(1, round(depth * rng.uniform(self.config.slab, 1.0)))
        start = int(rng.integers(depth - kept + 1))
        return start, start + kept

    def _patches(self, spoilt: _Spoilt, rng: np.random.Generator) -> Batch:
        tile, n = self.network.tile, self.crops
        grid = PatchGrid((spoilt.clean.shape[0], spoilt.clean.shape[1], spoilt.clean.shape[2]), tile)
        guide = None if spoilt.guide is None else grid.pad(spoilt.guide)
        volume, context = grid.pad(spoilt.clean), Context.of(grid.pad(spoilt.noisy), self.network, guide)
        starts, clean = self._cuts(volume, rng)
        inputs = network_inputs(context, starts, tile)
        for name, channels in self.network.channel.items():
            if rng.random() < self.config.drop:
                inputs[:, channels] = 0.0 if name == "coordinates" else self.network.mean
        return Batch(
            inputs,
            spoilt.sigma.expand(n),
            torch.full((n,), context.factor, device=self.device),
            torch.tensor(spoilt.voxel_size, device=self.device).expand(n, 3),
            clean[:, None],
            spoilt.level.expand(n),
        )

    def _cuts(self, volume: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Where to cut (n, 3), and what is there (n, *tile): of so many random places, those with most in them, for
        air teaches little and is half of a scan."""
        tile = self.network.tile
        steps = np.array(offset_steps(tile))
        drawn = rng.integers(np.array(volume.shape) // steps, size=(CANDIDATES * self.crops, 3))
        if tuple(volume.shape) == tile:
            drawn[:] = 0  # as in use: see `PatchGrid.random`
        starts = torch.from_numpy(drawn * steps).to(self.device)
        candidates = cut(volume, starts, tile)
        best = candidates.flatten(1).std(1).topk(self.crops).indices
        return starts[best], candidates[best]

    def _resampled(self, slot: int, step: int) -> tuple[Tensor, Triple]:
        """The volume (z, y, x), network space, that the pool holds in this slot at this step."""
        cycle = self.config.pool * self.config.refresh
        generation = (step + cycle - 1 - slot * self.config.refresh) // cycle
        held = self._pool.get(slot)
        if held is None or held[0] != generation:
            data, voxel_size = self._draw(np.random.default_rng([self.seed, 2, slot, generation]))
            self._pool[slot] = held = (generation, data, voxel_size)
        return held[1].to(torch.float32) / 1000 + 1, held[2]

    def _draw(self, rng: np.random.Generator) -> tuple[Tensor, Triple]:
        """A random volume on a random grid, as int16 HU."""
        config = self.config
        weights = np.array([s.weight for s in self.scans])
        index = int(rng.choice(len(self.scans), p=weights / weights.sum()))
        scan = self.scans[index]
        vz = _log_uniform(rng, max(config.voxel_z[0], scan.voxel_size[0]), config.voxel_z[1])
        vxy = _log_uniform(rng, max(config.voxel_xy[0], scan.voxel_size[2]), config.voxel_xy[1])
        halvings = int(math.log2(max(1.0, vxy / scan.voxel_size[2]))) if self.device.type == "cpu" else 0
        hu, native = self._reduced(index, halvings), scan.voxel_size
        start, stop = self._slab(len(hu), rng)
        hu, depth = hu[start:stop], stop - start
        scale = 2**halvings
        size = (depth * native[0], hu.shape[1] * native[1] * scale, hu.shape[2] * native[2] * scale)
        nz, ny, nx = (max(2, round(s / v)) for s, v in zip(size, (vz, vxy, vxy), strict=True))
        native_hu = torch.from_numpy(np.ascontiguousarray(hu)).to(self.device, torch.float32)
        data = area_average(native_hu, (nz, ny, nx))
        if rng.random() < 0.5:
            data = data.flip(2)  # left-right: the coordinates are those of the mirrored place
        if config.air and rng.random() < config.air:
            data = _amid_air(data, self.network.tile)
        voxel_size = (size[0] / nz, size[1] / ny, size[2] / nx)
        return data.round().to(torch.int16), voxel_size

    def _reduced(self, index: int, halvings: int) -> np.ndarray:
        """A scan with its in-plane resolution halved so often; kept, since most draws start from it."""
        if halvings == 0:
            return self.scans[index].hu
        key = (index, halvings)
        if key not in self._halves:
            finer = self._reduced(index, halvings - 1)
            nz, ny, nx = finer.shape
            even = finer[:, : ny // 2 * 2, : nx // 2 * 2].reshape(nz, ny // 2, 2, nx // 2, 2)
            self._halves[key] = even.mean((2, 4), dtype=np.float32).round().astype(np.int16)
        return self._halves[key]


def _amid_air(hu: Tensor, tile: Shape) -> Tensor:
    """hu (z, y, x) in the middle of as many whole tiles, in plane, as come nearest to its size: air about it, or less of it."""
    ends = []
    for n, p in zip(hu.shape[:0:-1], tile[:0:-1], strict=True):  # x, y
        missing = max(1, round(n / p)) * p - n
        ends += [missing // 2, missing - missing // 2]
    return functional.pad(hu, ends, value=AIR_HU)


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(low * (max(high, low) / low) ** rng.random())
