"""The commands that make a prior or use it alone: sample, train, calibrate."""

from __future__ import annotations

import argparse
from dataclasses import fields, replace

import torch

from tomopatch.cli import memory_check
from tomopatch.cli.arguments import check_file, check_folder, check_training, convert, named_values
from tomopatch.cli.output import ProgressBar, write_volume
from tomopatch.prior.denoiser import bf16_pays
from tomopatch.prior.network import PRESETS, NetworkConfig
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.training.data_config import DataConfig
from tomopatch.training.pairs import VoxelRanges
from tomopatch.training.train_config import TrainConfig
from tomopatch.training.volumes import VolumeFolder
from tomopatch.volume import VolumeGeometry


def sample(arguments: argparse.Namespace) -> None:
    from tomopatch.prior.files import load_prior
    from tomopatch.prior.generation import generate

    check_file(arguments.out, ".nii", ".nii.gz")
    geometry = VolumeGeometry(arguments.grid, tuple(arguments.voxel_size))
    memory_check.check_generated(arguments.grid)
    with ProgressBar("Sampling") as callback:
        volume = generate(
            load_prior(arguments.prior),
            geometry,
            body=load_prior(arguments.body),
            num_steps=arguments.steps,
            seed=arguments.seed,
            callback=callback,
        )
    write_volume(arguments.out, volume)
    print(f"{arguments.out}: {'x'.join(map(str, volume.shape))} in {arguments.steps} passes")


def train(arguments: argparse.Namespace) -> None:
    from tomopatch.training.run import PairConfig
    from tomopatch.training.run import train as run_training

    check_training(arguments)
    check_folder(arguments.out)
    network = _network(arguments)
    if arguments.without:
        network = replace(network, **{f"use_{arguments.without}": False})  # type: ignore[arg-type]
    config = TrainConfig(
        network=network,
        data=_data_config(arguments),
        num_steps=arguments.steps,
        learning_rate=arguments.learning_rate,
        cooldown=min(arguments.cooldown, arguments.steps),
        ema=arguments.ema,
        volumes=arguments.volumes,
        crops=arguments.crops,
        seed=arguments.seed,
        bf16=bf16_pays("cuda" if torch.cuda.is_available() else "cpu"),
        compile=arguments.compile,
    )
    memory_check.check_training(config, with_pairs=bool(arguments.pairs or arguments.pair_workers))
    run_training(
        _volume_folder(arguments, arguments.geometric_phantoms),
        arguments.out,
        config,
        pair_config=PairConfig(
            num_pairs=arguments.pairs,
            num_workers=arguments.pair_workers,
            gpu=arguments.pair_gpu,
        ),
        minutes=arguments.minutes,
        validate_every=arguments.validate_every,
        start=arguments.start,
        report=lambda text: print(text, flush=True),
    )


def calibrate(arguments: argparse.Namespace) -> None:
    from tomopatch.training.calibrate import calibrate as run_calibration

    check_file(arguments.out, ".safetensors")
    voxels = VoxelRanges(tuple(arguments.voxel_xy), tuple(arguments.voxel_z))
    memory_check.check_calibration(voxels, arguments.scans, arguments.samples)
    run_calibration(
        _volume_folder(arguments),
        arguments.out,
        voxels,
        prior=arguments.prior,
        params=DiffusionParams(mode=arguments.mode, num_samples=arguments.samples, seed=arguments.seed),
        num_scans=arguments.scans,
        report=lambda text: print(text, flush=True),
    )


def _network(arguments: argparse.Namespace) -> NetworkConfig:
    """The network that is named, that of the prior to start from, or `small`."""
    from tomopatch.prior.files import load_prior

    if arguments.network is None and arguments.start is not None:
        return load_prior(arguments.start, "cpu").config
    return PRESETS[arguments.network or "small"]


def _data_config(arguments: argparse.Namespace) -> DataConfig:
    given = named_values(getattr(arguments, "data", []), "--data")
    known = [f.name for f in fields(DataConfig) if not isinstance(f.default, tuple)]
    for name in given:
        if name not in known:
            raise ValueError(f"--data: unknown field {name!r}; known are {', '.join(known)}.")
    return DataConfig(
        voxel_xy=tuple(arguments.voxel_xy),
        voxel_z=tuple(arguments.voxel_z),
        **convert("--data", DataConfig, given),
    )


def _volume_folder(arguments: argparse.Namespace, num_geometric: int = 0) -> VolumeFolder:
    validation = tuple(name for name in arguments.validation.split(",") if name)
    return VolumeFolder(arguments.folder, validation, num_geometric, arguments.cache)
