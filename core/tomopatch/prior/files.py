"""Files of priors: safetensors with the network's config in the metadata. Nothing in them is executed."""

from __future__ import annotations

import contextlib
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

from tomopatch.installation import app_folder
from tomopatch.parsing import home_path, parse_json
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.network import NetworkConfig
from tomopatch.prior.precond import Precond
from tomopatch.prior.ranges import TrainedRanges

FORMAT = "tomopatch-prior-3"
FORMAT_2 = "tomopatch-prior-2"
PRETRAINED = app_folder() / "pretrained"
DEFAULT = "base"
"""Prior that is used if none is named."""
GENERATOR = "small"
"""Prior for generation and for denoising on the page Prior; trained with and without conditions."""
SAMPLER = "small"
"""Prior that posterior sampling uses if none is named: its many passes take half the time of `base`'s."""
BODY = "coarse"
"""Prior of the coarsest grid of a generation: with voxels of centimetres one tile holds a body."""
NAME = re.compile(r"\w[\w-]{0,59}")
"""Valid names of priors in `pretrained/`, never paths: they may come from a link or another user's file."""


def save_prior(
    path: str | Path,
    model: Precond,
    *,
    trained: TrainedRanges | None = None,
    info: dict[str, Any] | None = None,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Write weights as safetensors with config, trained ranges and `info` in the metadata, atomically."""
    path = home_path(path)
    metadata = {
        "format": FORMAT,
        "config": json.dumps(asdict(model.config)),
        "trained": json.dumps((trained or TrainedRanges()).to_json()),
        "info": json.dumps(info or {}),
    }
    weights = {
        name: w.detach().to("cpu", dtype).contiguous() for name, w in model.network.state_dict().items()
    }
    temporary = path.with_name(path.name + ".part")
    safetensors.torch.save_file(weights, temporary, metadata=metadata)
    temporary.replace(path)


def priors() -> list[str]:
    """Names of the priors in `pretrained/` that reconstruct, the default first; users may add files."""
    names = {path.stem for path in PRETRAINED.glob("*.safetensors") if NAME.fullmatch(path.stem)} - {BODY}
    return sorted(names, key=lambda name: (name != DEFAULT, name))


def trained_ranges(name_or_path: str | Path) -> TrainedRanges:
    """Read the modes and ranges of a prior from its file, without its weights.

    Raises
    ------
    ValueError
        As `load_prior`.
    """
    path = prior_path(name_or_path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, OSError) as error:
        raise ValueError(f"{path.name} cannot be read as a prior: {error}") from error
    if metadata.get("format") == FORMAT_2:
        metadata = _from_format_2(metadata)
    return _trained(metadata, path.name)


def priors_for(mode: str) -> list[str]:
    """Names of the priors in `pretrained/` trained for a mode (see `ranges.MODES`), the default first."""
    found = []
    for name in priors():
        with contextlib.suppress(ValueError):  # a foreign file among a user's own
            if mode in trained_ranges(name).modes:
                found.append(name)
    return found


def default_prior(mode: str, *, sampling: bool = False) -> str:
    """Name of the prior that a mode uses if none is given; `sampling` from noise takes many passes."""
    names = priors_for(mode)
    return SAMPLER if sampling and SAMPLER in names else next(iter(names), DEFAULT)


def prior_path(name_or_path: str | Path) -> Path:
    """Path of a prior, given by its name in `pretrained/` or by its file."""
    path = home_path(name_or_path)
    return path if path.suffix else PRETRAINED / f"{name_or_path}.safetensors"


def load_prior(name_or_path: str | Path = DEFAULT, device: torch.device | str | None = None) -> PatchPrior:
    """Load a prior by its name in `pretrained/` or from a file; onto the GPU if there is one and no `device`.

    Raises
    ------
    ValueError
        If the file does not exist, is damaged or is not a TomoPatch prior. Nothing in it is executed.
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
            if metadata.get("format") == FORMAT_2:
                metadata = _from_format_2(metadata)
            if metadata.get("format") != FORMAT:
                raise ValueError(
                    f"{path.name} is a safetensors file but not a TomoPatch prior (its format is "
                    f"{metadata.get('format')!r}, expected {FORMAT!r}); train one with `tomopatch train`."
                )
            model = Precond(_config(metadata["config"], path.name)).float()  # whatever torch's default is
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
    info = _info(metadata, path.name)
    info |= {"name": path.stem, "digest": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return PatchPrior(model.to(device), trained=_trained(metadata, path.name), info=info)


def annotate(source: str | Path, path: str | Path, **info: Any) -> None:
    """Write a copy of a prior's file with more entries in its info; the weights keep their bits."""
    load_prior(source)  # refuses files that are not priors
    with safetensors.safe_open(prior_path(source), framework="pt") as file:
        metadata = file.metadata()
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if metadata["format"] == FORMAT_2:
        metadata = _from_format_2(metadata)
    metadata["info"] = json.dumps(_info(metadata, Path(source).name) | info)
    path = home_path(path)
    temporary = path.with_name(path.name + ".part")
    safetensors.torch.save_file(weights, temporary, metadata=metadata)
    temporary.replace(path)


def _parsed(text: str, name: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as a prior: {error}") from error


def _info(metadata: dict[str, str], name: str) -> dict[str, Any]:
    info = _parsed(metadata.get("info", "{}"), name)
    if not isinstance(info, dict) or not isinstance(info.get("calibrations") or {}, dict):
        raise ValueError(f"{name}: its info is malformed; expected an object.")
    return info


def _config(text: str, name: str) -> NetworkConfig:
    stored = _parsed(text, name)
    known = {f.name for f in fields(NetworkConfig)}
    if not isinstance(stored, dict) or not set(stored) <= known:
        raise ValueError(f"{name} was made by another version: its config has {sorted(set(stored) - known)}.")
    try:
        config = NetworkConfig(**stored)
        taps = 9 if config.two_d else 27
        size = sum(c * c * (2 * b + 1) * taps for c, b in zip(config.channels, config.blocks, strict=True))
        plausible = 0 < size < 2e9 and 2 <= config.patch_size <= 512 and 0 < config.embed <= 4096
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: its config is malformed ({error}).") from error
    if not (plausible and math.isfinite(config.sigma_data) and config.sigma_data > 0):
        raise ValueError(f"{name}: its config is out of range: {stored}.")
    return config


def _trained(metadata: dict[str, str], name: str) -> TrainedRanges:
    try:
        return TrainedRanges(**parse_json(metadata["trained"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{name}: its trained ranges are malformed ({error}).") from error


# ---- format 2, before conditions: the network was trained about the data's mean alone -------------------

RENAMED = {
    "flat": "two_d",
    "surrounds": "neighbourhoods",
    "guided": "least_squares",
    "use_surround": "use_neighbourhoods",
    "use_guide": "use_least_squares",
}
"""Fields of the network's config in format 2, and their present names."""


def _from_format_2(metadata: dict[str, str]) -> dict[str, str]:
    """Convert the metadata of a format-2 checkpoint to the present format; its weights keep their names.

    Such checkpoints did not record their voxel sizes. They get the default ranges of `tomopatch train` at
    that time.
    """
    stored = _parsed(metadata["config"], "the prior")
    if not isinstance(stored, dict):
        raise ValueError("the prior has a config that is malformed; expected an object.")
    if stored.pop("context_by", "area") != "area":
        raise ValueError(
            "the prior was trained on a trilinear global context, which is no longer supported; retrain it."
        )
    config = {RENAMED.get(name, name): value for name, value in stored.items()}
    trained = TrainedRanges(modes=("restore", "unconditional"), voxel_xy=(1.4, 4.5), voxel_z=(1.4, 6.0))
    info = _info(metadata, "the prior")
    if "calibration" in info:
        info["calibrations"] = {"restore": info.pop("calibration")}
    return metadata | {
        "format": FORMAT,
        "config": json.dumps(config),
        "trained": json.dumps(trained.to_json()),
        "info": json.dumps(info),
    }
