"""Volumes: an array of linear attenuation together with its grid, Hounsfield units, and resampling."""

from tomopatch.volume.checks import Shape, as_tensor, checked_shape, finite
from tomopatch.volume.grid import VOXEL_MM, Triple, VolumeGeometry
from tomopatch.volume.resampling import area_average, area_weights, body_box, centred, crop, pad, resample
from tomopatch.volume.volume import MU_WATER, Volume, grid_of, hu_from_mu, mu_from_hu, mu_from_hu_

__all__ = [
    "MU_WATER",
    "VOXEL_MM",
    "Shape",
    "Triple",
    "Volume",
    "VolumeGeometry",
    "area_average",
    "area_weights",
    "as_tensor",
    "body_box",
    "centred",
    "checked_shape",
    "crop",
    "finite",
    "grid_of",
    "hu_from_mu",
    "mu_from_hu",
    "mu_from_hu_",
    "pad",
    "resample",
]
