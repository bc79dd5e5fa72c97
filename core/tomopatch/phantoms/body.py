"""Sizes shared by the parts of one trunk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from tomopatch.phantoms import tissue
from tomopatch.phantoms.scene import Material


@dataclass(frozen=True)
class Body:
    """Sizes [mm] of one trunk."""

    half_width: float
    half_depth: float
    fat: float
    spine_y: float
    dome: float  # height of the right dome of the diaphragm
    contrast: bool
    breast: float

    CHEST_POWER: ClassVar[float] = 2.5
    CHEST_Z: ClassVar[float] = 175.0

    @property
    def chest_x(self) -> float:
        return self.half_width - self.fat - 19

    @property
    def chest_y(self) -> float:
        return self.half_depth - 0.8 * self.fat - 19

    @property
    def chest_centre(self) -> tuple[float, float, float]:
        return (-40.0, -3.0, 0.0)

    @property
    def blood(self) -> Material:
        return tissue.CONTRAST if self.contrast else tissue.BLOOD

    def chest_scale(self, z: np.ndarray) -> np.ndarray:
        """Width of the chest at height z relative to its maximum."""
        share = np.clip(np.abs(z - self.chest_centre[0]) / self.CHEST_Z, 0, 0.97)
        return (1 - share**self.CHEST_POWER) ** (1 / self.CHEST_POWER)
