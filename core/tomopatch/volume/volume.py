"""Volumes: an array of linear attenuation together with its grid; Hounsfield units."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from tomopatch.volume.checks import Shape, as_tensor
from tomopatch.volume.grid import VolumeGeometry

MU_WATER = 0.0192
"""Linear attenuation of water [1/mm] (about 70 keV); the only constant in the conversion of mu to HU."""


def mu_from_hu(hu: Tensor) -> Tensor:
    """Attenuation [1/mm] from Hounsfield units: mu = MU_WATER (1 + HU / 1000)."""
    return MU_WATER * (1 + hu / 1000)


def mu_from_hu_(hu: Tensor) -> Tensor:
    """`mu_from_hu` in place with the same bits, for volumes that fill the memory."""
    return hu.div_(1000).add_(1).mul_(MU_WATER)


def hu_from_mu(mu: Tensor) -> Tensor:
    """Hounsfield units from attenuation [1/mm]: HU = 1000 (mu / MU_WATER - 1)."""
    return 1000 * (mu / MU_WATER - 1)


@dataclass(frozen=True, eq=False)
class Volume:
    """Linear attenuation mu [1/mm], float32 (z, y, x), and its geometry.

    `data` may be given as a torch or numpy array of any real type; it is kept as a float32 tensor.

    A volume holds no orientation and no patient data; the readers (`tomopatch.io`) drop them.
    z points to the head, y to the back, x to the patient's left (DICOM's LPS directions).
    """

    data: Tensor
    geometry: VolumeGeometry
    name: str = field(default="")

    def __post_init__(self) -> None:
        if not isinstance(self.geometry, VolumeGeometry):
            raise TypeError(
                f"a volume needs a VolumeGeometry, got {type(self.geometry).__name__}; "
                "make one from the shape and the voxel size in mm."
            )
        data = as_tensor(self.data, "volume data")
        if tuple(data.shape) != self.geometry.shape:
            raise ValueError(
                f"volume data has shape {tuple(data.shape)} but its geometry {self.geometry.shape}; "
                "both are (z, y, x)."
            )
        object.__setattr__(self, "data", data)

    def __repr__(self) -> str:
        hu = self.hu
        voxels = " x ".join(f"{s:.3g}" for s in self.geometry.voxel_size)
        return (
            f"Volume({self.name!r}, {' x '.join(map(str, self.shape))} (z, y, x), voxels {voxels} mm, "
            f"{float(hu.min()):.0f} to {float(hu.max()):.0f} HU)"
        )

    @classmethod
    def from_hu(cls, hu: Any, geometry: VolumeGeometry, name: str = "") -> Volume:
        """A volume from Hounsfield units (z, y, x), a torch or numpy array of any real type."""
        return cls(mu_from_hu(as_tensor(hu, "Hounsfield units")), geometry, name)

    def check_finite(self, purpose: str) -> None:
        """Refuse NaN and infinite voxels; `purpose` completes the message: "to be scanned"."""
        bad = int((~torch.isfinite(self.data)).sum())
        if bad:
            raise ValueError(
                f"the volume {self.name!r} has {bad} voxel{'s' * (bad > 1)} of NaN or infinity; expected"
                f" finite values {purpose}; replace them (air is 0 /mm, -1000 HU)."
            )

    @property
    def hu(self) -> Tensor:
        """The same voxels in Hounsfield units."""
        return hu_from_mu(self.data)

    @property
    def shape(self) -> Shape:
        return self.geometry.shape

    def with_data(self, data: Tensor, name: str | None = None) -> Volume:
        """Other voxels on the same geometry."""
        return Volume(data, self.geometry, self.name if name is None else name)

    def to(self, device: torch.device | str) -> Volume:
        return Volume(self.data.to(device), self.geometry, self.name)


def grid_of(grid: Any) -> VolumeGeometry:
    """Return the grid, or the grid of a volume passed in its place.

    Raises
    ------
    TypeError
        If `grid` is neither.
    """
    if isinstance(grid, Volume):
        return grid.geometry
    if not isinstance(grid, VolumeGeometry):
        raise TypeError(f"expected a VolumeGeometry or a Volume, got {type(grid).__name__}.")
    return grid
