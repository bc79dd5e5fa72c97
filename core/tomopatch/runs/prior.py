"""Configuration of runs of the prior alone: generate a volume from noise, or denoise a volume.

They share queue and store with reconstructions, and have the attributes `method` and `params`, too.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from tomopatch.prior.files import BODY, GENERATOR
from tomopatch.runs.config import RunConfig, ScanConfig, digest_of, known_fields
from tomopatch.runs.weights import weights_digest
from tomopatch.volume import Shape, Triple, VolumeGeometry

INPUTS = ("context", "neighbourhoods", "coordinates")
"""Inputs that give a tile its context in the volume; each can be switched off."""
MAX_VOXELS = 2**24


@dataclass(frozen=True)
class GenerateConfig:
    """Unconditional sampling of a volume. Voxel size in mm."""

    method: ClassVar[str] = "generate"
    grid: Shape = (64, 128, 128)
    voxel_size: Triple = (6.0, 3.0, 3.0)
    num_steps: int = 60
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", _grid(self.grid))
        object.__setattr__(self, "voxel_size", VolumeGeometry(self.grid, self.voxel_size).voxel_size)
        if not all(0.1 <= s <= 50 for s in self.voxel_size):
            raise ValueError(f"voxels must be 0.1 to 50 mm in size, got {self.voxel_size}.")
        if not isinstance(self.num_steps, int) or not 2 <= self.num_steps <= 500:
            raise ValueError(f"the steps must be a whole number from 2 to 500, got {self.num_steps}.")
        _check_seed(self.seed)

    @property
    def params(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.method, **asdict(self)}

    def digest(self) -> str:
        weights = [weights_digest(GENERATOR), weights_digest(BODY)]
        return digest_of({**self.to_json(), "weights": weights})


@dataclass(frozen=True)
class DenoiseConfig:
    """One pass of the prior over a volume with noise.

    Attributes
    ----------
    source : str
    grid : (z, y, x)
        The volume, as in ScanConfig.
    sigma : float
        Noise level, network units (1000 HU).
    seed : int
        Seed of the noise and of the tiling.
    without : names in INPUTS
        Inputs that are switched off.
    """

    method: ClassVar[str] = "denoise"
    source: str
    grid: Shape = (64, 128, 128)
    sigma: float = 0.3
    seed: int = 0
    without: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "grid", _grid(self.grid))
        if not isinstance(self.without, (tuple, list)) or not all(isinstance(w, str) for w in self.without):
            raise ValueError(f"without must be a list of names, got {str(self.without)[:80]!r}.")
        object.__setattr__(self, "without", tuple(sorted(self.without)))
        ScanConfig(self.source, self.grid)  # checks the source
        if not isinstance(self.sigma, (int, float)) or not 0.001 <= self.sigma <= 100:
            raise ValueError(
                f"the noise level must lie between 0.001 and 100 (times 1000 HU), got {self.sigma}."
            )
        unknown = set(self.without) - set(INPUTS)
        if unknown:
            raise ValueError(
                f"the prior has no input {sorted(unknown)[0]!r} to switch off; it has {', '.join(INPUTS)}."
            )
        _check_seed(self.seed)

    @property
    def scan(self) -> ScanConfig:
        """A scan that has this volume on this grid as its reference."""
        return ScanConfig(self.source, self.grid)

    @property
    def params(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.method, **asdict(self)}

    def digest(self) -> str:
        return digest_of({**self.to_json(), "weights": weights_digest(GENERATOR)})


Config = RunConfig | GenerateConfig | DenoiseConfig
KINDS: dict[str, Any] = {"generate": GenerateConfig, "draw": GenerateConfig, "denoise": DenoiseConfig}
"""Kinds of runs by name; "draw" is the name of "generate" in stores of earlier versions."""


def read_config(stored: dict[str, Any]) -> Config:
    """Return the config of a run from its JSON form; reconstructions have no `kind`."""
    kind = stored.get("kind")
    if kind is None:
        return RunConfig.from_json(stored)
    if not isinstance(kind, str) or kind not in KINDS:
        raise ValueError(f"unknown kind of run {kind!r}; known are {', '.join(KINDS)}.")
    values = {k: v for k, v in stored.items() if k != "kind"}
    if isinstance(values.get("without"), (list, tuple)):  # the name in earlier versions
        values["without"] = ["neighbourhoods" if name == "surround" else name for name in values["without"]]
    return KINDS[kind](**known_fields(KINDS[kind], values))


def _grid(grid: Any) -> Shape:
    if not isinstance(grid, (tuple, list)):
        raise ValueError(f"a grid is three counts (z, y, x), got {str(grid)[:80]!r}.")
    shape = VolumeGeometry(tuple(grid)).shape
    if math.prod(shape) > MAX_VOXELS:
        raise ValueError(
            f"the grid {shape} has {min(math.prod(shape), 10**18) / 1e6:.0f} million voxels; at most "
            f"{MAX_VOXELS / 1e6:.0f} million are supported here."
        )
    return shape


def _check_seed(seed: Any) -> None:
    if not isinstance(seed, int) or not 0 <= seed < 2**31:
        raise ValueError(f"the seed must be a whole number from 0 to 2^31 - 1, got {seed}.")
