"""NIfTI: what is written is read back, whatever the order of the axes; what is not a CT is refused."""

import bz2
import gzip
import itertools
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch

from tomopatch.io.nifti import read_nifti, write_nifti
from tomopatch.io.slices import MAX_VOXELS
from tomopatch.volume import Volume, VolumeGeometry

VG = VolumeGeometry((5, 7, 9), (2.5, 0.7, 0.8), (3.0, -4.0, 5.0))


@pytest.fixture(scope="module")
def volume() -> Volume:
    """No two voxels alike, so that no flip or swap goes unseen."""
    hu = torch.linspace(-1000, 1500, 5 * 7 * 9).reshape(VG.shape)
    return Volume.from_hu(hu, VG)


def same_hu(a: Volume, b: Volume) -> bool:
    # float32 holds mu, whose last digit is worth 1e-4 HU
    return torch.allclose(a.hu, b.hu, rtol=0, atol=1e-3)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nii.bz2"])
def test_round_trip_keeps_mm_and_hu(tmp_path, volume, suffix):
    path = write_nifti(tmp_path / f"scan{suffix}", volume)
    back = read_nifti(path)
    assert same_hu(back, volume)
    assert back.geometry.voxel_size == VG.voxel_size
    assert back.geometry.pos == (0, 0, 0)
    assert back.name == "scan"
    assert [p.name for p in tmp_path.iterdir()] == [f"scan{suffix}"]


def test_other_software_finds_every_voxel_where_we_put_it(tmp_path, volume):
    image = sitk.ReadImage(str(write_nifti(tmp_path / "a.nii.gz", volume)))
    for index in ((0, 0, 0), (4, 6, 8), (1, 2, 3)):  # ITK speaks LPS (x, y, z)
        ours = [float(VG.axis(axis)[index[axis]]) for axis in (2, 1, 0)]
        assert image.TransformIndexToPhysicalPoint(index[::-1]) == pytest.approx(ours, abs=1e-4)
        assert image.GetPixel(index[::-1]) == pytest.approx(float(volume.hu[index]), abs=1e-3)


def ras_image(volume: Volume, order=(0, 1, 2), signs=(1, 1, 1)) -> nib.Nifti1Image:
    """The volume as NIfTI with its axes in another order and direction, built with nibabel's own tools."""
    data = volume.hu.numpy().transpose(2, 1, 0)  # (x, y, z), towards left, back, head
    affine = np.diag(
        [-volume.geometry.voxel_size[2], -volume.geometry.voxel_size[1], volume.geometry.voxel_size[0], 1]
    )
    wanted = np.array([[order.index(k), signs[k]] for k in range(3)], dtype=float)
    affine = affine @ nib.orientations.inv_ornt_aff(wanted, data.shape)
    return nib.Nifti1Image(nib.orientations.apply_orientation(data, wanted), affine)


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, 1), (1, -1, -1), (-1, -1, -1)])
def test_axes_in_any_order_and_direction_give_the_same_volume(tmp_path, volume, order, signs):
    nib.save(ras_image(volume, order, signs), tmp_path / "a.nii")
    back = read_nifti(tmp_path / "a.nii")
    assert back.shape == volume.shape
    assert back.geometry.voxel_size == pytest.approx(VG.voxel_size, abs=1e-6)
    assert same_hu(back, volume)


def test_scale_and_offset_are_applied(tmp_path):
    content = bytearray(nifti(np.arange(60, dtype=np.int16).reshape(3, 4, 5)))
    content[112:120] = np.array([4, -1000], dtype="<f4").tobytes()  # scl_slope and scl_inter
    (tmp_path / "a.nii").write_bytes(content)
    expected = np.arange(60).reshape(3, 4, 5).T * 4 - 1000
    assert np.allclose(read_nifti(tmp_path / "a.nii").hu.numpy(), expected, atol=1e-3)


def test_padding_becomes_air_and_nothing_else_changes(tmp_path):
    data = np.full((4, 4, 4), 50.0, dtype=np.float32)
    data[0], data[1] = -2048, -1024
    nib.save(nib.Nifti1Image(data, np.diag([-1, -1, 1, 1])), tmp_path / "a.nii")
    hu = read_nifti(tmp_path / "a.nii").hu
    assert sorted({round(float(v)) for v in hu.unique()}) == [-1024, -1000, 50]


def test_four_dimensions_are_read_only_with_a_single_frame(tmp_path):
    data = np.full((4, 4, 4, 2), -500.0, dtype=np.float32)
    nib.save(nib.Nifti1Image(data[..., :1], np.diag([-1, -1, 1, 1])), tmp_path / "one.nii")
    nib.save(nib.Nifti1Image(data, np.diag([-1, -1, 1, 1])), tmp_path / "two.nii")
    assert read_nifti(tmp_path / "one.nii").shape == (4, 4, 4)
    with pytest.raises(ValueError, match=r"two\.nii holds 2 volumes"):
        read_nifti(tmp_path / "two.nii")


def test_lengths_in_metres_become_mm(tmp_path, volume):
    image = ras_image(volume)
    image.set_sform(np.diag([1e-3, 1e-3, 1e-3, 1]) @ image.affine, code="scanner")
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "a.nii")
    assert read_nifti(tmp_path / "a.nii").geometry.voxel_size == pytest.approx(VG.voxel_size, abs=1e-5)


def turned(degrees: float, shear: float = 0.0) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[-c, s + shear, 0, 0], [-s, -c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_a_turned_grid_is_kept_with_a_warning_up_to_twenty_degrees(tmp_path):
    data = np.random.default_rng(0).uniform(-1000, 1000, (4, 5, 6)).astype(np.float32)
    nib.save(nib.Nifti1Image(data, turned(15)), tmp_path / "a.nii")
    with pytest.warns(UserWarning, match=r"turned by 15\.0 degrees"):
        assert np.allclose(read_nifti(tmp_path / "a.nii").hu.numpy(), data.T, atol=1e-3)
    nib.save(nib.Nifti1Image(data, turned(30)), tmp_path / "b.nii")
    with pytest.raises(ValueError, match=r"b\.nii is turned by 30\.0 degrees"):
        read_nifti(tmp_path / "b.nii")


def nifti(data: np.ndarray, affine=None) -> bytes:
    return nib.Nifti1Image(data, np.diag([-1.0, -1.0, 1.0, 1.0]) if affine is None else affine).to_bytes()


def patched(offset: int, values: np.ndarray) -> bytes:
    """A valid file in which some header bytes say something else."""
    content = bytearray(nifti(CT))
    content[offset : offset + values.nbytes] = values.tobytes()
    return bytes(content)


CT = np.linspace(-1000, 1000, 64, dtype=np.float32).reshape(4, 4, 4)
NAN = np.where(np.arange(64).reshape(4, 4, 4) == 5, np.nan, CT).astype(np.float32)
HUGE = patched(42, np.array([2000, 2000, 2000], "<i2"))  # the counts
FAR = patched(108, np.array([1e12], "<f4"))  # where the voxels start
RGB = np.zeros((4, 4, 4), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "not a NIfTI file"),
        (b"hello" * 200, "not a NIfTI file"),
        (nifti(CT)[:400], "truncated"),
        (gzip.compress(nifti(CT))[:150], "damaged"),
        (bz2.compress(nifti(CT))[:150], "damaged"),
        (b"\x1f\x8b" + b"x" * 500, "damaged"),
        (HUGE, "8,000 million"),
        (gzip.compress(HUGE), "8,000 million"),
        (FAR, "voxels start at byte"),
        (nifti(NAN), "NaN or infinite"),
        (nifti((CT > 0).astype(np.uint8)), "mask or a normalised image"),
        (nifti(RGB), "integers or floats"),
        (nifti(CT.astype(np.complex64)), "integers or floats"),
        (nifti(CT[0]), "a single image"),
        (nifti(CT, turned(0, shear=0.2)), "right angle"),
        (patched(280, np.zeros(4, "<f4")), "voxel steps"),
    ],
)
def test_what_cannot_be_read_is_refused_in_a_sentence(tmp_path, content, sentence):
    path = tmp_path / "bad.nii"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=sentence) as caught:
        read_nifti(path)
    assert "bad.nii" in str(caught.value)


def test_the_cap_is_on_voxels_not_on_what_the_file_takes():
    assert 2000**3 > MAX_VOXELS > 512 * 512 * 1000


def test_a_missing_file_and_an_unknown_suffix_are_named(tmp_path, volume):
    with pytest.raises(ValueError, match=r"nothing\.nii is not a file"):
        read_nifti(tmp_path / "nothing.nii")
    with pytest.raises(ValueError, match=r"a\.png has no NIfTI suffix"):
        write_nifti(tmp_path / "a.png", volume)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path, volume):
    target = tmp_path / "a.nii.gz"
    target.mkdir()  # the rename fails
    with pytest.raises(OSError, match=r"a\.nii\.gz"):
        write_nifti(target, volume)
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_a_real_chest_lies_as_it_should():
    folder = os.environ.get("TOMOPATCH_DATA")
    if not folder:
        pytest.skip("TOMOPATCH_DATA names no folder of real scans")
    real = read_nifti(Path(folder) / "rider_pilot_0117.nii.bz2")
    assert real.geometry.voxel_size == (2, 2, 2)
    assert real.shape == (37, 164, 164)
    bone, lung = real.hu > 500, (real.hu > -950) & (real.hu < -700)
    lung[:, :20], lung[:, -40:] = False, False  # the edge of the table looks like lung
    y = real.geometry.axis(1)
    assert (bone.sum((0, 2)) * y).sum() / bone.sum() > 20  # mm: the spine lies at the back
    assert lung[:10].sum() < lung[-10:].sum()  # and the lungs towards the head
    x = real.geometry.axis(2)
    soft = (real.hu > 40) & (real.hu < 200)
    assert (soft[:10].sum((0, 1)) * x).sum() < 0  # the liver fills the right side
