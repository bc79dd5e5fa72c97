"""Pictures of slices: grey values within a window, and differences in blue and red."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from PIL import Image

from tomopatch.volume import Triple

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: dict[str, tuple[int, int]] = {"axial": (1, 2), "coronal": (0, 2), "sagittal": (0, 1)}
"""Volume axes of a plane's picture: down and across."""
SIGNED = (
    (0.0, (0, 90, 170)),
    (0.25, (110, 175, 225)),
    (0.5, (255, 255, 255)),
    (0.75, (240, 150, 115)),
    (1.0, (165, 25, 20)),
)
"""Colours of a difference on paper: white for zero. Colour-blind readers can distinguish blue and red."""


def plane_slice(hu: np.ndarray, plane: str, cursor: Triple) -> np.ndarray:
    """One slice of a volume (z, y, x) at the fractions `cursor`, float32, head up."""
    down, across = PLANES[plane]
    axis = 3 - down - across
    picture = hu.take(min(hu.shape[axis] - 1, int(cursor[axis] * hu.shape[axis])), axis).astype(np.float32)
    return picture[::-1] if down == 0 else picture


def grey(picture: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """8-bit grey values of a slice [HU]: black at the lower end of the window, white at the upper end."""
    low, high = window
    return ((picture - low) * (255 / max(high - low, 1e-6))).clip(0, 255).round().astype(np.uint8)


def signed(difference: np.ndarray, limit: float) -> np.ndarray:
    """RGB (..., 3) of a difference [HU]: blue at -limit, white at 0, red at +limit."""
    position = ((difference / limit + 1) / 2).clip(0, 1)
    positions = [p for p, _ in SIGNED]
    channels = [np.interp(position, positions, [colour[k] for _, colour in SIGNED]) for k in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """Return pixels, 8-bit grey or RGB, as a PNG."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(out, "PNG", optimize=True)
    return out.getvalue()
