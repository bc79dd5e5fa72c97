"""Volumes: an array of linear attenuation together with where its voxels are."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

MU_WATER = 0.0192
"""Linear attenuation of water [1/mm] (about 70 keV); the one constant that ties mu to HU."""

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]

VOXEL_MM = (1e-6, 1e6)
"""The voxel sizes [mm] with which float32 still computes: from a nanometre to a kilometre."""


def mu_from_hu(hu: Tensor) -> Tensor:
    """Attenuation [1/mm] from Hounsfield units: mu = MU_WATER (1 + HU / 1000)."""
    return MU_WATER * (1 + hu / 1000)


def mu_from_hu_(hu: Tensor) -> Tensor:
    """`mu_from_hu` in place, to the same bits: for volumes that fill the memory."""
    return hu.div_(1000).add_(1).mul_(MU_WATER)


def hu_from_mu(mu: Tensor) -> Tensor:
    """Hounsfield units from attenuation [1/mm]: HU = 1000 (mu / MU_WATER - 1)."""
    return 1000 * (mu / MU_WATER - 1)


def as_tensor(data: Any, what: str) -> Tensor:
    """A float32 tensor of an array of numbers: torch or numpy, of any real type, or what numpy makes an array of.

    A float32 tensor, or a float32 array that may be written to, is not copied.

    Parameters
    ----------
    data : Tensor, ndarray or array-like
    what : str
        Names it in messages: "the volume".

    Raises
    ------
    TypeError
        If it holds no real numbers.
    """
    if isinstance(data, Tensor):
        if data.is_complex():
            raise TypeError(f"{what} holds complex numbers; expected real ones; take the real part.")
        return data.to(torch.float32)
    try:
        array = np.asarray(data)
    except (ValueError, TypeError) as error:  # lists of unequal lengths
        raise TypeError(
            f"{what} is no array of numbers ({error}); expected a torch tensor or a numpy array."
        ) from None
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{what} must be a torch tensor or a numpy array of real numbers, got "
            f"{type(data).__name__} of {array.dtype.name}."
        )
    array = np.ascontiguousarray(array, np.float32) if array.ndim else array.astype(np.float32)
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def finite(value: Any) -> bool:
    """Whether this is a real number that a float can hold."""
    try:
        return isinstance(value, numbers.Real) and math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def checked_shape(shape: Any, what: str = "a shape") -> Shape:
    """Three counts (z, y, x) of at least 1, or a sentence."""
    counts = tuple(shape) if isinstance(shape, Iterable) else (shape,)
    if len(counts) != 3 or any(not finite(n) or int(n) != n or n < 1 for n in counts):
        raise ValueError(f"{what} must be three counts (z, y, x) of at least 1, got {shape}.")
    z, y, x = (int(n) for n in counts)
    return z, y, x


@dataclass(frozen=True)
class VolumeGeometry:
    """Positions and sizes of the voxels of a volume. Axes (z, y, x); lengths in mm.

    Parameters
    ----------
    shape : (z, y, x)
        Number of voxels.
    voxel_size : (z, y, x)
        Edge lengths of a voxel [mm].
    pos : (z, y, x)
        Centre of the volume [mm]; the rotation axis runs through the origin.
    """

    shape: Shape
    voxel_size: Triple = (1.0, 1.0, 1.0)
    pos: Triple = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        given = (self.shape, self.voxel_size, self.pos)
        shape, voxel_size, pos = (tuple(v) if isinstance(v, Iterable) else (v,) for v in given)
        if not all(isinstance(n, numbers.Real) for n in (*shape, *voxel_size, *pos)):
            raise ValueError(
                f"a volume's shape, voxel_size and pos are three numbers each (z, y, x), got {self.shape}, "
                f"{self.voxel_size} and {self.pos}."
            )
        if len(shape) != 3 or any(not finite(n) or int(n) != n or n < 1 for n in shape):
            raise ValueError(f"volume shape must be three counts (z, y, x) of at least 1, got {self.shape}.")
        if len(voxel_size) != 3 or not all(finite(s) and s > 0 for s in voxel_size):
            raise ValueError(
                f"voxel_size must be three lengths (z, y, x) in mm above 0, got {self.voxel_size}."
            )
        if not all(VOXEL_MM[0] <= s <= VOXEL_MM[1] for s in voxel_size):
            raise ValueError(
                f"voxel_size must lie between {VOXEL_MM[0]:g} and {VOXEL_MM[1]:g} mm, got {self.voxel_size}."
            )
        if len(pos) != 3 or not all(finite(p) for p in pos):
            raise ValueError(f"pos must be the volume's centre (z, y, x) in mm, got {self.pos}.")
        object.__setattr__(self, "shape", tuple(int(n) for n in shape))
        object.__setattr__(self, "voxel_size", tuple(float(s) for s in voxel_size))
        object.__setattr__(self, "pos", tuple(float(p) for p in pos))

    @property
    def size(self) -> Triple:
        """Extent (z, y, x) [mm]."""
        z, y, x = (n * s for n, s in zip(self.shape, self.voxel_size, strict=True))
        return (z, y, x)

    @property
    def radius(self) -> float:
        """Radius [mm] of the cylinder about the rotation axis that encloses the volume."""
        _, sy, sx = self.size
        _, py, px = self.pos
        return math.hypot(abs(py) + sy / 2, abs(px) + sx / 2)

    def _repr_html_(self) -> str:
        from core.show import grid_html

        return grid_html(self)

    def with_shape(self, shape: Shape) -> VolumeGeometry:
        """The same extent, cut into another number of voxels."""
        shape = checked_shape(shape)
        z, y, x = (s / n for s, n in zip(self.size, shape, strict=True))
        return VolumeGeometry(shape, (z, y, x), self.pos)

    def refine(self, factor: int) -> VolumeGeometry:
        """The same extent with `factor` times as many voxels along each axis."""
        z, y, x = (n * factor for n in self.shape)
        return self.with_shape((z, y, x))

    def axis(self, index: int) -> Tensor:
        """Positions [mm] of the voxel centres along axis 0 (z), 1 (y) or 2 (x); float64."""
        n, s, p = self.shape[index], self.voxel_size[index], self.pos[index]
        return p + (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * s


@dataclass(frozen=True, eq=False)
class Volume:
    """Linear attenuation mu [1/mm], float32 (z, y, x), and its geometry.

    `data` may be given as a torch or numpy array of any real type; it is kept as a float32 tensor.

    Not an image file: orientation and patient data end at the readers (`core.scan`).
    z points to the head, y to the back, x to the patient's left (DICOM's LPS directions).
    """

    data: Tensor
    geometry: VolumeGeometry
    name: str = field(default="")

    def __post_init__(self) -> None:
        if not isinstance(self.geometry, VolumeGeometry):
            raise TypeError(
                f"a volume needs a VolumeGeometry, got {type(self.geometry).__name__}; "
                "make one of the shape and the voxel size in mm."
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
        """Refuse voxels that are NaN or infinite; `purpose` ends the sentence: "to be scanned"."""
        bad = int((~torch.isfinite(self.data)).sum())
        if bad:
            raise ValueError(
                f"the volume {self.name!r} has {bad} voxel{'s' * (bad > 1)} of NaN or infinity; expected finite values "
                f"{purpose}; replace them (air is 0 /mm, -1000 HU)."
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

    def _repr_html_(self) -> str:
        from core.show import volume_html

        return volume_html(self)


# ---- resampling ---------------------------------------------------------------------------------


def area_weights(n_in: int, n_out: int) -> Tensor:
    """Matrix (n_out, n_in) that averages n_in equal cells of an interval over n_out equal cells.

    Entry (o, i) is the share of output cell o that input cell i covers, so that each row sums to 1.
    """
    edges_in = torch.linspace(0, 1, n_in + 1, dtype=torch.float64)
    edges_out = torch.linspace(0, 1, n_out + 1, dtype=torch.float64)
    lower = torch.maximum(edges_in[None, :-1], edges_out[:-1, None])
    upper = torch.minimum(edges_in[None, 1:], edges_out[1:, None])
    return ((upper - lower).clamp(min=0) * n_out).to(torch.float32)


def area_average(x: Tensor, shape: Shape) -> Tensor:
    """Average x (..., z, y, x) over the cells of another grid of the same extent.

    Exact for any ratio of the grids: mean in equals mean out.
    """
    for axis, n_out in zip((-3, -2, -1), shape, strict=True):
        n_in = x.shape[axis]
        if n_in % n_out == 0:
            if n_in != n_out:
                x = x.unflatten(axis, (n_out, n_in // n_out)).mean(axis)
        else:
            weights = area_weights(n_in, n_out).to(x)
            x = torch.tensordot(x, weights, dims=([axis], [1])).movedim(-1, axis)
    return x


def resample(volume: Volume, shape: Shape) -> Volume:
    """The volume on another grid (z, y, x) of the same extent, by area averaging."""
    geometry = volume.geometry.with_shape(shape)
    if geometry.shape == volume.shape:
        return volume
    return Volume(area_average(volume.data, geometry.shape).contiguous(), geometry, volume.name)


def crop(volume: Volume, box: tuple[slice, slice, slice]) -> Volume:
    """The voxels within `box` = three slices (z, y, x); they stay where they are in space."""
    if len(box) != 3:
        raise ValueError(f"crop needs three slices (z, y, x), got {len(box)}.")
    spans = [s.indices(n) for s, n in zip(box, volume.shape, strict=True)]
    if any(step != 1 or stop <= start for start, stop, step in spans):
        raise ValueError(f"crop needs three non-empty slices of step 1 within {volume.shape}, got {box}.")
    shape = tuple(stop - start for start, stop, _ in spans)
    pos = tuple(
        p + ((start + stop) / 2 - n / 2) * s
        for p, (start, stop, _), n, s in zip(
            volume.geometry.pos, spans, volume.shape, volume.geometry.voxel_size, strict=True
        )
    )
    geometry = VolumeGeometry(shape, volume.geometry.voxel_size, pos)  # type: ignore[arg-type]
    return Volume(volume.data[box].contiguous(), geometry, volume.name)


def pad(volume: Volume, shape: Shape, value: float = 0.0) -> Volume:
    """The volume in the middle of a larger grid (z, y, x); new voxels are `value` [1/mm]."""
    shape = checked_shape(shape, "pad's shape")
    if any(n < m for n, m in zip(shape, volume.shape, strict=True)):
        raise ValueError(
            f"pad to {tuple(shape)} is smaller than the volume {volume.shape}; use crop or resample."
        )
    before = [(n - m) // 2 for n, m in zip(shape, volume.shape, strict=True)]
    data = torch.full(tuple(shape), value, dtype=torch.float32, device=volume.data.device)
    data[tuple(slice(b, b + m) for b, m in zip(before, volume.shape, strict=True))] = volume.data
    pos = tuple(
        p + (n / 2 - b - m / 2) * s
        for p, n, b, m, s in zip(
            volume.geometry.pos, shape, before, volume.shape, volume.geometry.voxel_size, strict=True
        )
    )
    geometry = VolumeGeometry(shape, volume.geometry.voxel_size, pos)  # type: ignore[arg-type]
    return Volume(data, geometry, volume.name)


def body_box(
    volume: Volume, *, threshold_hu: float = -500.0, margin: float = 5.0
) -> tuple[slice, slice, slice]:
    """Bounding box of what is denser than `threshold_hu`, with `margin` [mm] around it.

    Lines of voxels in which less than 1 % is dense do not count, so that a thin table does not widen the box.
    """
    dense = volume.data > mu_from_hu(torch.tensor(threshold_hu)).item()
    box = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        hit = torch.nonzero(dense.to(torch.float32).mean(others) > 0.01).flatten()
        if len(hit) == 0:
            return (slice(0, volume.shape[0]), slice(0, volume.shape[1]), slice(0, volume.shape[2]))
        extra = math.ceil(margin / volume.geometry.voxel_size[axis])
        start = max(0, int(hit[0]) - extra)
        stop = min(volume.shape[axis], int(hit[-1]) + 1 + extra)
        box.append(slice(start, stop))
    return (box[0], box[1], box[2])


def centred(volume: Volume) -> Volume:
    """The same voxels with the volume's centre on the rotation axis."""
    return Volume(volume.data, VolumeGeometry(volume.shape, volume.geometry.voxel_size), volume.name)
