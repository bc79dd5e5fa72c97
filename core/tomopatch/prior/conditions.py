"""Conditioning images of a volume, and the input channels of the network that are cut from them.

Images are in network space (see `tomopatch.prior.denoiser`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tomopatch.prior.network import NetworkConfig
from tomopatch.prior.patches import (
    Device,
    PatchGrid,
    Starts,
    context_noise_factor,
    coordinates,
    cut,
    global_context,
    neighbourhood,
    reduced,
)
from tomopatch.prior.precond import TYPICAL_ERROR, Numbers
from tomopatch.volume import Shape, Triple


@dataclass(frozen=True, eq=False)
class Condition:
    """Knowledge of the object apart from the noisy volume. Images (z, y, x) in network space.

    Attributes
    ----------
    image : Tensor or None
        Best image available at low cost: a total-variation reconstruction, or an upsampled coarser volume.
    error : float
        Its expected RMS error s, network units.
    least_squares : Tensor or None
        Least-squares image of the measurement.
    sampling_ratio : float
        Views over the number that resolves the grid; 1 if the image does not come from a measurement.
    """

    image: Tensor | None = None
    error: float = TYPICAL_ERROR
    least_squares: Tensor | None = None
    sampling_ratio: float = 1.0

    def __post_init__(self) -> None:
        if self.image is not None and not self.error > 0:
            raise ValueError(f"the error of a conditioning image must be above 0, got {self.error}.")

    def on(self, grid: PatchGrid, device: Device) -> Condition:
        """The same condition with its images on the padded grid of a tiling."""

        def padded(image: Tensor | None) -> Tensor | None:
            return None if image is None else grid.pad(image.to(device, torch.float32))

        return replace(self, image=padded(self.image), least_squares=padded(self.least_squares))

    def numbers(self, n: int, sigma: Tensor, grid: PatchGrid, voxel_size: Triple) -> Numbers:
        """Numbers of n patches of one volume: noise level sigma (), tiling, voxel size [mm]."""
        error = 0.0 if self.image is None else self.error
        factor = context_noise_factor(grid.padded_shape, grid.tile)
        rows = (
            sigma,
            *(
                torch.tensor(v, dtype=torch.float32, device=sigma.device)
                for v in (factor, voxel_size, error, self.sampling_ratio)
            ),
        )
        return Numbers(*(row.expand(n, *row.shape) for row in rows))


@dataclass(frozen=True, eq=False)
class Multiscale:
    """A padded volume (z, y, x), its averages over cubes of 2 and 4 voxels, and the global context."""

    padded: Tensor
    coarse: dict[int, Tensor]
    global_context: Tensor

    @classmethod
    def of(cls, padded: Tensor, config: NetworkConfig) -> Multiscale:
        """The volume with the averages that a network with this config needs."""
        coarse = {factor: reduced(padded, factor) for factor in config.factors}
        return cls(padded, coarse, global_context(padded, config.tile))

    def near(self, starts: Starts, tile: Shape) -> list[Tensor]:
        """The tiles (n, *tile) and their neighbourhoods."""
        around = [neighbourhood(coarse, starts, tile, factor) for factor, coarse in self.coarse.items()]
        return [cut(self.padded, starts, tile), *around]


@dataclass(frozen=True, eq=False)
class Context:
    """Input shared by all tiles of a pass: noisy volume and conditioning images on the padded grid.

    `condition` and `least_squares` are None if the network has no channel for them.
    """

    noisy: Multiscale
    condition: Multiscale | None
    least_squares: Tensor | None

    @classmethod
    def of(cls, noisy: Tensor, config: NetworkConfig, condition: Condition | None = None) -> Context:
        """Context of `noisy` and the images of `condition`, all on the padded grid.

        A missing image is replaced by the data's mean.
        """
        condition = condition or Condition()
        absent = torch.full_like(noisy, config.mean)

        def shown(image: Tensor | None) -> Tensor:
            return absent if image is None else image

        return cls(
            Multiscale.of(noisy, config),
            Multiscale.of(shown(condition.image), config) if config.conditional else None,
            shown(condition.least_squares) if config.least_squares else None,
        )

    def near(self, starts: Starts, tile: Shape) -> Tensor:
        """Channels (n, c, *tile) that differ from tile to tile."""
        parts = self.noisy.near(starts, tile)
        if self.condition is not None:
            parts += self.condition.near(starts, tile)
        if self.least_squares is not None:
            parts.append(cut(self.least_squares, starts, tile))
        return torch.stack(parts, 1)

    @property
    def global_context(self) -> Tensor:
        """The global context (c, *tile) of the noisy volume, and of the condition."""
        volumes = [self.noisy] if self.condition is None else [self.noisy, self.condition]
        return torch.stack([volume.global_context for volume in volumes])


def network_inputs(context: Context, starts: Starts, tile: Shape) -> Tensor:
    """The network's input channels (n, c, *tile) of the tiles at `starts`."""
    padded, near, distant = context.noisy.padded, context.near(starts, tile), context.global_context
    place = coordinates(padded.shape, starts, tile, padded.device)
    return torch.cat([near, distant.expand(len(near), *distant.shape), place], 1)


def mirror(inputs: Tensor) -> Tensor:
    """The network's input channels (n, c, *tile) of the same tiles in a volume mirrored left to right.

    The last channel, the x coordinate, changes its sign.
    """
    turned = inputs.flip(-1)
    turned[:, -1].neg_()
    return turned
