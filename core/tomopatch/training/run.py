"""A training run from a folder of CT volumes: pairs, trainer and validation."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from tomopatch.prior.files import load_prior
from tomopatch.training.pair_workers import PairWorkers
from tomopatch.training.pairs import Pair, TrainingVolume, VoxelRanges, make_pairs
from tomopatch.training.trainer import TrainConfig, Trainer, TrainStep
from tomopatch.training.validation import ValidationSet
from tomopatch.training.volumes import read_volumes
from tomopatch.volume import Volume, VolumeGeometry

VALIDATION_PAIRS = 12


def train(
    folder: Path,
    out: Path,
    config: TrainConfig,
    *,
    validation: Sequence[str] = (),
    num_geometric: int = 0,
    num_pairs: int = 0,
    pair_prior: str | None = None,
    pair_workers: int = 0,
    pair_gpu: bool = False,
    minutes: float | None = None,
    validate_every: int = 500,
    start: str | None = None,
    cache: Path | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> None:
    """Train a prior on the volumes of a folder.

    Parameters
    ----------
    folder : Path
        Holds DICOM folders, zips and NIfTI files, one volume each.
    out : Path
        See `Trainer`; also `validation.png`, the denoised patches of the last validation.
    validation : names without their endings
        Volumes that are held out.
    num_geometric : int
        Random geometric phantoms to train on, in addition to the folder's volumes.
    num_pairs : int
        Simulated training pairs, kept in `out/pairs`. If there are any, VALIDATION_PAIRS of the held-out
        volumes are made as well, in `out/validation`.
    pair_prior : str or None
        Name or file of a prior. The pairs then also hold iterates of the sampler with it.
    pair_workers : int
        Processes that make further pairs during the training, with its own weights once some are saved.
    pair_gpu : bool
        Make these pairs on the GPU instead of on CPUs.
    start : str or None
        Name or file of the prior to start from.
    cache : Path or None
        Decoded volumes are kept here.
    report : f(text)
        Called with a line per validation.

    Under torchrun each process takes its share of every batch.
    """
    distributed = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if distributed:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    volumes, held_out = read_volumes(folder, validation, cache, num_geometric)
    voxels = VoxelRanges(config.data.voxel_xy, config.data.voxel_z)
    checks = None
    if held_out:
        whole = [
            Volume.from_hu(torch.from_numpy(v.hu), VolumeGeometry(v.hu.shape, v.voxel_size)) for v in held_out
        ]
        count = VALIDATION_PAIRS if num_pairs else 0
        pairs = make_pairs(held_out, count, out / "validation", voxels, seed=config.seed, report=report)
        checks = ValidationSet.of(whole, config.network, pairs=pairs)
    prior = None if pair_prior is None else load_prior(pair_prior, device)
    pairs = make_pairs(
        volumes, num_pairs, out / "pairs", voxels, prior=prior, seed=config.seed, report=report
    )
    with ExitStack() as stack:
        more: Callable[[], Sequence[Pair]] = tuple
        if pair_workers and int(os.environ.get("RANK", 0)) == 0:
            workers = PairWorkers(
                pair_workers,
                partial(_training_volumes, folder, validation, cache, num_geometric),
                out / "more-pairs",
                voxels,
                priors=[out / "prior.safetensors", *([] if pair_prior is None else [pair_prior])],
                seed=config.seed + 1,
                gpu=pair_gpu,
            )
            more = stack.enter_context(workers).fresh
        trainer = Trainer(
            out, config, volumes, checks, pairs=pairs, device=device, start=start, more_pairs=more
        )
        if trainer.step and trainer.rank == 0:
            report(f"resumed at step {trainer.step} of {config.num_steps}")
        _run(trainer, minutes, validate_every, report)
    if distributed:
        dist.destroy_process_group()


def _run(trainer: Trainer, minutes: float | None, validate_every: int, report: Callable[[str], None]) -> None:
    def log(step: TrainStep) -> None:
        if step.scores is not None or step.step == trainer.config.num_steps:
            report(describe(step))
        if step.scores is not None and trainer.validation is not None:
            write_picture(trainer.folder / "validation.png", trainer.validation.picture(trainer.average))

    trainer.run(minutes=minutes, validate_every=validate_every, callback=log)


def describe(step: TrainStep) -> str:
    """One line about a training step."""

    def table(errors: dict[float, float]) -> str:
        return " ".join(f"{sigma:g}:{value:.4f}" for sigma, value in errors.items())

    line = f"step {step.step} loss {step.loss:.4f} {step.patches_per_second:.1f} patches/s"
    if step.scores is not None:
        line += f"  RMSE by sigma {table(step.scores.unconditional)}"
        if step.scores.posterior:
            line += f"  with a condition, over its error {table(step.scores.posterior)}"
        if step.scores.restore is not None:
            line += f"  restoration {step.scores.restore:.4f}"
    return line


def _training_volumes(
    folder: Path, validation: Sequence[str], cache: Path | None, num_geometric: int
) -> list[TrainingVolume]:
    return read_volumes(folder, validation, cache, num_geometric)[0]


def write_picture(path: Path, x: Tensor) -> None:
    """Write an image in network space as an 8-bit PNG, -1000 to 1000 HU."""
    from PIL import Image

    pixels = (x / 2).clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    Image.fromarray(np.repeat(np.repeat(pixels, 3, 0), 3, 1)).save(path)
