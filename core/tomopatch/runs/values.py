"""Values that several configurations share: the reconstruction grid and the digest."""

from __future__ import annotations

import hashlib
import json
import math
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from tomopatch.schema import Count, Real
from tomopatch.volume import Shape

MAX_GRID_VOXELS = 2**28


def check_grid(grid: Shape, most: int = MAX_GRID_VOXELS) -> Shape:
    """Return the grid (z, y, x); refuse one with more voxels than `most` in a sentence."""
    voxels = math.prod(grid)
    if voxels > most:
        raise ValueError(
            f"the grid {grid} has {min(voxels, 10**18) / 1e6:.0f} million voxels; "
            f"at most {most / 1e6:.0f} million are supported."
        )
    return grid


Length = Annotated[Real, Field(gt=0)]
Grid = Annotated[tuple[Count, Count, Count], AfterValidator(check_grid), Field(title="grid (z, y, x)")]


def digest_of(value: Any) -> str:
    """Digest of JSON values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
