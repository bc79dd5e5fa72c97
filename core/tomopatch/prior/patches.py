"""Splitting a volume into tiles, and merging them.

The volume is treated as a torus: a pass starts at a random offset, and tiles that leave at one end re-enter
at the other. A pass therefore needs N/P tiles per axis instead of N/P + 1, every voxel belongs to exactly one
tile, and the seams move from pass to pass. The coordinates of a tile show the network where it wraps around.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tomopatch.progress import Tiles
from tomopatch.volume import Shape, area_average

OFFSET_STEP = 4
"""Offsets are multiples of this, so that a tile lies exactly on the grids of its neighbourhoods, which are
coarser by two and four. Along an axis on which a tile has a single voxel any offset is valid: such tiles have
no neighbourhoods.
"""

Device = torch.device | str
Starts = Sequence[Shape] | Tensor
"""First voxels (n, 3) of tiles, (z, y, x) each; a tensor if they should stay on a GPU."""


@dataclass(frozen=True)
class PatchGrid:
    """One pass of tiles over a volume.

    Parameters
    ----------
    shape : (z, y, x)
        Shape of the volume; any. It is extended by reflection to a multiple of `tile`.
    tile : (z, y, x)
        Shape of a tile in voxels: 1 or a multiple of OFFSET_STEP along each axis.
    offset : (z, y, x)
        First voxel of the first tile; multiples of OFFSET_STEP.
    """

    shape: Shape
    tile: Shape
    offset: Shape = (0, 0, 0)

    def __post_init__(self) -> None:
        if any(p != 1 and (p < OFFSET_STEP or p % OFFSET_STEP) for p in self.tile):
            raise ValueError(f"a tile's edges must be 1 or multiples of {OFFSET_STEP}, got {self.tile}.")
        if any(o % step for o, step in zip(self.offset, offset_steps(self.tile), strict=True)):
            raise ValueError(f"tile offsets (z, y, x) must be multiples of {OFFSET_STEP}, got {self.offset}.")

    @classmethod
    def random(cls, shape: Shape, tile: Shape, *, generator: torch.Generator | None = None) -> PatchGrid:
        """A pass with a random offset, or without one if a single tile holds the volume: it has no seams."""
        if cls(shape, tile).padded_shape == tile:
            return cls(shape, tile)
        z, y, x = (
            int(torch.randint(p // step, (), generator=generator)) * step
            for p, step in zip(tile, offset_steps(tile), strict=True)
        )
        return cls(shape, tile, (z, y, x))

    @property
    def padded_shape(self) -> Shape:
        """Shape (z, y, x) extended to whole tiles."""
        z, y, x = (-(-n // p) * p for n, p in zip(self.shape, self.tile, strict=True))
        return z, y, x

    @property
    def starts(self) -> list[Shape]:
        """First voxel of each tile on the padded torus; may lie beyond its end, where it wraps around."""
        z, y, x = (
            [o + k * p for k in range(n // p)]
            for n, p, o in zip(self.padded_shape, self.tile, self.offset, strict=True)
        )
        return list(itertools.product(z, y, x))

    def __len__(self) -> int:
        return len(self.starts)

    def pad(self, x: Tensor) -> Tensor:
        """x (z, y, x) extended by reflection to `padded_shape`."""
        if tuple(x.shape) != self.shape:
            raise ValueError(
                f"tiles were planned for shape {self.shape} but the volume has {tuple(x.shape)}."
            )
        for axis, n in enumerate(self.padded_shape):
            if x.shape[axis] != n:
                x = x.index_select(axis, reflect_index(x.shape[axis], n).to(x.device))
        return x

    def crop(self, padded: Tensor) -> Tensor:
        """The volume (z, y, x) without the padding: the inverse of `pad`."""
        z, y, x = self.shape
        return padded[..., :z, :y, :x]

    def batches(self, size: int, keep: Tensor | None = None) -> Iterator[list[Shape]]:
        """Starts of the tiles, `size` at a time.

        keep : bool Tensor (z, y, x) on the padded grid, or None
            Tiles without a single True voxel are left out.
        """
        starts = self.starts
        if keep is not None:
            used = cut(keep, starts, self.tile).flatten(1).any(1).tolist()
            starts = [s for s, u in zip(starts, used, strict=True) if u]
        for i in range(0, len(starts), size):
            yield starts[i : i + size]

    def used(self, keep: Tensor | None = None) -> Tiles:
        """Tiles of a pass that hold a voxel of `keep` (z, y, x); None = all."""
        padded = None if keep is None else self.pad(keep)
        return Tiles(self.tile, tuple(s for batch in self.batches(1, padded) for s in batch))


def offset_steps(tile: Sequence[int]) -> Shape:
    """Return the step (z, y, x) of tile offsets."""
    z, y, x = (min(p, OFFSET_STEP) for p in tile)
    return z, y, x


def cut(padded: Tensor, starts: Starts, tile: Sequence[int]) -> Tensor:
    """Tiles (n, *tile) of the torus at `starts`."""
    return padded[_voxels(padded.shape, starts, tile, padded.device)]


def paste(padded: Tensor, tiles: Tensor, starts: Starts) -> None:
    """Write tiles (n, *tile) to their places: the inverse of `cut`."""
    padded[_voxels(padded.shape, starts, tiles.shape[1:], padded.device)] = tiles


def _voxels(
    shape: Sequence[int], starts: Starts, tile: Sequence[int], device: Device
) -> tuple[Tensor, Tensor, Tensor]:
    """Indices of the tiles' voxels, which broadcast to (n, *tile)."""
    first = torch.as_tensor(starts, device=device)
    z, y, x = (
        (first[:, axis, None] + torch.arange(p, device=device)) % n
        for axis, (n, p) in enumerate(zip(shape, tile, strict=True))
    )
    return z[:, :, None, None], y[:, None, :, None], x[:, None, None, :]


def reflect_index(n: int, n_padded: int) -> Tensor:
    """Indices that extend 0..n-1 by mirroring at the ends, as often as needed."""
    index = torch.arange(n_padded) % (2 * n)
    return torch.where(index < n, index, 2 * n - 1 - index)


# ---- inputs beyond the tile ---------------------------------------------------------------------------


def coordinates(shape: Sequence[int], starts: Starts, tile: Sequence[int], device: Device = "cpu") -> Tensor:
    """Position (n, 3, *tile) of the tiles' voxels; -1 and 1 are the ends of the padded volume (`shape`)."""
    axes = [
        (index + 0.5) * (2 / n) - 1
        for index, n in zip(_voxels(shape, starts, tile, device), shape, strict=True)
    ]
    return torch.stack(torch.broadcast_tensors(*axes), 1)


def global_context(padded: Tensor, tile: Shape) -> Tensor:
    """The whole volume averaged to the tile's grid (z, y, x)."""
    return area_average(padded, tile)


def context_noise_factor(padded_shape: Shape, tile: Shape) -> float:
    """Factor by which `global_context` lowers the standard deviation of white noise."""
    return (math.prod(tile) / math.prod(padded_shape)) ** 0.5


def reduced(padded: Tensor, factor: int) -> Tensor:
    """The volume averaged over cubes of `factor` voxels; `neighbourhood` cuts from it."""
    z, y, x = padded.shape
    return area_average(padded, (z // factor, y // factor, x // factor))


def neighbourhood(coarse: Tensor, starts: Starts, tile: Sequence[int], factor: int) -> Tensor:
    """Neighbourhoods (n, *tile) of the tiles: concentric, with `factor` times the extent and voxel size."""
    first, edges = (torch.as_tensor(t, device=coarse.device) for t in (starts, tile))
    return cut(coarse, (first - edges * (factor - 1) // 2) // factor, tile)
