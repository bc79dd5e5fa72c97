"""Weights of a network for another one with more inputs."""

from __future__ import annotations

from dataclasses import asdict, replace

import torch

from tomopatch.prior.network.config import SWITCHES, fine_inputs, stem_inputs
from tomopatch.prior.network.unet import NUM_CONDITION_NUMBERS, NUM_NUMBERS, PatchUNet


def inherit(network: PatchUNet, other: PatchUNet) -> None:
    """Copy the weights of a network, which may lack inputs that this one has.

    New inputs are zero-initialised, except those of the condition. These start with the weights of the noisy
    volume's channels, because both show the same object.
    """
    own, theirs = network.config, other.config
    optional = ("neighbourhoods", "least_squares", "conditional")
    options = {name: getattr(own, name) for name in (*SWITCHES, *optional)}
    if replace(theirs, **options) != own or any(getattr(theirs, n) > getattr(own, n) for n in optional):
        differ = (name for name in asdict(own) if getattr(theirs, name) != getattr(own, name))
        listed = "; ".join(f"{name} is {getattr(theirs, name)}, not {getattr(own, name)}" for name in differ)
        raise ValueError(
            f"The prior to start from has another network ({listed}). Choose the network that it has, or"
            " train without --start."
        )
    weights = dict(other.state_dict())
    for name, inputs in (("stem.weight", stem_inputs), ("fine_in.weight", fine_inputs)):
        wide = torch.zeros_like(network.state_dict()[name])
        known = inputs(theirs)
        for channel, key in enumerate(inputs(own)):
            source = key if key in known else _counterpart(key)
            if source in known:
                wide[:, channel] = weights[name][:, known.index(source)].to(wide)
        weights[name] = wide
    if own.conditional and not theirs.conditional:
        narrow = weights["embed_in.weight"]
        wide = torch.zeros_like(network.state_dict()["embed_in.weight"])
        wide[:, :NUM_NUMBERS] = narrow[:, :NUM_NUMBERS]
        wide[:, NUM_NUMBERS + NUM_CONDITION_NUMBERS :] = narrow[:, NUM_NUMBERS:]
        weights["embed_in.weight"] = wide
    network.load_state_dict(weights)


def _counterpart(name: str) -> str:
    """The input of the noisy volume that corresponds to one of the condition."""
    if name.startswith("condition "):
        name = name.removeprefix("condition ")
        return name if not name.startswith("of voxel") else f"patch {name}"
    return "patch" if name == "condition" else name
