"""Measurements that `tomopatch simulate` stored."""

import json
from dataclasses import replace

import pytest
import torch

from tomopatch.cli.main import main
from tomopatch.io.nifti import read_nifti
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.measurements import read_measurement, write_measurement
from tomopatch.runs.prepare import simulate_scan, source_volume
from tomopatch.volume import MU_WATER


def test_a_measurement_keeps_its_detector(tmp_path):
    """The stored detector has two rows more than the default one for this grid."""
    scan = ScanConfig("phantom:spheres", (4, 16, 16), beam="cone", num_views=3, same_grid=True)
    volume = source_volume(scan)
    fitted = scan.geometry(volume.geometry).det_shape
    wider = simulate_scan(volume, replace(scan, det_shape=(fitted[0] + 2, fitted[1])))
    write_measurement(tmp_path / "m.npz", scan, wider)
    A, measurement = read_measurement(tmp_path / "m.npz")
    assert A.pg.det_shape == (fitted[0] + 2, fitted[1])
    assert torch.equal(measurement.projections, wider.measurement.projections)


def test_metal_that_was_removed_from_a_stored_measurement_is_in_its_reconstruction(tmp_path):
    scan = [
        "phantom:abdomen", "--grid", "8x48x48", "--views", "60", "--effect", "tube.kvp=120",
        "--insert", "rod:steel:0,10,0:30x200", "--correct", "LI",
    ]  # fmt: skip
    method = ["--method", "fbp", "--out"]
    assert main(["simulate", *scan, "--out", str(tmp_path / "m.npz")]) == 0
    assert main(["reconstruct", str(tmp_path / "m.npz"), *method, str(tmp_path / "a.nii.gz")]) == 0
    assert main(["reconstruct", *scan, *method, str(tmp_path / "b.nii.gz")]) == 0
    stored, direct = (read_nifti(tmp_path / name).data for name in ("a.nii.gz", "b.nii.gz"))
    torch.testing.assert_close(stored, direct)
    _, measurement = read_measurement(tmp_path / "m.npz")
    metal = measurement.metal.data > 0
    assert metal.any()
    assert float(stored[metal].min()) > 2 * MU_WATER


def test_projections_are_written_as_tiff_and_read_as_a_measured_scan(tmp_path):
    pytest.importorskip("tifffile")
    scan, out = str(tmp_path / "scan.zip"), tmp_path / "out"
    main(["simulate", "phantom:spheres", "--grid", "8x24x24", "--views", "24", "--out", scan])
    main(["reconstruct", scan, "--methods", "sirt", "--stripes", "off", "--out", str(out)])
    report = json.loads((out / "reconstruct.json").read_text())
    assert report["config"]["views"] == 24
    assert report["corrections"]["axis"]["method"] == "file"
    assert report["methods"]["sirt"]["residual"] < 0.05
