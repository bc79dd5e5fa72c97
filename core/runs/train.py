"""Training from a folder of CT volumes: reads them, shares the work between processes, keeps a picture."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from core.prior.data import Draft, Scan
from core.prior.files import load_prior
from core.prior.training import TrainConfig, Trainer, TrainStep
from core.prior.validation import ValidationSet
from core.runs.draft_workers import DraftWorkers
from core.runs.drafts import make_drafts
from core.runs.writing import write_arrays
from core.scan.library import load_volume
from core.scan.phantom import phantom
from core.volume import Volume, VolumeGeometry

VALIDATION_DRAFTS = 12

FIRST_SOLID = 1000
"""Solids by lower numbers are nobody's training data."""


def train(
    folder: Path,
    out: Path,
    config: TrainConfig,
    *,
    validation: Sequence[str] = (),
    num_solids: int = 0,
    num_drafts: int = 0,
    draft_prior: str | None = None,
    draft_workers: int = 0,
    draft_gpu: bool = False,
    minutes: float | None = None,
    validate_every: int = 500,
    start: str | None = None,
    teacher: str | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda text: None,
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
    num_solids : int
        So many random solids (`core.scan.solids`) are trained on beside the folder's volumes: for things that are not
        bodies.
    num_drafts : int
        Quick reconstructions to train on beside white noise, kept in `out/drafts`; see `core.prior.data`. With any,
        `VALIDATION_DRAFTS` of the held-out volumes are made too, in `out/validation`.
    draft_prior : str or None
        A prior's name or file: what the sampler makes of the drafts with it is trained on too.
    draft_workers : int
        Processes that make further drafts while training goes on, with its own weights as soon as some are saved.
    draft_gpu : bool
        They compute on the GPU, in turn with the training, instead of on CPUs.
    start, teacher : str or None
        Priors' names or files; see `Trainer`.
    cache : Path or None
        Decoded volumes are kept here.
    say : f(text)
        Told a line per validation.

    Under torchrun each process takes its share of every batch.
    """
    distributed = int(os.environ.get("WORLD_SIZE", 1)) > 1
    if distributed:
        dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    device = (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else "cpu"
    )
    scans, held_out = read_scans(folder, validation, cache, num_solids)
    checks = None
    if held_out:
        volumes = [
            Volume.from_hu(torch.from_numpy(s.hu), VolumeGeometry(s.hu.shape, s.voxel_size)) for s in held_out
        ]
        count = VALIDATION_DRAFTS if num_drafts else 0
        held_out_drafts = make_drafts(
            held_out, count, out / "validation", config.data, seed=config.seed, say=say
        )
        checks = ValidationSet.of(volumes, config.network, drafts=held_out_drafts)
    drafts = make_drafts(
        scans,
        num_drafts,
        out / "drafts",
        config.data,
        prior=None if draft_prior is None else load_prior(draft_prior, device),
        seed=config.seed,
        say=say,
    )
    with ExitStack() as stack:
        more: Callable[[], Sequence[Draft]] = tuple
        if draft_workers and int(os.environ.get("RANK", 0)) == 0:
            workers = DraftWorkers(
                draft_workers,
                partial(_training_scans, folder, validation, cache, num_solids),
                out / "more-drafts",
                config.data,
                priors=[out / "prior.safetensors", *([] if draft_prior is None else [draft_prior])],
                seed=config.seed + 1,
                gpu=draft_gpu,
            )
            more = stack.enter_context(workers).fresh
        trainer = Trainer(
            out, config, scans, checks, drafts=drafts, device=device, start=start, teacher=teacher,
            more_drafts=more,
        )  # fmt: skip
        if trainer.step and trainer.rank == 0:
            say(f"resumed at step {trainer.step} of {config.num_steps}")
        _run(trainer, minutes, validate_every, say)
    if distributed:
        dist.destroy_process_group()


def _run(trainer: Trainer, minutes: float | None, validate_every: int, say: Callable[[str], None]) -> None:
    def tell(step: TrainStep) -> None:
        if step.validation is not None or step.step == trainer.config.num_steps:
            table = " ".join(f"{sigma:g}:{rmse:.4f}" for sigma, rmse in (step.validation or {}).items())
            left = "" if step.drafts is None else f"  left of drafts' errors {step.drafts:.3f}"
            speed = f"{step.patches_per_second:.1f} patches/s"
            say(f"step {step.step} loss {step.loss:.4f} {speed}  RMSE by sigma {table}{left}")
        if step.validation is not None and trainer.validation is not None:
            write_picture(trainer.folder / "validation.png", trainer.validation.picture(trainer.average))

    trainer.run(minutes=minutes, validate_every=validate_every, callback=tell)


def _training_scans(
    folder: Path, validation: Sequence[str], cache: Path | None, num_solids: int
) -> list[Scan]:
    return read_scans(folder, validation, cache, num_solids)[0]


def solid_scans(count: int) -> list[Scan]:
    """The phantom "solids" from seed `FIRST_SOLID` on, at 1.5 x 1.25 x 1.25 mm; of a quarter of a body's share in the
    draw, for many of them teach more than few."""
    scans = []
    for seed in range(FIRST_SOLID, FIRST_SOLID + count):
        volume = phantom("solids", (200, 192, 192), seed=seed)
        scans.append(Scan(f"solids {seed}", _rounded(volume), volume.geometry.voxel_size, weight=0.25))
    return scans


def _rounded(volume: Volume) -> np.ndarray:
    return volume.hu.round().clamp(-1024, 3071).to(torch.int16).numpy()


def read_scans(
    folder: Path, validation: Sequence[str], cache: Path | None, num_solids: int = 0
) -> tuple[list[Scan], list[Scan]]:
    """All volumes of a folder as int16 HU: those to train on, with so many solids, and those held out."""
    if not folder.is_dir():
        raise ValueError(
            f"{folder} is not a folder; give one with a DICOM folder, zip or NIfTI file per volume."
        )
    scans: dict[str, Scan] = {}
    for path in sorted(folder.iterdir()):
        name = path.name.split(".")[0]
        if path.suffix in (".csv", ".md", ".txt", ".json") or path.name.startswith("."):
            continue
        try:
            scans[name] = _read(path, name, cache)
        except ValueError as error:
            warnings.warn(f"left out: {error}", stacklevel=2)
    unknown = sorted(set(validation) - set(scans))
    if unknown:
        raise ValueError(
            f"there is no volume {unknown[0]!r} to hold out; there are {', '.join(scans) or 'none'}."
        )
    if set(scans) <= set(validation):
        raise ValueError(
            f"{folder} holds no volume to train on; give a folder with a DICOM folder, zip or NIfTI file per volume."
        )
    return (
        [s for n, s in scans.items() if n not in validation] + solid_scans(num_solids),
        [s for n, s in scans.items() if n in validation],
    )


def _read(path: Path, name: str, cache: Path | None) -> Scan:
    stat = path.stat()
    key = hashlib.sha256(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    kept = None if cache is None else cache / f"{name}-{key}.npz"
    if kept is not None and kept.exists():
        with np.load(kept, allow_pickle=False) as file:
            return Scan(name, file["hu"], tuple(file["voxel_size"].tolist()), share(file["hu"]))
    volume = load_volume(path)
    hu = _rounded(volume)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(kept, {"hu": hu, "voxel_size": np.array(volume.geometry.voxel_size)})
    return Scan(name, hu, volume.geometry.voxel_size, share(hu))


def share(hu: np.ndarray) -> float:
    """Share of a volume in the draw: less for noisy ones, whose noise the prior would learn, and for small ones.

    The noise is the median difference of neighbouring slices in soft tissue, as a standard deviation; 30 HU of it
    halve the share.
    """
    middle = hu[len(hu) // 4 : 3 * len(hu) // 4 + 2].astype(np.float32)
    soft = (np.abs(middle[:-1]) < 150) & (np.abs(middle[1:]) < 150)
    noise = 1.4826 * float(np.median(np.abs(np.diff(middle, axis=0)[soft]))) / 2**0.5 if soft.any() else 0.0
    return min(1.0, hu.size / 4e6) / (1 + (noise / 30) ** 2)


def write_picture(path: Path, x: Tensor) -> None:
    """Network space as an 8-bit PNG, -1000 to 1000 HU."""
    from PIL import Image

    pixels = (x / 2).clamp(0, 1).mul(255).round().to(torch.uint8).numpy()
    Image.fromarray(np.repeat(np.repeat(pixels, 3, 0), 3, 1)).save(path)
