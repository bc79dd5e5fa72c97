"""A prior as a file: safetensors with the network's config in the metadata. Nothing in it is executed."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from core.prior.denoiser import PatchPrior, Precond
from core.prior.network import NetworkConfig

FORMAT = "tomopatch-prior-2"
PRETRAINED = Path(__file__).resolve().parents[2] / "pretrained"
DEFAULT = "base"
"""The prior that is taken if none is named: the best one, quick enough on a laptop."""
COARSE = "coarse"
"""The prior that drawing from noise begins with, on grids of which a tile holds all."""
NAME = re.compile(r"\w[\w-]{0,59}")
"""What a prior in `pretrained/` may be called: no path, for names come from addresses and files of others, too."""


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


def priors() -> list[str]:
    """The names of the priors that reconstruct, the usual one first: all files in `pretrained/`, people's own among them."""
    names = {path.stem for path in PRETRAINED.glob("*.safetensors") if NAME.fullmatch(path.stem)} - {COARSE}
    return sorted(names, key=lambda name: (name != DEFAULT, name))


def prior_path(name_or_path: str | Path) -> Path:
    """Where a prior lies that is named as in `pretrained/`, or by its file."""
    path = Path(name_or_path)
    return path if path.suffix else PRETRAINED / f"{name_or_path}.safetensors"


def load_prior(name_or_path: str | Path = DEFAULT, device: torch.device | str | None = None) -> PatchPrior:
    """A pretrained prior by its name in `pretrained/`, or one from a file; on the GPU if there is one and no other `device`.

    Raises
    ------
    ValueError
        If the file is not there, is damaged or is not a TomoPatch prior. Nothing in it is executed.
    """
    path = prior_path(name_or_path)
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
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return PatchPrior(model.to(device), info=info)


def annotate(source: str | Path, path: str | Path, **info: Any) -> None:
    """Write a copy of a prior's file that says more of itself; the weights stay as they are, bit by bit."""
    load_prior(source)  # refuses what is no prior
    with safetensors.safe_open(prior_path(source), framework="pt") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    metadata["info"] = json.dumps(json.loads(metadata.get("info", "{}")) | info)
    path = Path(path)
    beside = path.with_name(path.name + ".part")
    safetensors.torch.save_file(weights, beside, metadata=metadata)
    beside.replace(path)


def _config(text: str, name: str) -> NetworkConfig:
    stored = json.loads(text)
    known = {f.name for f in fields(NetworkConfig)}
    if not isinstance(stored, dict) or not set(stored) <= known:
        raise ValueError(f"{name} was made by another version: its config has {sorted(set(stored) - known)}.")
    try:
        config = NetworkConfig(**stored)
        taps = 9 if config.flat else 27
        size = sum(c * c * (2 * b + 1) * taps for c, b in zip(config.channels, config.blocks, strict=True))
        plausible = 0 < size < 2e9 and 2 <= config.patch_size <= 512 and 0 < config.embed <= 4096
    except TypeError as error:
        raise ValueError(f"{name}: its config is malformed ({error}).") from error
    if not (plausible and math.isfinite(config.sigma_data) and config.sigma_data > 0):
        raise ValueError(f"{name}: its config is out of range: {stored}.")
    return config
