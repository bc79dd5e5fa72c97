"""Training volumes: the CT volumes of a folder, and random geometric phantoms."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from tomopatch.io.writing import write_arrays
from tomopatch.library import load_volume
from tomopatch.notes import note
from tomopatch.phantoms.catalogue import phantom
from tomopatch.training.pairs import TrainingVolume
from tomopatch.volume import Volume

FIRST_GEOMETRIC = 1000
"""Random geometric phantoms with lower seeds are never used for training."""


@dataclass(frozen=True)
class VolumeFolder:
    """CT volumes on disk to train with.

    Attributes
    ----------
    folder : Path
        Holds DICOM folders, zips and NIfTI files, one volume each.
    validation : names without their endings
        Volumes that are held out.
    num_geometric : int
        Random geometric phantoms to train on, in addition to the folder's volumes.
    cache : Path or None
        Decoded volumes are kept here.
    """

    folder: Path
    validation: tuple[str, ...] = ()
    num_geometric: int = 0
    cache: Path | None = None

    def read(self) -> tuple[list[TrainingVolume], list[TrainingVolume]]:
        """Volumes for training, with the random phantoms, and the held-out ones.

        Raises
        ------
        ValueError
            If the folder has no volume to train on, or lacks one that is to be held out.
        """
        if not self.folder.is_dir():
            raise ValueError(
                f"{self.folder} is not a folder; give one with a DICOM folder, zip or NIfTI file per volume."
            )
        found: dict[str, TrainingVolume] = {}
        for path in sorted(self.folder.iterdir()):
            name = path.name.split(".")[0]
            if path.suffix in (".csv", ".md", ".txt", ".json") or path.name.startswith("."):
                continue
            try:
                found[name] = _read(path, name, self.cache)
            except ValueError as error:
                note(f"skipped: {error}", stacklevel=2)
        unknown = sorted(set(self.validation) - set(found))
        if unknown:
            raise ValueError(
                f"there is no volume {unknown[0]!r} to hold out; the folder has {', '.join(found) or 'none'}."
            )
        if set(found) <= set(self.validation):
            raise ValueError(
                f"{self.folder} holds no volume to train on; give a folder with a DICOM folder, zip or NIfTI"
                " file per volume."
            )
        return (
            [v for n, v in found.items() if n not in self.validation] + random_geometric(self.num_geometric),
            [v for n, v in found.items() if n in self.validation],
        )

    def read_training(self) -> list[TrainingVolume]:
        """Volumes for training alone."""
        return self.read()[0]


def random_geometric(count: int) -> list[TrainingVolume]:
    """Phantoms "geometric" from FIRST_GEOMETRIC on, 1.5 x 1.25 x 1.25 mm, a quarter of a body's weight."""
    found = []
    for seed in range(FIRST_GEOMETRIC, FIRST_GEOMETRIC + count):
        volume = phantom("geometric", (200, 192, 192), seed=seed)
        found.append(
            TrainingVolume(f"geometric {seed}", _rounded(volume), volume.geometry.voxel_size, weight=0.25)
        )
    return found


def draw_weight(hu: np.ndarray) -> float:
    """Relative probability of a volume: lower if small, or noisy, since noise would be learned.

    The noise is the median difference of neighbouring slices in soft tissue, as a standard deviation; a noise
    of 30 HU halves the weight.
    """
    middle = hu[len(hu) // 4 : 3 * len(hu) // 4 + 2].astype(np.float32)
    soft = (np.abs(middle[:-1]) < 150) & (np.abs(middle[1:]) < 150)
    noise = 1.4826 * float(np.median(np.abs(np.diff(middle, axis=0)[soft]))) / 2**0.5 if soft.any() else 0.0
    return min(1.0, hu.size / 4e6) / (1 + (noise / 30) ** 2)


def _rounded(volume: Volume) -> np.ndarray:
    return volume.hu.round().clamp(-1024, 3071).to(torch.int16).numpy()


def _read(path: Path, name: str, cache: Path | None) -> TrainingVolume:
    stat = path.stat()
    key = hashlib.sha256(f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns}".encode()).hexdigest()[:16]
    kept = None if cache is None else cache / f"{name}-{key}.npz"
    if kept is not None and kept.exists():
        with np.load(kept, allow_pickle=False) as file:
            hu, voxel_size = file["hu"], tuple(file["voxel_size"].tolist())
        return TrainingVolume(name, hu, voxel_size, draw_weight(hu))
    volume = load_volume(path)
    hu = _rounded(volume)
    if kept is not None:
        kept.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(kept, {"hu": hu, "voxel_size": np.array(volume.geometry.voxel_size)})
    return TrainingVolume(name, hu, volume.geometry.voxel_size, draw_weight(hu))
