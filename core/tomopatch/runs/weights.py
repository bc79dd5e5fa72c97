"""The prior's weights as runs use them: told apart by their content, loaded once."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import DEFAULT, PRETRAINED, load_prior


def weights_digest(name: str = DEFAULT) -> str:
    """Changes with the weights: a result of other weights is not the result of a run. Empty without weights."""
    path = PRETRAINED / f"{name}.safetensors"
    stat = path.stat() if path.exists() else None
    return "" if stat is None else _file_digest(path, stat.st_mtime_ns, stat.st_size)


def shared_prior(name: str = DEFAULT) -> PatchPrior:
    """The prior, loaded once as long as its file stays the same."""
    return _prior(name, weights_digest(name))


@lru_cache(maxsize=4)
def _file_digest(path: Path, changed: int, size: int) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


@lru_cache(maxsize=3)  # as many as ship
def _prior(name: str, digest: str) -> PatchPrior:
    return load_prior(name)
