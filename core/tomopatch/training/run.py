"""A training run from a folder of CT volumes: pairs, trainer and validation."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from tomopatch.training.pair_workers import PairWorkers
from tomopatch.training.pairs import Pair, VoxelRanges, make_pairs
from tomopatch.training.train_config import TrainConfig
from tomopatch.training.trainer import Trainer, TrainStep
from tomopatch.training.validation import ValidationSet
from tomopatch.training.validation_scans import ValidationScan
from tomopatch.training.volumes import VolumeFolder
from tomopatch.volume import Volume, VolumeGeometry

VALIDATION_PAIRS = 12


@dataclass(frozen=True)
class PairConfig:
    """Simulated training pairs of a run.

    Attributes
    ----------
    num_pairs : int
        Pairs that are made before the training and kept in `out/pairs`. If there are any, VALIDATION_PAIRS of
        the held-out volumes are made as well, in `out/validation`.
    num_workers : int
        Processes that make further pairs during the training.
    gpu : bool
        The processes compute on the GPU instead of on CPUs.
    """

    num_pairs: int = 0
    num_workers: int = 0
    gpu: bool = False


def train(
    volume_folder: VolumeFolder,
    out: Path,
    config: TrainConfig,
    *,
    pair_config: PairConfig | None = None,
    minutes: float | None = None,
    validate_every: int = 500,
    start: str | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> None:
    """Train a prior on the volumes of a folder.

    Parameters
    ----------
    volume_folder : VolumeFolder
    out : Path
        See `Trainer`; also `validation.png`, the denoised patches of the last validation.
    pair_config : PairConfig or None
        None = no simulated pairs.
    minutes : float or None
        Time limit; the same call resumes.
    validate_every : int
        Steps between validations.
    start : str or None
        Name or file of the prior to start from.
    report : f(text)
        Called with a line per validation.

    Under torchrun each process takes its share of every batch, and reconstructs scans of its own.
    """
    distributed = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if distributed:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)  # the projectors compute on the current device
    pair_config = pair_config or PairConfig()
    volumes, held_out = volume_folder.read()
    voxels = VoxelRanges(config.data.voxel_xy, config.data.voxel_z)
    checks = None
    if held_out:
        whole = [
            Volume.from_hu(torch.from_numpy(v.hu), VolumeGeometry(v.hu.shape, v.voxel_size)) for v in held_out
        ]
        count = VALIDATION_PAIRS if pair_config.num_pairs else 0
        pairs = make_pairs(held_out, count, out / "validation", voxels, seed=config.seed, report=report)
        scans = [ValidationScan.of(volume) for volume in whole] if count else []
        checks = ValidationSet.of(whole, config.network, pairs=pairs, scans=scans)
    pairs = make_pairs(volumes, pair_config.num_pairs, out / "pairs", voxels, seed=config.seed, report=report)
    with ExitStack() as stack:
        more: Callable[[], Sequence[Pair]] = tuple
        if pair_config.num_workers:
            first = int(os.environ.get("RANK", 0)) == 0  # its workers make pairs for all processes
            workers = PairWorkers(
                pair_config.num_workers if first else 0,
                volume_folder.read_training,
                out / "more-pairs",
                voxels,
                seed=config.seed + 1,
                gpu=pair_config.gpu,
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

    losses = (("patch loss", step.loss), ("reconstruction loss", step.chain_loss))
    known = "".join(f" {name} {value:.4f}" for name, value in losses if value is not None)
    line = f"step {step.step}{known} {step.patches_per_second:.1f} patches/s"
    if step.scores is not None:
        line += f"  RMSE by sigma {table(step.scores.unconditional)}"
        if step.scores.posterior:
            line += f"  with a condition, over its error {table(step.scores.posterior)}"
        if step.scores.restore is not None:
            line += f"  restoration {step.scores.restore:.4f}"
        for mode, gain in step.scores.gains.items():
            line += f"  {mode} over total variation {gain:+.2f} dB"
    return line


def write_picture(path: Path, x: Tensor) -> None:
    """Write an image in network space as an 8-bit PNG, -1000 to 1000 HU."""
    from PIL import Image

    pixels = (x / 2).clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    Image.fromarray(np.repeat(np.repeat(pixels, 3, 0), 3, 1)).save(path)
