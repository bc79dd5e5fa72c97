import json
import os
from pathlib import Path

import pytest

import tomopatch
from tomopatch.cli.main import main
from tomopatch.prior.files import load_prior
from tomopatch.prior.network import PRESETS

PHANTOM = ["phantom:shepp-logan", "--grid", "8x32x32", "--views", "8"]


def test_compare_writes_and_prints_the_table(tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(
            [
                "compare",
                *PHANTOM,
                "--photons",
                "1e5",
                "--methods",
                "fbp,tv",
                "--set",
                "tv.num_iterations=20",
                "--out",
                str(out),
            ]
        )
        == 0
    )
    printed = capsys.readouterr().out
    report = json.loads((out / "compare.json").read_text())
    assert report["methods"]["tv"]["params"]["num_iterations"] == 20
    assert report["config"]["grid"] == [8, 32, 32]
    assert f"{report['methods']['fbp']['psnr']:.2f}" in printed
    assert "8x32x32, parallel, 8 views over 180 degrees, 1e+05 photons" in printed


def test_compare_can_print_json(tmp_path, capsys):
    main(
        [
            "compare",
            *PHANTOM,
            "--geometry",
            "cone",
            "--methods",
            "fdk",
            "--json",
            "--out",
            str(tmp_path / "out"),
        ]
    )
    assert json.loads(capsys.readouterr().out)["config"]["angle_range"] == 360


def test_the_same_seed_gives_the_same_numbers(tmp_path):
    reports = []
    for name in "ab":
        main(
            [
                "compare",
                *PHANTOM,
                "--photons",
                "1e4",
                "--seed",
                "3",
                "--methods",
                "fbp",
                "--out",
                str(tmp_path / name),
            ]
        )
        reports.append(json.loads((tmp_path / name / "compare.json").read_text())["methods"]["fbp"])
    assert reports[0]["psnr"] == reports[1]["psnr"]


def test_simulate_then_reconstruct(tmp_path, capsys):
    measurement, volume = tmp_path / "m.npz", tmp_path / "v.nii.gz"
    assert main(["simulate", *PHANTOM, "--photons", "1e5", "--out", str(measurement)]) == 0
    assert "8 views of" in capsys.readouterr().out
    assert (
        main(
            [
                "reconstruct",
                str(measurement),
                "--method",
                "sirt",
                "--num-iterations",
                "7",
                "--json",
                "--out",
                str(volume),
            ]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["params"]["num_iterations"] == 7
    assert volume.exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["compare", "nowhere.nii", "--out", "OUT"], "does not exist"),
        (["compare", "phantom:nobody", "--out", "OUT"], "nobody"),
        (["compare", *PHANTOM, "--methods", "magic", "--out", "OUT"], "known are fbp"),
        (["compare", *PHANTOM, "--geometry", "cone", "--methods", "fbp", "--out", "OUT"], "parallel beam"),
        (["compare", *PHANTOM, "--views", "0", "--out", "OUT"], "views"),
        (["compare", *PHANTOM, "--photons", "-4", "--out", "OUT"], "photons"),
        (["compare", *PHANTOM, "--set", "tv.lam=lots", "--out", "OUT"], "type float"),
        (["compare", *PHANTOM, "--set", "lam=1", "--out", "OUT"], "METHOD.NAME=VALUE"),
        (
            ["compare", *PHANTOM, "--geometry", "cone", "--src-orig-dist", "20", "--out", "OUT"],
            "inside the volume",
        ),
        (["simulate", *PHANTOM, "--out", "OUT"], ".npz"),
        (
            ["simulate", *PHANTOM, "--photons", "0", "--out", "OUT.npz"],
            "photons per ray must be at least 0.001",
        ),
        (["compare", "phantom:thorax", "--grid", "0x8x8", "--out", "OUT"], "at least 1"),
        (["compare", "phantom:thorax", "--grid", "9999x9999x9999", "--out", "OUT"], "million voxels"),
        (["compare", *PHANTOM, "--out", "/dev/null/out"], "/dev/null is a file"),
        (["reconstruct", *PHANTOM, "--method", "fbp", "--out", "/dev/null/v.nii"], "/dev/null is a file"),
        (["reconstruct", "OUT.npz", "--method", "sirt", "--out", "OUT.nii"], "no measurement"),
        (
            ["reconstruct", *PHANTOM, "--method", "fbp", "--num-iterations", "3", "--out", "OUT.nii"],
            "has no parameter",
        ),
    ],
)
def test_bad_input_ends_with_code_2_and_one_sentence(tmp_path, capsys, arguments, words):
    arguments = [a.replace("OUT", str(tmp_path / "out")) for a in arguments]
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that nobody can write in")
@pytest.mark.parametrize(
    "arguments",
    [
        ["simulate", *PHANTOM, "--out", "/proc/x.npz"],
        ["reconstruct", *PHANTOM, "--method", "fbp", "--out", "/proc/deep/x.nii.gz"],
        ["compare", *PHANTOM, "--out", "/proc/x"],
        ["sweep", *PHANTOM, "--views", "4", "--methods", "fbp", "--out", "/proc/x"],
        ["sample", "--grid", "8x16x16", "--out", "/proc/x.nii"],
        ["train", "FOLDER", "--out", "/proc/x"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_unwritable_outputs_are_refused_before_the_work(tmp_path, capsys, monkeypatch, arguments):
    """This holds for root, too, who may write everywhere else."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setattr("tomopatch.cli.commands.source_volume", work)
    monkeypatch.setattr("tomopatch.prior.files.load_prior", work)
    monkeypatch.setattr("tomopatch.studies.sweep.run_sweep", work)
    monkeypatch.setattr("tomopatch.training.run.train", work)
    assert main([a.replace("FOLDER", str(tmp_path)) for a in arguments]) == 2
    assert "nothing can be written in /proc" in capsys.readouterr().err


def test_out_for_several_files_must_not_be_a_file(tmp_path, capsys):
    there = tmp_path / "there"
    there.write_text("mine")
    assert main(["compare", *PHANTOM, "--out", str(there)]) == 2
    assert "is a file; give a folder" in capsys.readouterr().err
    assert there.read_text() == "mine"


@pytest.mark.parametrize(
    ("beam", "method", "words"), [("cone", "fbp", "parallel beam"), ("parallel", "fdk", "cone-beam")]
)
def test_a_method_that_does_not_suit_the_scan_is_refused_before_it_is_simulated(
    tmp_path, capsys, monkeypatch, beam, method, words
):
    def work(*_: object, **__: object) -> None:
        raise AssertionError("the scan had begun")

    monkeypatch.setattr("tomopatch.runs.prepare.simulate", work)
    for command, ending in ((["compare", "--methods"], ""), (["reconstruct", "--method"], ".nii")):
        name, flag = command
        out = str(tmp_path / f"out{ending}")
        assert main([name, *PHANTOM, "--geometry", beam, flag, method, "--out", out]) == 2
        assert words in capsys.readouterr().err


def test_a_folder_without_dicom_is_named(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("no CT here")
    assert main(["compare", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "DICOM" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_training_needs_a_volume(tmp_path, capsys):
    (tmp_path / "ct").mkdir()
    assert main(["train", str(tmp_path / "ct"), "--out", str(tmp_path / "out")]) == 2
    assert "no volume to train on" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_output_folders_are_created(tmp_path):
    volume = tmp_path / "new" / "deep" / "v.nii.gz"
    assert main(["reconstruct", *PHANTOM, "--method", "fbp", "--out", str(volume)]) == 0
    assert volume.exists()


def test_unparsable_arguments_end_with_code_2(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["compare", "phantom:thorax", "--grid", "64x64", "--out", "x"])
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert "64x128x128" in error
    assert len(error.strip().splitlines()) == 1


def test_help_lists_the_commands(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("simulate", "reconstruct", "compare", "bench", "app"))


def test_bench_times_projectors_and_methods(capsys):
    main(["bench", "--grid", "4x16x16", "--views", "4", "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert {(r["beam"], r["what"]) for r in rows} >= {
        ("parallel", "A.T"),
        ("cone", "fdk"),
        ("parallel", "tv"),
    }
    assert all(r["seconds"] > 0 for r in rows)


@pytest.mark.skipif(
    "TOMOPATCH_DATA" not in os.environ, reason="set TOMOPATCH_DATA to the folder of CT volumes"
)
def test_bars_on_a_real_chest(tmp_path):
    """20 parallel views without noise at 64x128x128, defaults: TV beats SIRT by 1 dB, SIRT beats FBP by 4
    dB.
    """
    volume = Path(os.environ["TOMOPATCH_DATA"]) / "popi_4dct_phase00.nii.bz2"
    main(
        [
            "compare",
            str(volume),
            "--grid",
            "64x128x128",
            "--methods",
            "fbp,sirt,tv",
            "--out",
            str(tmp_path / "out"),
        ]
    )
    m = json.loads((tmp_path / "out" / "compare.json").read_text())["methods"]
    assert m["sirt"]["psnr"] >= m["fbp"]["psnr"] + 4
    assert m["tv"]["psnr"] >= m["sirt"]["psnr"] + 1


def test_training_accepts_every_field_of_its_data_config(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "tomopatch.training.run.train", lambda folder, out, config, **options: seen.append(config.data)
    )
    command = [
        "train",
        str(tmp_path),
        "--out",
        str(tmp_path / "out"),
        "--network",
        "tiny",
        "--voxel-xy",
        "10",
        "34",
    ]
    assert main([*command, "--data", "sigma_median=0.6", "--data", "pool=96"]) == 0
    assert (seen[0].sigma_median, seen[0].pool, seen[0].voxel_xy) == (0.6, 96, (10.0, 34.0))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], PRESETS["small"]),
        (["--start", "base"], load_prior("base", "cpu").config),
        (["--start", "base", "--network", "base"], PRESETS["base"]),
    ],
    ids=["nothing", "start", "both"],
)
def test_training_continues_the_network_that_it_starts_from(tmp_path, monkeypatch, options, expected):
    """The shipped `base` has fewer inputs than the present network of that name."""
    seen = []
    monkeypatch.setattr(
        "tomopatch.training.run.train", lambda folder, out, config, **_: seen.append(config.network)
    )
    assert main(["train", str(tmp_path), "--out", str(tmp_path / "out"), *options]) == 0
    assert seen == [expected]


@pytest.mark.parametrize(
    ("data", "expected"),
    [("pool", "NAME=VALUE"), ("pool=many", "int"), ("voxels=3", "sigma_median"), ("voxel_xy=3", "known are")],
)
def test_unknown_fields_of_the_data_config_are_refused(data, expected, tmp_path, capsys):
    assert main(["train", str(tmp_path), "--out", str(tmp_path / "out"), "--data", data]) == 2
    assert expected in capsys.readouterr().err


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"tomopatch {tomopatch.__version__}\n"


def test_a_demo_has_limits_that_the_environment_can_change(monkeypatch):
    started = []
    monkeypatch.setattr("tomopatch.cli.app.become_server", lambda *given: started.append(given) or 0)
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "3")
    monkeypatch.delenv("TOMOPATCH_SHARED", raising=False)
    assert main(["app", "--demo", "--headless", "--address", "0.0.0.0", "--port", "8600"]) == 0
    assert main(["app"]) == 0
    (command, _, environment), (*_, plain) = started
    assert environment["TOMOPATCH_MEMORY_GB"] == "3"
    assert environment["TOMOPATCH_SHARED"] == environment["TOMOPATCH_READ_ONLY"] == "1"
    assert command[-6:] == [
        "--server.port",
        "8600",
        "--server.address",
        "0.0.0.0",
        "--server.headless",
        "true",
    ]
    assert "TOMOPATCH_SHARED" not in plain
