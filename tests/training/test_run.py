"""A training run on a folder: held-out volumes, the cache of decoded volumes, the report, and its picture."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from tests.training.test_training import CONDITIONAL, CONFIG
from tomopatch import load_prior, phantom
from tomopatch.io.nifti import write_nifti
from tomopatch.library import load_volume
from tomopatch.notes import collected
from tomopatch.training.run import PairConfig, train
from tomopatch.training.volumes import VolumeFolder

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "ct").mkdir()
    for seed, name in enumerate(("one", "two")):
        write_nifti(tmp_path / "ct" / f"{name}.nii.gz", phantom("thorax", (8, 24, 24), seed=seed))
    return tmp_path / "ct"


def test_a_run_with_held_out_volumes_reports_and_shows_its_errors_and_resumes(tmp_path, folder):
    config = replace(CONFIG, network=CONDITIONAL, num_steps=2)
    source = VolumeFolder(folder, ("two",), cache=tmp_path / "cache")
    options = {"pair_config": PairConfig(num_pairs=1), "validate_every": 2}
    lines: list[str] = []
    train(source, tmp_path / "run", config, report=lines.append, **options)
    last = lines[-1]
    assert "step 2 reconstruction loss" in last
    assert "RMSE by sigma" in last
    assert "with a condition, over its error" in last
    assert "restoration" in last
    with Image.open(tmp_path / "run" / "validation.png") as picture:
        assert np.asarray(picture).std() > 10  # it shows something
    assert load_prior(tmp_path / "run" / "prior.safetensors").info["steps"] == 2
    lines.clear()
    train(source, tmp_path / "run", replace(config, num_steps=3), report=lines.append, **options)
    assert any("resumed at step 2 of 3" in line for line in lines)


def test_decoded_volumes_are_kept_until_their_file_changes(tmp_path, folder, monkeypatch):
    source = VolumeFolder(folder, cache=tmp_path / "cache")
    (one, two), _ = source.read()
    decoded: list[str] = []
    monkeypatch.setattr(
        "tomopatch.training.volumes.load_volume", lambda path: decoded.append(path.name) or load_volume(path)
    )
    (again, _), _ = source.read()
    assert decoded == []
    assert np.array_equal(again.hu, one.hu)
    assert again.voxel_size == pytest.approx(one.voxel_size)
    write_nifti(folder / "two.nii.gz", phantom("head", (8, 24, 24)))
    (_, changed), _ = source.read()
    assert decoded == ["two.nii.gz"]
    assert not np.array_equal(changed.hu, two.hu)


def test_a_folder_without_a_volume_to_train_on_is_refused(tmp_path, folder):
    with pytest.raises(ValueError, match="is not a folder"):
        VolumeFolder(tmp_path / "nothing").read()
    with pytest.raises(ValueError, match="no volume 'three' to hold out; the folder has one, two"):
        VolumeFolder(folder, ("three",)).read()
    with pytest.raises(ValueError, match="holds no volume to train on"):
        VolumeFolder(folder, ("one", "two")).read()
    (folder / "broken.nii.gz").write_bytes(b"no image")
    with collected() as notes:
        volumes, _ = VolumeFolder(folder).read()
    assert [v.name for v in volumes] == ["one", "two"]
    assert any("skipped: broken.nii.gz" in note for note in notes)
