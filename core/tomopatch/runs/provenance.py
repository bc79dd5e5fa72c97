"""Provenance of results: versions of the software, machine and weights that make them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from tomopatch.prior.files import DEFAULT
from tomopatch.runs.weights import weights_digest

PACKAGES = ("tomopatch", "torch", "numpy", "numba", "scipy")


def made_with(prior: str = DEFAULT) -> dict[str, str]:
    """Current versions, machine, number of threads, and digest of a prior's weights."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found | {"weights": weights_digest(prior), "threads": str(torch.get_num_threads())}
