"""`load_volume`: each kind of source is read; anything else is refused with a list of what is supported."""

import shutil

import pytest
import torch

from tests.io.test_dicom import enhanced
from tests.small_files import ramp, same
from tomopatch.io.dicom_writer import write_dicom
from tomopatch.io.nifti import write_nifti
from tomopatch.library import PHANTOMS, load_volume
from tomopatch.phantoms.catalogue import phantom
from tomopatch.volume import Volume, VolumeGeometry


@pytest.fixture
def volume() -> Volume:
    hu = torch.arange(4 * 5 * 6, dtype=torch.float32).reshape(4, 5, 6) * 10 - 1000
    return Volume.from_hu(hu, VolumeGeometry((4, 5, 6), (2.0, 1.5, 1.0)))


def test_folder_zip_and_nifti_hold_the_same_volume(tmp_path, volume):
    folder = write_dicom(tmp_path / "scan", volume)
    archive = shutil.make_archive(str(tmp_path / "scan"), "zip", folder)
    nifti = write_nifti(tmp_path / "scan.nii.gz", volume)
    for source in (folder, str(folder), archive, nifti):
        loaded = load_volume(source)
        assert loaded.geometry == volume.geometry
        assert torch.allclose(loaded.data, volume.data, atol=1e-7)


@pytest.mark.parametrize("name", ["IM0001", "scan.IMA", "1.2.840.113619.2", "a.nii", "a.zip", "a.npz"])
def test_an_enhanced_file_is_recognised_by_its_content(tmp_path, name):
    paths = sorted(write_dicom(tmp_path / "scan", ramp()).iterdir())
    assert same(load_volume(enhanced(paths, tmp_path / name)), ramp())


def test_a_phantom_is_drawn_on_the_grid_and_with_the_seed_that_are_asked_for():
    loaded = load_volume("phantom:head:3", shape=(8, 12, 10))
    assert torch.equal(loaded.data, phantom("head", (8, 12, 10), seed=3).data)
    assert not torch.equal(loaded.data, load_volume("phantom:head", shape=(8, 12, 10)).data)


def test_a_grid_leaves_files_as_they_are(tmp_path, volume):
    write_nifti(tmp_path / "a.nii", volume)
    assert load_volume(tmp_path / "a.nii", shape=(2, 2, 2)).geometry == volume.geometry


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("phantom:nobody", "shepp-logan"),
        ("phantom:head:x", "whole number"),
        ("/no/such/file.nii", "does not exist"),
        ("picture.png", "not a volume that is understood"),
        ("damaged.zip", "not a zip archive"),
    ],
)
def test_an_unknown_source_is_answered_with_the_known_ones(tmp_path, monkeypatch, spec, sentence):
    monkeypatch.chdir(tmp_path)
    for name in ("picture.png", "damaged.zip"):
        (tmp_path / name).write_bytes(b"not really")
    with pytest.raises(ValueError, match=sentence):
        load_volume(spec)


def test_every_phantom_can_be_loaded_by_its_name():
    for name in PHANTOMS:
        assert load_volume(f"phantom:{name}", shape=(4, 6, 6)).shape == (4, 6, 6)
