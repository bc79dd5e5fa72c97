"""Ranges that a prior was trained on. Numbers outside are clamped, because a network would extrapolate."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tomopatch.volume import Triple

Range = tuple[float, float]

MODES = ("restore", "posterior", "unconditional")
"""Tasks that a prior can be trained for.

restore: restoration of a degraded image, also for posterior sampling. posterior: denoising given a coarser
volume, for generation. unconditional: denoising without a condition.
"""


@dataclass(frozen=True)
class TrainedRanges:
    """Modes and ranges that a prior was trained for.

    Attributes
    ----------
    modes : names in MODES
    voxel_xy, voxel_z : voxel sizes in plane and between slices [mm]
    error : RMS error of the condition, network units
    sampling_ratio : views over the number that resolves the grid
    """

    modes: tuple[str, ...] = MODES
    voxel_xy: Range = (1.2, 12.0)
    voxel_z: Range = (1.2, 14.0)
    error: Range = (0.01, 0.4)
    sampling_ratio: Range = (0.01, 1.0)

    def __post_init__(self) -> None:
        for name in ("voxel_xy", "voxel_z", "error", "sampling_ratio"):
            low, high = getattr(self, name)
            if not 0 < low <= high:
                raise ValueError(f"{name} must be a range of two numbers above 0, got {(low, high)}.")
            object.__setattr__(self, name, (float(low), float(high)))
        object.__setattr__(self, "modes", tuple(self.modes))
        if not set(self.modes) <= set(MODES):
            raise ValueError(f"modes must be among {', '.join(MODES)}, got {self.modes}.")

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def clamp_voxels(self, voxel_size: Triple) -> tuple[Triple, tuple[str, ...]]:
        """The voxel size (z, y, x) [mm] within the trained ranges, and a sentence if it was clamped."""
        z, xy = self.voxel_z, self.voxel_xy
        used = (_clamp(voxel_size[0], z), _clamp(voxel_size[1], xy), _clamp(voxel_size[2], xy))
        if used == tuple(voxel_size):
            return used, ()
        given, treated = (" x ".join(f"{v:.3g}" for v in size) for size in (voxel_size, used))
        return used, (
            f"The prior was trained on voxels of {z[0]:g} to {z[1]:g} mm along z and {xy[0]:g} to {xy[1]:g}"
            f" mm in plane; it treats voxels of {given} mm (z, y, x) as {treated} mm.",
        )

    def clamp_condition(self, error: float, ratio: float) -> tuple[float, float, tuple[str, ...]]:
        """Error and sampling ratio within the trained ranges, and sentences about clamped values."""
        used, used_ratio = _clamp(error, self.error), _clamp(ratio, self.sampling_ratio)
        remarks = []
        if used != error:
            remarks.append(
                f"The initial reconstruction's expected error of {1000 * error:.0f} HU lies outside the"
                f" trained range; the prior uses {1000 * used:.0f} HU."
            )
        if used_ratio != ratio and ratio < self.sampling_ratio[0]:
            remarks.append(
                f"The prior was trained on sampling ratios from {self.sampling_ratio[0]:g}; it treats"
                f" {ratio:.3g} as {used_ratio:.3g}."
            )
        return used, used_ratio, tuple(remarks)


def _clamp(value: float, limits: Range) -> float:
    return min(max(value, limits[0]), limits[1])
