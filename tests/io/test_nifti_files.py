"""NIfTI as converters and attackers write it: read to the right values, or refused in one sentence."""

import bz2
import gzip
import io
import struct

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.small_files import VG, image, ramp, same
from tomopatch.io.nifti import read_nifti, write_nifti
from tomopatch.volume import Volume


def patched(*patches: tuple[int, bytes]) -> bytes:
    content = bytearray(image().to_bytes())
    for offset, value in patches:
        content[offset : offset + len(value)] = value
    return bytes(content)


NO_SFORM = (254, struct.pack("<h", 0))


@pytest.mark.parametrize("length", [1 + 1e-6, 1.00001, 1.004])
def test_a_quaternion_a_little_longer_than_1_is_scaled(tmp_path, length):
    half_turn = 256, struct.pack("<3f", 0.0, 0.0, length)  # about z
    (tmp_path / "a.nii").write_bytes(patched(NO_SFORM, (76, struct.pack("<f", 1.0)), half_turn))
    (tmp_path / "b.nii").write_bytes(
        patched(NO_SFORM, (76, struct.pack("<f", 1.0)), (256, struct.pack("<3f", 0.0, 0.0, 1.0)))
    )
    assert same(read_nifti(tmp_path / "a.nii"), read_nifti(tmp_path / "b.nii"))


def test_a_quaternion_far_longer_than_1_is_refused(tmp_path):
    (tmp_path / "a.nii").write_bytes(patched(NO_SFORM, (256, struct.pack("<3f", 0.0, 0.0, 1.2))))
    with pytest.raises(ValueError, match="orientation that cannot be used"):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize(
    "patches",
    [
        [NO_SFORM, (76, struct.pack("<f", 0.0))],  # pixdim[0]: the standard takes 1
        [NO_SFORM, (76, struct.pack("<f", 1.0))],
        [(252, struct.pack("<h", 77)), (76, struct.pack("<f", 3.0))],  # an unknown qform code
        [(80, struct.pack("<f", -0.8))],  # lengths have no sign
    ],
)
def test_headers_that_the_standard_repairs_are_read(tmp_path, patches):
    (tmp_path / "a.nii").write_bytes(patched(*patches))
    assert same(read_nifti(tmp_path / "a.nii"), ramp())


def test_an_impossible_quaternion_is_refused_with_the_file(tmp_path):
    (tmp_path / "a.nii").write_bytes(patched(NO_SFORM, (256, struct.pack("<fff", 3, 3, 3))))
    with pytest.raises(ValueError, match=r"a\.nii has an orientation that cannot be used"):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize(("size", "words"), [(1e30, "voxels of"), (1e-9, "voxels of")])
def test_voxels_of_no_physical_size_are_refused(tmp_path, size, words):
    made = image()
    made.set_sform(np.diag([-size, -size, size, 1]), code="scanner")
    nib.save(made, tmp_path / "a.nii")
    with pytest.raises(ValueError, match=words):
        read_nifti(tmp_path / "a.nii")


def test_values_beyond_all_physics_are_refused(tmp_path):
    data = ramp().hu.numpy().T.copy()
    data[0, 0, 0] = 1e38
    nib.save(nib.Nifti1Image(data, image().affine), tmp_path / "a.nii")
    with pytest.raises(ValueError, match=r"from -997 to 1e\+38; expected Hounsfield units"):
        read_nifti(tmp_path / "a.nii")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_a_flipped_byte_is_found(tmp_path, compress):
    """In a stored (uncompressed) block only the checksum shows the change."""
    content = bytearray(
        compress(image().to_bytes(), **({"compresslevel": 0} if compress is gzip.compress else {}))
    )
    content[len(content) - 300] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.nii\.gz cannot be decompressed.*damaged"):
        read_nifti(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress])
def test_a_small_file_of_very_many_voxels_is_refused_before_it_is_decoded(tmp_path, compress):
    header = bytearray(image().to_bytes()[:352])
    header[42:48] = struct.pack("<hhh", 512, 512, 400)
    content = compress(bytes(header) + bytes(1 << 20))
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.nii\.gz would grow from 0\.00\d+ to 419 MB"):
        read_nifti(tmp_path / "a.nii.gz")


def test_what_follows_the_voxels_is_bounded(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(image().to_bytes() + bytes(66 << 20), 1))
    with pytest.raises(ValueError, match="goes on for more than 64 MB"):
        read_nifti(tmp_path / "a.nii.gz")


def test_a_file_object_is_read_from_its_beginning(tmp_path):
    with write_nifti(tmp_path / "a.nii.gz", ramp()).open("rb") as file:
        assert same(read_nifti(file), ramp())
        assert same(read_nifti(file), ramp())
    stream = io.BytesIO((tmp_path / "a.nii.gz").read_bytes())
    stream.seek(100)
    assert same(read_nifti(stream, name="a"), ramp())


def test_a_nifti_file_may_be_bytes(tmp_path):
    content = write_nifti(tmp_path / "a.nii.gz", ramp()).read_bytes()
    assert same(read_nifti(content), ramp())


@pytest.mark.parametrize(("low", "high"), [(-90, 110), (-1500, 900), (0, 0), (0, 9), (3000, 3010)])
def test_a_file_of_ours_is_read_as_it_was_written(tmp_path, low, high):
    """This holds for any range: streaks below air, soft tissue alone, a constant."""
    hu = torch.linspace(low, high, int(np.prod(VG.shape))).reshape(VG.shape)
    for suffix in (".nii", ".nii.gz"):
        back = read_nifti(write_nifti(tmp_path / f"a{suffix}", Volume.from_hu(hu, VG)))
        torch.testing.assert_close(back.hu, hu, atol=1e-2, rtol=0)
