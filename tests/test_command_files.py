"""The command on files: units, paths with ~, measurements, and remarks about what the scan does not see."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from tomopatch.cli.main import main
from tomopatch.io.nifti import read_nifti, write_nifti
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.measurements import read_measurement, write_measurement
from tomopatch.runs.prepare import scan_volume, source_volume
from tomopatch.volume import MU_WATER, Volume, VolumeGeometry

GRID = ["phantom:spheres", "--grid", "4x16x16"]


@pytest.fixture
def attenuation(tmp_path):
    """A water block in air as attenuation in 1/mm, with noise below 0."""
    import nibabel as nib

    mu = 0.0005 * np.random.default_rng(0).standard_normal((16, 16, 4))
    mu[4:12, 4:12] += MU_WATER
    path = tmp_path / "mu.nii.gz"
    nib.save(nib.Nifti1Image(mu.astype(np.float32), np.diag([-2.0, -2.0, 2.0, 1.0])), path)
    return str(path)


def test_attenuation_is_refused_with_the_flag_that_reads_it(tmp_path, attenuation, capsys):
    arguments = ["compare", attenuation, "--views", "60", "--methods", "fbp", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "attenuation in 1/mm; expected Hounsfield units" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*arguments, "--units", "mu"]) == 0
    middle = read_nifti(tmp_path / "out" / "fbp.nii.gz").hu[1:3, 6:10, 6:10]
    assert float(middle.mean()) == pytest.approx(0, abs=30)  # FBP of 60 views of a noisy block


def test_units_that_cannot_act_or_are_unknown_are_refused(tmp_path, attenuation, capsys):
    rest = ["--methods", "fbp", "--out", str(tmp_path / "out")]
    assert main(["compare", *GRID, "--units", "mu", *rest]) == 2
    assert "--units cannot act on a phantom" in capsys.readouterr().err
    assert main(["compare", attenuation, "--units", "kg", *rest]) == 2
    assert "unknown units 'kg'; expected one of HU, 1/mm, 1/cm" in capsys.readouterr().err


def test_a_tilde_is_the_home_folder_for_what_is_read_and_written(tmp_path, monkeypatch):
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(elsewhere)
    volume = Volume.from_hu(torch.full((4, 16, 16), -1000.0), VolumeGeometry((4, 16, 16)))
    volume.data[:, 4:12, 4:12] = MU_WATER
    write_nifti(home / "a.nii", volume)
    assert main(["simulate", "~/a.nii", "--out", "~/m.npz"]) == 0
    assert main(["reconstruct", "~/m.npz", "--method", "fbp", "--out=~/r.nii.gz"]) == 0
    assert main(["compare", "~/a.nii", "--methods", "fbp", "--out=~/out"]) == 0
    assert sorted(p.name for p in home.iterdir()) == ["a.nii", "m.npz", "out", "r.nii.gz"]
    assert not list(elsewhere.iterdir())


def test_a_measurement_is_reconstructed_on_the_grid_that_is_asked_for(tmp_path, capsys):
    measurement, out = str(tmp_path / "m.npz"), tmp_path / "r.nii"
    assert main(["simulate", *GRID, "--out", measurement]) == 0
    arguments = ["reconstruct", measurement, "--method", "fbp", "--out", str(out)]
    assert main([*arguments, "--grid", "2x8x8"]) == 0
    assert read_nifti(out, units="HU").shape == (2, 8, 8)
    assert main([*arguments, "--views", "5"]) == 2
    assert "--views cannot change m.npz" in capsys.readouterr().err


def test_what_the_scan_does_not_see_is_said(tmp_path, capsys):
    scan = [
        "--geometry",
        "cone",
        "--pitch",
        "2",
        "--range",
        "360",
        "--methods",
        "sirt",
        "--set",
        "sirt.num_iterations=2",
    ]
    assert main(["compare", *GRID, *scan, "--out", str(tmp_path / "out")]) == 0
    assert "% of the volume lies in no view" in capsys.readouterr().err


def test_a_prior_for_a_method_without_one_is_refused(tmp_path, capsys):
    out = str(tmp_path / "r.nii")
    assert main(["reconstruct", *GRID, "--method", "fbp", "--prior", "small", "--out", out]) == 2
    assert "--prior cannot act: fbp has no prior" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        ZeroDivisionError("division by zero"),
    ],
)
def test_memory_and_arithmetic_end_in_a_sentence(tmp_path, capsys, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("tomopatch.cli.commands.source_volume", fail)
    assert main(["compare", *GRID, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("tomopatch: ") == 1


def test_a_measurement_keeps_the_detector_that_it_was_made_with(tmp_path):
    """Two rows more than the detector that is fitted to this grid has today."""
    scan = ScanConfig("phantom:spheres", (4, 16, 16), beam="cone", num_views=3, same_grid=True)
    volume = source_volume(scan)
    fitted = scan.geometry(volume.geometry).det_shape
    wider = scan_volume(volume, replace(scan, det_shape=(fitted[0] + 2, fitted[1])))
    write_measurement(tmp_path / "m.npz", scan, wider)
    A, measurement = read_measurement(tmp_path / "m.npz")
    assert A.pg.det_shape == (fitted[0] + 2, fitted[1])
    assert torch.equal(measurement.projections, wider.measurement.projections)
