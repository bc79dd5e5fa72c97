import json

import numpy as np
import pytest

from tomopatch import ConeBeam, ParallelBeam, Projector, Volume, VolumeGeometry, phantom, simulate
from tomopatch.cli.main import main
from tomopatch.geometry.beams import even_angles

GRID = VolumeGeometry((1, 48, 48), (1.0, 1.0, 1.0))


@pytest.fixture
def scan(tmp_path):
    """Counts of a fan-beam scan with an axis offset of 1.5 columns, and a geometry file."""
    image = phantom("shepp-logan", shape=(9, 48, 48)).data[4:5].contiguous()
    pg = ConeBeam(even_angles(60, 2 * np.pi), (1, 72), (1.5, 1.5), 100, 150, (0.0, 2.25))
    m = simulate(Volume(image, GRID), Projector(GRID, pg), photon_count=1e5)
    counts = (1e4 * np.exp(-m.projections.numpy())).transpose(1, 0, 2)
    np.savez(tmp_path / "scan.npz", projections=counts, quantity="counts", white_level=1e4)
    geometry = tmp_path / "geometry.json"
    geometry.write_text(
        json.dumps(
            {"beam": "fan", "src_orig_dist_mm": 100, "src_det_dist_mm": 150, "pixel_size_mm": 1.5,
             "angle_step_deg": 6}
        )
    )  # fmt: skip
    return [str(tmp_path / "scan.npz"), "--geometry-file", str(geometry)]


def test_methods_are_compared_by_held_out_views(scan, tmp_path, capsys, one_thread):
    out = tmp_path / "out"
    arguments = [
        "--methods",
        "fdk,sirt,cgls",
        "--hold-out",
        "10",
        "--set",
        "sirt.num_iterations=30",
        "cgls.num_iterations=8",
    ]
    assert main(["reconstruct", *scan, *arguments, "--all-views", "fdk", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    report = json.loads((out / "reconstruct.json").read_text())
    assert report["config"]["used_views"] == 54
    assert report["config"]["held_out_views"] == [5, 15, 25, 35, 45, 55]
    assert report["config"]["grid"] == [1, 72, 72]
    assert report["corrections"]["axis"]["column"] == pytest.approx(34.0, abs=0.1)
    for name in ("fdk", "sirt", "cgls"):
        assert 0 < report["methods"][name]["held_out_relative"] < 0.2
        assert (out / f"{name}.nii.gz").is_file()
    assert report["methods"]["fdk"]["rmse_to_all_views_hu"] > 0
    assert (out / "reconstruct.png").is_file()
    assert (out / "all_views.nii.gz").is_file()
    assert "54 of 60 views" in printed.out


def test_a_study_replaces_all_volumes_of_an_earlier_one(scan, tmp_path):
    out = tmp_path / "out"
    common = ["reconstruct", *scan, "--grid", "1x24x24", "--axis", "34.0", "--out", str(out)]
    assert main([*common, "--methods", "fdk,cgls", "--all-views", "fdk"]) == 0
    (out / "notes.txt").write_text("mine")
    assert (out / "all_views.nii.gz").exists()
    assert main([*common, "--methods", "fdk"]) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "fdk.nii.gz", "notes.txt", "reconstruct.json", "reconstruct.png",
    ]  # fmt: skip


def test_the_wrong_axis_predicts_worse(scan, tmp_path, capsys, one_thread):
    errors = []
    for axis in ("34", "37"):
        main(["reconstruct", *scan, "--axis", axis, "--hold-out", "10", "--methods", "cgls", "--json",
              "--out", str(tmp_path / axis)])  # fmt: skip
        errors.append(json.loads(capsys.readouterr().out)["methods"]["cgls"]["held_out_rmse"])
    assert errors[0] < 0.6 * errors[1]


def test_one_method_writes_one_file(scan, tmp_path, capsys):
    out = tmp_path / "volume.nii.gz"
    arguments = [
        "--axis",
        "34",
        "--method",
        "sirt",
        "--num-iterations",
        "3",
        "--every",
        "4",
        "--grid",
        "1x24x24",
    ]
    assert main(["reconstruct", *scan, *arguments, "--json", "--out", str(out)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["methods"]["sirt"]["params"]["num_iterations"] == 3
    assert report["config"]["used_views"] == 15
    assert out.is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--views", "9"], "--views cannot act on a measured scan"),
        (["--hold-out", "1"], "hold_out must lie between 2 and the 60 views"),
        (["--every", "0"], "every must be"),
        (["--axis", "999"], "a column from 0 to 71"),
        (["--methods", "fbp"], "needs a parallel beam"),
        (["--methods", "magic"], "unknown method 'magic'"),
        (["--set", "tv.lam=1"], "--set tv.lam cannot act"),
        (["--axisymmetric", "9"], "single view"),
    ],
)
def test_refusals(scan, tmp_path, capsys, arguments, message):
    out = tmp_path / "out"
    common = [] if "--methods" in arguments else ["--methods", "cgls"]
    axis = [] if "--axis" in arguments else ["--axis", "34"]
    assert main(["reconstruct", *scan, *common, *axis, *arguments, "--out", str(out)]) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_flags_of_measured_scans_need_one(tmp_path, capsys):
    out = str(tmp_path / "x.nii.gz")
    assert main(["reconstruct", "phantom:spheres", "--method", "fbp", "--every", "2", "--out", out]) == 2
    assert "--every cannot act on a simulated scan" in capsys.readouterr().err
    assert main(["reconstruct", "phantom:spheres", "--out", out]) == 2
    assert "--method is needed" in capsys.readouterr().err


def test_a_dense_object_is_scaled_for_total_variation(tmp_path, capsys, one_thread):
    """Total variation gives the same result for a faint and for a dense object."""
    image = phantom("shepp-logan", shape=(9, 48, 48)).data[4:5].contiguous()
    pg = ParallelBeam(even_angles(40, np.pi), (1, 72), (1.0, 1.0))
    y = simulate(Volume(image, GRID), Projector(GRID, pg)).projections.numpy().transpose(1, 0, 2)
    errors = []
    keys = {"quantity": "line_integrals", "beam": "parallel", "rotation_axis_u_px": 35.5}
    keys |= {"angles_deg": np.rad2deg(pg.angles), "pixel_size_mm": [1.0, 1.0]}
    path = str(tmp_path / "scan.npz")
    for factor in (0.02, 100):
        np.savez(path, projections=factor * y, **keys)
        arguments = ["--methods", "tv", "--hold-out", "8", "--json"]
        main(["reconstruct", path, *arguments, "--out", str(tmp_path / str(factor))])
        printed = capsys.readouterr()
        errors.append(json.loads(printed.out)["methods"]["tv"]["held_out_relative"])
    assert errors[1] == pytest.approx(errors[0], rel=0.02)
    assert "settings relative to water" in printed.err
