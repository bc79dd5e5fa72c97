"""Configuration of runs of the prior alone: generate a volume from noise, or denoise a volume.

They share queue and store with reconstructions, and have the attributes `method` and `params`, too.
"""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, Field

from tomopatch.library import current_source
from tomopatch.prior.files import BODY, GENERATOR
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.values import check_grid, digest_of
from tomopatch.runs.weights import weights_digest
from tomopatch.schema import Count, Real, Seed, Whole, read, record

Input = Literal["context", "neighbourhoods", "coordinates"]
INPUTS: tuple[Input, ...] = get_args(Input)
"""Inputs that give a tile its context in the volume; each can be switched off."""
MAX_VOXELS = 2**24

Grid = Annotated[
    tuple[Count, Count, Count],
    AfterValidator(partial(check_grid, most=MAX_VOXELS)),
    Field(title="grid (z, y, x)"),
]
VoxelSize = Annotated[Real, Field(ge=0.1, le=50)]


@record
class GenerateConfig:
    """Unconditional sampling of a volume. Voxel size in mm."""

    method: ClassVar[str] = "generate"
    grid: Grid = (64, 128, 128)
    voxel_size: Annotated[tuple[VoxelSize, VoxelSize, VoxelSize], Field(title="voxel size in mm")] = (
        6.0,
        3.0,
        3.0,
    )
    num_steps: Annotated[Whole, Field(ge=2, le=500, title="number of steps")] = 60
    seed: Seed = 0

    @property
    def params(self) -> dict[str, Any]:
        return asdict(self)

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.method, **asdict(self)}

    def digest(self) -> str:
        weights = [weights_digest(GENERATOR), weights_digest(BODY)]
        return digest_of({**self.to_json(), "weights": weights})


@record
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
    source: Annotated[str, Field(min_length=1, title="source"), AfterValidator(current_source)]
    grid: Grid = (64, 128, 128)
    sigma: Annotated[Real, Field(ge=0.001, le=100, title="noise level in units of 1000 HU")] = 0.3
    seed: Seed = 0
    without: Annotated[tuple[Input, ...], AfterValidator(lambda names: tuple(sorted(names)))] = ()

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
    return read(KINDS[kind], values)
