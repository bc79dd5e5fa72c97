"""Weights of the prior for runs: identified by their content, loaded once."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import DEFAULT, PRETRAINED, load_prior


def weights_digest(name: str = DEFAULT) -> str:
    """Digest of a prior's weights, which is part of a run's digest; empty if the file is missing."""
    path = PRETRAINED / f"{name}.safetensors"
    stat = path.stat() if path.exists() else None
    return "" if stat is None else _file_digest(path, stat.st_mtime_ns, stat.st_size)


def shared_prior(name: str = DEFAULT) -> PatchPrior:
    """Return the prior; it is loaded again only if its file changes."""
    return _prior(name, weights_digest(name))


@lru_cache(maxsize=4)
def _file_digest(path: Path, changed: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@lru_cache(maxsize=3)  # the number of shipped priors
def _prior(name: str, digest: str) -> PatchPrior:
    return load_prior(name)
