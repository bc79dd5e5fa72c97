"""From the network F to the denoiser D(x, sigma) of whole volumes, and to a file and back.

Network space is attenuation relative to water, x = mu / MU_WATER: air 0, water 1, 1000 HU a unit. It exists
in `core.prior` and in the calls of D alone.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Protocol

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from core.prior.network import NUM_INPUTS, NetworkConfig, PatchUNet
from core.prior.patches import (
    PatchGrid,
    context_noise_factor,
    coordinates,
    cut,
    global_context,
    halved,
    paste,
    surround,
)
from core.prior.rof import rof
from core.volume import MU_WATER, Triple

FORMAT = "tomopatch-prior-2"
PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"


class Denoiser(Protocol):
    """D(x, sigma): the expected clean x (z, y, x) given x with white noise of deviation sigma."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Context:
    """What all tiles of one pass share: the noisy volume, seen from further away.

    padded (z, y, x), half: the volume and its average over 2 x 2 x 2 voxels; whole (P, P, P): its average on the
    tile's grid; factor: by how much that average lowers the noise.
    """

    padded: Tensor
    half: Tensor
    whole: Tensor
    factor: float

    @classmethod
    def of(cls, padded: Tensor, patch_size: int) -> Context:
        shape = (padded.shape[0], padded.shape[1], padded.shape[2])
        return cls(
            padded,
            halved(padded),
            global_context(padded, patch_size),
            context_noise_factor(shape, patch_size),
        )


class Precond(nn.Module):
    """D(x, sigma) of patches: EDM's preconditioning (Karras et al. 2022, table 1) about the data's mean.

    D = mean + c_skip (x - mean) + c_out F(c_in (x - mean), ...). With F = 0 that is the exact denoiser of white
    Gaussian data N(mean, sigma_data^2). A fresh network is total variation: see `core.prior.network`.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.network = PatchUNet(config)

    def forward(self, inputs: Tensor, sigma: Tensor, factor: Tensor, voxel_size: Tensor) -> Tensor:
        """Denoised patches.

        inputs (b, 6, P, P, P) in network space; sigma, factor (b,); voxel_size (b, 3) [mm]
        -> (b, 1, P, P, P).
        """
        config = self.config
        sd, sigma = config.sigma_data, sigma.to(inputs)[:, None, None, None, None]
        factor = factor.to(inputs)[:, None, None, None, None]
        c_skip = sd**2 / (sigma**2 + sd**2)
        c_out = sigma * sd * (sigma**2 + sd**2).rsqrt()
        centred = inputs[:, :3] - config.mean
        noise = torch.cat([sigma, sigma * 8**-0.5, sigma * factor], 1)  # of patch, surround, whole
        seen = centred * (noise**2 + sd**2).rsqrt()
        usable = torch.tensor([1.0, config.use_surround, config.use_context], device=inputs.device)
        place = inputs[:, 3:] if config.use_coordinates else torch.zeros_like(inputs[:, 3:])
        conditions = torch.cat(
            [sigma.flatten(1).log(), (sigma * factor).flatten(1).log() / 4, voxel_size.to(inputs).log()], 1
        )
        plain = config.mean + c_skip * centred[:, :1]
        with torch.no_grad():
            smooth = [
                (rof(inputs[:, :1], strength * sigma.flatten(), voxel_size) - plain) / c_out
                for strength in config.smoothings
            ]
        F_x = self.network(
            torch.cat([seen * usable[:, None, None, None], place], 1),
            torch.cat(smooth, 1) if smooth else inputs[:, :0],
            conditions,
        )
        return plain + c_out * F_x.to(inputs.dtype)


def network_inputs(context: Context, starts: list[tuple[int, int, int]], patch_size: int) -> Tensor:
    """The network's input channels (n, 6, P, P, P) of the tiles that start at `starts`."""
    shape = (context.padded.shape[0], context.padded.shape[1], context.padded.shape[2])
    inputs = context.padded.new_empty((len(starts), NUM_INPUTS, patch_size, patch_size, patch_size))
    inputs[:, 2] = context.whole
    for row, start in zip(inputs, starts, strict=True):
        row[0] = cut(context.padded, start, patch_size)
        row[1] = surround(context.half, start, patch_size)
        row[3:] = coordinates(shape, start, patch_size)
    return inputs


class PatchPrior:
    """A trained prior as a denoiser D(x, sigma) of whole volumes of any shape, in network space.

    Parameters
    ----------
    model : Precond
        The patch denoiser.
    voxel_size : (z, y, x)
        Voxel size [mm] of the volumes that it is given; `at` sets it.
    tile_batch : int
        Tiles per call of the network: bounds the memory.
    bf16 : bool or None
        Compute in bfloat16; None = where that is quicker. The error it makes is below a hundredth of sigma.
    info : dict
        What the checkpoint says of itself (name, training, digest).
    """

    def __init__(
        self,
        model: Precond,
        *,
        voxel_size: Triple = (2.0, 2.0, 2.0),
        tile_batch: int = 8,
        bf16: bool | None = None,
        info: dict | None = None,
    ) -> None:
        self.model = model.eval()
        self.bf16 = bf16
        self.config = model.config
        self.voxel_size = voxel_size
        self.tile_batch = tile_batch
        self.info = info or {}
        self.num_passes = 0  # passes over a volume since it was made

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def at(self, voxel_size: Triple) -> PatchPrior:
        """The same prior for volumes of this voxel size [mm]."""
        return self._with(self.model, voxel_size)

    def without(
        self, *, context: bool = False, surround: bool = False, coordinates: bool = False
    ) -> PatchPrior:
        """The same weights with inputs switched off: shows what each is worth."""
        config = replace(
            self.config,
            use_context=self.config.use_context and not context,
            use_surround=self.config.use_surround and not surround,
            use_coordinates=self.config.use_coordinates and not coordinates,
        )
        model = Precond.__new__(Precond)
        nn.Module.__init__(model)
        model.config, model.network = config, self.model.network
        return self._with(model, self.voxel_size)

    def _with(self, model: Precond, voxel_size: Triple) -> PatchPrior:
        return PatchPrior(
            model, voxel_size=voxel_size, tile_batch=self.tile_batch, bf16=self.bf16, info=self.info
        )

    @staticmethod
    def to_network(mu: Tensor) -> Tensor:
        """Network space from mu [1/mm]."""
        return mu / MU_WATER

    @staticmethod
    def from_network(x: Tensor) -> Tensor:
        """mu [1/mm] from network space."""
        return x * MU_WATER

    @torch.no_grad()
    def __call__(
        self,
        x: Tensor,
        sigma: float,
        *,
        generator: torch.Generator | None = None,
        keep: Tensor | None = None,
        on_tiles: Callable[[int, int], None] | None = None,
        grid: PatchGrid | None = None,
    ) -> Tensor:
        """Denoise a whole volume.

        Parameters
        ----------
        x : Tensor (z, y, x)
            The noisy volume, network space.
        sigma : float
            Its noise level.
        generator : torch.Generator or None
            Draws the offset of the tiling; None = the torch default.
        keep : bool Tensor (z, y, x) or None
            Where the volume may differ from air; tiles without such a voxel are not computed but set to 0 (air).
        on_tiles : f(done, total) or None
            Told after each batch of tiles; may raise StopIteration, which is passed on.
        grid : PatchGrid or None
            The tiling, instead of a random one.
        """
        if not sigma > 0:
            raise ValueError(f"the noise level sigma must be above 0, got {sigma}.")
        size = self.config.patch_size
        shape = (x.shape[0], x.shape[1], x.shape[2])
        grid = grid or PatchGrid.random(shape, size, generator=generator)
        context = Context.of(grid.pad(x.to(self.device, torch.float32)), size)
        denoised = torch.zeros_like(context.padded)
        bf16 = bf16_pays(self.device) if self.bf16 is None else self.bf16
        done = 0
        batches = list(grid.batches(self.tile_batch, None if keep is None else grid.pad(keep)))
        total = sum(len(starts) for starts in batches)
        for starts in batches:
            n = len(starts)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                D_x = self.model(
                    network_inputs(context, starts, size),
                    torch.full((n,), sigma, device=self.device),
                    torch.full((n,), context.factor, device=self.device),
                    torch.tensor(self.voxel_size, device=self.device).expand(n, 3),
                )
            for tile, start in zip(D_x[:, 0], starts, strict=True):
                paste(denoised, tile, start)
            done += n
            if on_tiles is not None:
                on_tiles(done, total)
        self.num_passes += 1
        return grid.crop(denoised).to(x.device)


def bf16_pays(device: torch.device | str) -> bool:
    """Whether bfloat16 is quicker than float32 here: on GPUs, and on CPUs with instructions for it."""
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


# ---- files --------------------------------------------------------------------------------------------


def save_prior(
    path: str | Path, model: Precond, *, info: dict | None = None, dtype: torch.dtype = torch.float32
) -> None:
    """Write weights as safetensors, with the config and `info` in the metadata; beside, then renamed."""
    path = Path(path)
    metadata = {"format": FORMAT, "config": json.dumps(asdict(model.config)), "info": json.dumps(info or {})}
    weights = {
        name: w.detach().to("cpu", dtype).contiguous() for name, w in model.network.state_dict().items()
    }
    beside = path.with_name(path.name + ".part")
    safetensors.torch.save_file(weights, beside, metadata=metadata)
    beside.replace(path)


def load_prior(name_or_path: str | Path = "small", device: torch.device | str = "cpu") -> PatchPrior:
    """A pretrained prior by its name in `pretrained/`, or one from a file.

    Raises
    ------
    ValueError
        If the file is not there, is damaged or is not a TomoPatch prior. Nothing in it is executed.
    """
    path = Path(name_or_path)
    if not path.suffix:
        path = PRETRAINED / f"{name_or_path}.safetensors"
    if not path.is_file():
        known = sorted(p.stem for p in PRETRAINED.glob("*.safetensors"))
        raise ValueError(
            f"there is no prior {str(name_or_path)!r}; known are {known}, or give the path of a .safetensors."
        )
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                raise ValueError(
                    f"{path.name} is a safetensors file but not a TomoPatch prior (its format is "
                    f"{metadata.get('format')!r}, expected {FORMAT!r}); train one with `tomopatch train`."
                )
            model = Precond(_config(metadata["config"], path.name))
            expected = model.network.state_dict()
            missing, foreign = set(expected) - set(file.keys()), set(file.keys()) - set(expected)
            if missing or foreign:
                raise ValueError(
                    f"{path.name} does not fit its own config: {len(missing)} weights are missing and "
                    f"{len(foreign)} are foreign ({sorted(missing | foreign)[0]}, ...)."
                )
            weights = {name: file.get_tensor(name).to(torch.float32) for name in expected}
    except (safetensors.SafetensorError, json.JSONDecodeError, KeyError, OSError) as error:
        raise ValueError(
            f"{path.name} cannot be read as a prior, it is damaged or foreign: {error}"
        ) from error
    for name, weight in weights.items():
        if weight.shape != expected[name].shape:
            raise ValueError(
                f"{path.name}: weight {name} has shape {tuple(weight.shape)}, its config asks for "
                f"{tuple(expected[name].shape)}."
            )
        if not torch.isfinite(weight).all():
            raise ValueError(f"{path.name}: weight {name} holds NaN or infinity; the file is damaged.")
    model.network.load_state_dict(weights)
    info = json.loads(metadata.get("info", "{}"))
    info |= {"name": path.stem, "digest": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}
    return PatchPrior(model.to(device), info=info, tile_batch=8 if str(device) == "cpu" else 64)


def _config(text: str, name: str) -> NetworkConfig:
    stored = json.loads(text)
    known = {f.name for f in fields(NetworkConfig)}
    if not isinstance(stored, dict) or not set(stored) <= known:
        raise ValueError(f"{name} was made by another version: its config has {sorted(set(stored) - known)}.")
    try:
        config = NetworkConfig(**stored)
        size = sum(c * c * (2 * b + 1) * 27 for c, b in zip(config.channels, config.blocks, strict=True))
        plausible = 0 < size < 2e9 and 2 <= config.patch_size <= 512 and 0 < config.embed <= 4096
    except TypeError as error:
        raise ValueError(f"{name}: its config is malformed ({error}).") from error
    if not (plausible and math.isfinite(config.sigma_data) and config.sigma_data > 0):
        raise ValueError(f"{name}: its config is out of range: {stored}.")
    return config
