"""Contrast of a ball, such as a lesion, to its surroundings."""

from __future__ import annotations

from dataclasses import dataclass

from tomopatch.analysis.metrics import roi_statistics
from tomopatch.analysis.regions import Region
from tomopatch.volume import Triple, Volume, crop

CORE = 0.8
"""Size of the measured core relative to the ball: its edge is blurred."""


@dataclass(frozen=True)
class Contrast:
    """Contrast of a ball [HU], and the standard deviation of its surroundings [HU].

    Attributes
    ----------
    hu : float
        Mean of the core minus mean of the surroundings; negative for a ball that is darker.
    noise : float
    """

    hu: float
    noise: float

    def is_kept(self, true: float, *, share: float, to_noise: float) -> bool:
        """Whether at least `share` of the true contrast [HU] and `to_noise` times the noise remain."""
        return self.hu * true >= share * true**2 and abs(self.hu) >= to_noise * self.noise


def contrast(volume: Volume, centre: Triple, radius: float) -> Contrast:
    """Return the contrast of a ball to the shell around it.

    The core has 0.8 of the ball's size; the shell reaches from the ball's surface to 1.6 times its size.

    Parameters
    ----------
    centre : (z, y, x)
        In patient space [mm].
    radius : float
        In mm.

    Raises
    ------
    ValueError
        If the centre lies outside the volume, or core or shell contain too few voxels.
    """
    vg = volume.geometry
    z, y, x = ((c - p) / s + 0.5 for c, p, s in zip(centre, vg.pos, vg.size, strict=True))
    cut, core, shell = Region("sphere", (z, y, x), 2 * CORE * radius).masks(vg)
    part = crop(volume, cut).to("cpu")
    inside, around = roi_statistics(part, core), roi_statistics(part, shell)
    return Contrast(inside.mean - around.mean, around.std)
