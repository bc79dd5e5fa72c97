"""Properties of all readers and writers: recognition by content, memory, damage, finiteness."""

import shutil
import struct
import tracemalloc
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.small_files import VG, edit, image, ramp, same
from tomopatch.io.dicom import read_dicom
from tomopatch.io.dicom_writer import write_dicom
from tomopatch.io.nifti import read_nifti, write_nifti
from tomopatch.io.slices import BYTES_PER_VOXEL, voxels_within
from tomopatch.library import load_volume
from tomopatch.volume import Volume, VolumeGeometry


@pytest.fixture
def series(tmp_path) -> list[Path]:
    return sorted(write_dicom(tmp_path / "scan", ramp()).iterdir())


@pytest.mark.parametrize("name", ["IM0001", "scan.IMA", "1.2.840.113619.2.55", "scan.nii"])
def test_files_are_recognised_by_their_content(tmp_path, name):
    write_nifti(tmp_path / "a.nii.gz", ramp()).rename(tmp_path / name)
    assert same(load_volume(tmp_path / name), ramp())
    shutil.make_archive(str(tmp_path / "b"), "zip", write_dicom(tmp_path / "scan", ramp()))
    (tmp_path / "b.zip").replace(tmp_path / name)
    assert same(load_volume(tmp_path / name), ramp())
    single = tmp_path / "scan" / "slice0001.dcm"
    single.replace(tmp_path / name)
    with pytest.raises(ValueError, match="single slice"):  # read as DICOM
        load_volume(tmp_path / name)


def test_dicom_may_be_a_list_of_paths_or_an_open_file(tmp_path, series):
    assert same(read_dicom(series), ramp())
    assert same(read_dicom([str(path) for path in series]), ramp())
    archive = shutil.make_archive(str(tmp_path / "a"), "zip", series[0].parent)
    with open(archive, "rb") as file:
        assert same(read_dicom(file), ramp())
    with pytest.raises(TypeError, match="a path, an open file, or"):
        read_dicom([1, 2])


def test_negative_pixel_spacing_is_refused(series):
    for path in series:
        edit(path, lambda d: setattr(d, "PixelSpacing", [-0.7, 0.8]))
    with pytest.raises(ValueError, match=r"slice000\d\.dcm has a pixel spacing of \[-0\.7, 0\.8\] mm"):
        read_dicom(series[0].parent)


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_nifti("~/a.nii", ramp())
    write_dicom("~/scan", ramp())
    assert (tmp_path / "a.nii").is_file()
    for read in (load_volume, read_nifti):
        assert same(read("~/a.nii"), ramp())
    for read in (load_volume, read_dicom):
        assert same(read("~/scan"), ramp())


def test_more_voxels_than_the_caller_allows_are_refused_before_decoding(tmp_path, series):
    nifti = write_nifti(tmp_path / "a.nii", ramp())
    for source in (nifti, series[0].parent):
        assert load_volume(source, max_voxels=8 * 10 * 12).shape == VG.shape
        with pytest.raises(ValueError, match="8 x 10 x 12 voxels"):
            load_volume(source, max_voxels=8 * 10 * 12 - 1)


@pytest.mark.parametrize("kind", ["nifti", "turned nifti", "dicom", "padded dicom"])
def test_reading_takes_no_more_memory_per_voxel_than_is_stated(tmp_path, kind):
    """`voxels_within` promises it to a server that limits memory. Measured on numpy's arrays; torch shares
    them.
    """
    vg = VolumeGeometry((24, 256, 256), (2.0, 1.0, 1.0))
    volume = Volume.from_hu(np.random.default_rng(0).integers(-1000, 1000, vg.shape), vg)
    if "nifti" in kind:
        made = image(volume)
        nib.save(
            made.as_reoriented([[1, 1], [0, -1], [2, 1]]) if "turned" in kind else made, tmp_path / "a.nii.gz"
        )
        source = tmp_path / "a.nii.gz"
    else:
        source = write_dicom(tmp_path / "a", volume)
        for path in source.iterdir():
            edit(path, lambda d: d.add_new("PixelPaddingValue", "SS", 5) if kind == "padded dicom" else None)
    load_volume(source)  # caches and modules
    tracemalloc.start()
    load_volume(source)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    voxels = 24 * 256 * 256
    headers = 4 << 20  # headers of 24 files, the numbers that are decoded at a time
    assert peak < BYTES_PER_VOXEL * voxels + headers
    assert voxels_within(BYTES_PER_VOXEL * voxels / 2**20) == voxels


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_writers_refuse_what_is_not_finite_and_leave_nothing(tmp_path, bad):
    data = ramp().data.clone()
    data[1, 2, 3] = bad
    volume = Volume(data, VG, "thing")
    for write in (write_nifti, write_dicom):
        with pytest.raises(ValueError, match="'thing' has 1 voxel of NaN or infinity"):
            write(tmp_path / "a.nii", volume)
    assert not list(tmp_path.iterdir())


def test_writers_name_a_folder_that_is_missing(tmp_path):
    for write in (write_nifti, write_dicom):
        with pytest.raises(ValueError, match=r"missing is not a folder; make it first"):
            write(tmp_path / "missing" / "a.nii", ramp())
    assert not list(tmp_path.iterdir())


def test_an_archive_whose_files_overlap_is_refused(tmp_path, series):
    """The directory at the end lists one member twice, under two names."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in series:
            archive.write(path, path.name)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    at = content.rindex(b"PK\x05\x06")
    size, start = struct.unpack("<II", content[at + 12 : at + 20])
    directory = content[start : start + size]
    second = directory.index(b"PK\x01\x02", 4)
    first_offset = directory[42:46]
    directory[second + 42 : second + 46] = first_offset
    directory[second + 46 : second + 59] = b"slice0001.dcm"
    content[start : start + size] = directory
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.zip has overlapping files"):
        read_dicom(tmp_path / "a.zip")


def test_a_flipped_byte_in_a_zip_is_found(tmp_path, series):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_STORED) as archive:
        for path in series:
            archive.write(path, path.name)
    content = bytearray((tmp_path / "a.zip").read_bytes())
    content[series[0].stat().st_size - 20] ^= 1  # within the first member's pixels
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"slice0001\.dcm in a\.zip cannot be unpacked"):
        read_dicom(tmp_path / "a.zip")
