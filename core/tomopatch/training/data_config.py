"""The distribution of the training data."""

from __future__ import annotations

from dataclasses import dataclass

from tomopatch.prior.ranges import Range


@dataclass(frozen=True)
class DataConfig:
    """Distribution of the training data. Lengths in mm."""

    voxel_xy: Range = (1.2, 14.0)  # in-plane voxel size, log-uniform
    voxel_z: Range = (1.2, 14.0)  # slice spacing, log-uniform
    posterior: float = 0.3  # share of volumes of each kind; the rest is unconditional
    upsample: float = 0.2
    # share of the unconditional volumes with voxels of body_voxel, so that few tiles show a whole body
    body: float = 0.5
    body_voxel: Range = (9.0, 14.0)
    air: float = 0.75  # share of the whole bodies that are padded with air, not by reflection, to whole tiles
    sigma_median: float = 0.3  # noise level: log-normal, network units
    sigma_spread: float = 1.4  # standard deviation of its logarithm
    sigma_wide: float = 0.25  # share of noise levels drawn log-uniform from 1 to sigma_max instead
    sigma_max: float = 40.0
    slab: float = 0.5  # a volume is cropped along z to a random share of at least this
    drop: float = 0.05  # probability that a volume comes without each of ABLATIONS
    chains: float = 0.5  # share of the steps that continue a reconstruction instead (see `chains`)
    unconditional: float = 0.1  # share of the reconstructions that sample without a condition
    samples: float = 0.35  # share of the others that sample the posterior; the rest restores
    pool: int = 64  # resampled volumes kept
    refresh: int = 4  # steps after which one of them is replaced
