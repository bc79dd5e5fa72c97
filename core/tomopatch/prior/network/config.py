"""Configuration of the denoising network, its inputs by name, and presets."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from tomopatch.volume import Shape, finite

ABLATIONS = ("context", "neighbourhoods", "least_squares", "coordinates")
"""Inputs that can be switched off."""

SWITCHES = tuple(f"use_{name}" for name in ABLATIONS)
NUM_FEATURES = 8  # channels that the trunk passes to the layers at full resolution

_LIMITS: dict[str, tuple[float, float]] = {
    "patch_size": (2, 512),
    "channels": (1, 8192),
    "blocks": (0, 64),
    "fine_channels": (1, 4096),
    "fine_blocks": (0, 64),
    "smoothings": (1e-6, 1e3),
    "embed": (1, 4096),
    "sigma_data": (1e-6, 1e6),
    "mean": (-1e6, 1e6),
}
"""Bounds of a config from a file: far beyond any trained network, and far below the memory of a machine."""
_MOST_LEVELS = 8


@dataclass(frozen=True)
class NetworkConfig:
    """Everything needed to build the network of a checkpoint."""

    patch_size: int = 32  # edge of a tile, in training and in use
    two_d: bool = False  # tiles are single slices and kernels are 2D: a slice prior
    channels: tuple[int, ...] = (32, 64, 128)  # per level of the trunk, at 1/2, 1/4, 1/8 of the resolution
    blocks: tuple[int, ...] = (1, 2, 2)  # residual blocks per level on the way down, and again on the way up
    fine_channels: int = 16  # of the layers at full resolution
    fine_blocks: int = 2
    smoothings: tuple[float, ...] = (0.5, 0.9)  # strengths of total variation, in units of the noise
    embed: int = 128  # width of the embedding
    sigma_data: float = 0.5  # standard deviation of the data, network units
    mean: float = 0.5  # mean of the data, network units
    neighbourhoods: int = 1  # number of neighbourhood scales: at 1/2, 1/4 of the resolution
    least_squares: bool = False  # has a channel for the least-squares image
    conditional: bool = False  # has channels for the condition
    # Inputs that can be switched off: an ablation
    use_context: bool = True
    use_neighbourhoods: bool = True
    use_least_squares: bool = True
    use_coordinates: bool = True

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in ("channels", "blocks", "smoothings"):
                value = tuple(value)
                object.__setattr__(self, f.name, value)
                number = float if f.name == "smoothings" else int
                if not all(
                    finite(n) and isinstance(n, (int, number)) and n is not True and n is not False
                    for n in value
                ):
                    raise ValueError(f"{f.name} must be of type {number.__name__}, got {str(value)[:80]}.")
            elif type(value) is not type(f.default) and not (f.default.__class__ is float and finite(value)):
                kind = type(f.default).__name__
                raise ValueError(f"{f.name} must be of type {kind}, got {str(value)[:80]!r}.")
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            values = value if isinstance(value, tuple) else (value,)
            if len(values) > _MOST_LEVELS or not all(low <= n <= high for n in values):
                raise ValueError(f"{name} must lie between {low:g} and {high:g}, got {str(value)[:80]}.")
        if len(self.channels) != len(self.blocks) or not self.channels:
            raise ValueError(f"channels {self.channels} and blocks {self.blocks} must name the same levels.")
        if self.neighbourhoods not in ((0,) if self.two_d else (0, 1, 2)):
            raise ValueError(
                f"neighbourhoods must be 0, 1 or 2, and 0 for a slice prior, got {self.neighbourhoods}."
            )
        if self.patch_size % 2 ** len(self.channels):
            raise ValueError(
                f"patch_size must be a multiple of {2 ** len(self.channels)} for {len(self.channels)} levels,"
                f" got {self.patch_size}."
            )

    @property
    def tile(self) -> Shape:
        """Shape (z, y, x) of a tile in voxels."""
        return (1 if self.two_d else self.patch_size, self.patch_size, self.patch_size)

    @property
    def downsampling(self) -> Shape:
        """Downsampling factor (z, y, x) from level to level."""
        return (1 if self.two_d else 2, 2, 2)

    @property
    def factors(self) -> tuple[int, ...]:
        """Downsampling factors of the neighbourhoods."""
        return tuple(2**k for k in range(1, self.neighbourhoods + 1))

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the input channels in their order."""
        around = [f"neighbourhood {factor}" for factor in self.factors]
        names = ["patch", *around]
        if self.conditional:
            names += ["condition", *(f"condition {name}" for name in around)]
        if self.least_squares:
            names += ["least squares"]
        names += ["context"]
        if self.conditional:
            names += ["condition context"]
        return (*names, "z", "y", "x")

    @property
    def num_inputs(self) -> int:
        return len(self.input_names)

    def channels_of(self, kind: str) -> list[int]:
        """Indices of the input channels of a kind: a name in ABLATIONS, or condition."""
        if kind == "coordinates":
            return [self.num_inputs - 3, self.num_inputs - 2, self.num_inputs - 1]
        word = {"neighbourhoods": "neighbourhood"}.get(kind, kind.replace("_", " "))
        return [i for i, name in enumerate(self.input_names) if word in name]


PRESETS: dict[str, NetworkConfig] = {
    # 4.9 M parameters: for CPUs
    "small": NetworkConfig(neighbourhoods=2, least_squares=True, conditional=True),
    # 27 M parameters: trained on a GPU, used anywhere
    "base": NetworkConfig(
        channels=(64, 128, 256),
        blocks=(2, 2, 3),
        fine_channels=32,
        embed=256,
        neighbourhoods=2,
        least_squares=True,
        conditional=True,
    ),
    # 1.1 M parameters: for experiments, such as ablations
    "tiny": NetworkConfig(
        channels=(16, 32, 64),
        blocks=(1, 1, 2),
        fine_channels=8,
        fine_blocks=1,
        embed=64,
        least_squares=True,
        conditional=True,
    ),
    # 1.7 M parameters: a slice prior as in DiffusionMBIR (Chung et al. 2022) and DDS (2023), for comparison
    "slices": NetworkConfig(
        patch_size=128,
        two_d=True,
        channels=(32, 64, 128),
        blocks=(1, 2, 2),
        neighbourhoods=0,
        use_context=False,
    ),
}


def stem_inputs(config: NetworkConfig) -> list[str]:
    """Names of the channels of the stem's input."""
    seen = [*config.input_names, *(f"smooth {strength}" for strength in config.smoothings)]
    return [f"{one} of voxel {k}" for one in seen for k in range(math.prod(config.downsampling))] + ["one"]


def fine_images(config: NetworkConfig) -> list[str]:
    """Input channels that the layers at full resolution see."""
    return ["patch", *["condition"] * config.conditional, *["least squares"] * config.least_squares]


def fine_inputs(config: NetworkConfig) -> list[str]:
    """Names of the channels of the first layer at full resolution."""
    smooth = [f"smooth {strength}" for strength in config.smoothings]
    return [*map(str, range(NUM_FEATURES)), *fine_images(config), *smooth, "one"]
