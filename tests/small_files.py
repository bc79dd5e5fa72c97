"""Small volumes and files that the tests of the readers share."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import torch
from pydicom.dataset import Dataset

from tomopatch.volume import Volume, VolumeGeometry

VG = VolumeGeometry((8, 10, 12), (3.0, 0.7, 0.8))


def ramp(vg: VolumeGeometry = VG) -> Volume:
    """Whole Hounsfield units, no two voxels alike."""
    count = int(np.prod(vg.shape))
    return Volume.from_hu(torch.arange(count, dtype=torch.float32).reshape(vg.shape) * 3 - 1000, vg)


def same(a: Volume, b: Volume) -> bool:
    # float32 holds mu, whose last digit is worth 1e-4 HU
    sizes = np.allclose(a.geometry.voxel_size, b.geometry.voxel_size, rtol=1e-5, atol=0)
    return a.shape == b.shape and sizes and torch.allclose(a.hu, b.hu, rtol=0, atol=1e-2)


def edit(path: Path, change: Callable[[Dataset], object]) -> None:
    """Change the data set of a file."""
    dataset = pydicom.dcmread(path)
    change(dataset)
    dataset.save_as(path)


def image(volume: Volume | None = None) -> nib.Nifti1Image:
    volume = volume or ramp()
    affine = np.diag([*(-s for s in volume.geometry.voxel_size[:0:-1]), volume.geometry.voxel_size[0], 1])
    made = nib.Nifti1Image(np.ascontiguousarray(volume.hu.numpy().T), affine)
    made.set_sform(affine, code="scanner")
    made.set_qform(affine, code="scanner")
    return made
