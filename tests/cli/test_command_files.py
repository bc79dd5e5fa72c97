"""The command on files: units, paths with ~, and remarks about unseen parts of the volume."""

import argparse
import json
import math
import os
import re

import nibabel as nib
import numpy as np
import pytest
import torch

from tests.conftest import TINY
from tomopatch.cli.main import COMMANDS, adder, main
from tomopatch.io.nifti import read_nifti, write_nifti
from tomopatch.io.writing import in_use
from tomopatch.prior.files import load_prior, save_prior
from tomopatch.prior.precond import Precond
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
    made = sorted(p.name for p in home.iterdir() if p.name not in (".cache", ".config"))  # of libraries
    assert made == ["a.nii", "m.npz", "out", "r.nii.gz"]
    assert not list(elsewhere.iterdir())


@pytest.mark.parametrize(
    "argv",
    [
        ["simulate", "phantom:head", "--grid", "4x8x8", "--out", "~nobody_here/m.npz"],
        ["simulate", "phantom:head", "--grid", "4x8x8", "--angles", "~nobody_here/a", "--out", "m.npz"],
        ["simulate", "~nobody_here/a.nii", "--out", "m.npz"],
        ["reconstruct", "~nobody_here/m.npz", "--method", "fbp", "--out", "r.nii"],
        ["compare", "phantom:head", "--grid", "4x8x8", "--methods", "diffusion", "--out", "o", "--prior",
         "~nobody_here/p"],
    ],
)  # fmt: skip
def test_the_home_folder_of_an_unknown_user_is_refused(tmp_path, monkeypatch, capsys, argv):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(argv)
    except SystemExit as ended:  # of the parser
        code = ended.code
    assert code == 2
    assert "the home folder in '~nobody_here" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_seed_is_refused_by_a_method_without_random_numbers(tmp_path, capsys):
    out = ["--out", str(tmp_path / "m.npz")]
    assert main(["simulate", "phantom:head", "--grid", "4x8x8", "--views", "4", *out]) == 0
    rest = [str(tmp_path / "m.npz"), "--method", "fbp", "--seed", "0", "--out", str(tmp_path / "r.nii")]
    assert main(["reconstruct", *rest]) == 2
    assert "--seed cannot act: fbp draws no random numbers; leave it out" in capsys.readouterr().err


def test_a_measurement_is_reconstructed_on_the_grid_that_is_asked_for(tmp_path, capsys):
    measurement, out = str(tmp_path / "m.npz"), tmp_path / "r.nii"
    assert main(["simulate", *GRID, "--out", measurement]) == 0
    arguments = ["reconstruct", measurement, "--method", "fbp", "--out", str(out)]
    assert main([*arguments, "--grid", "2x8x8"]) == 0
    assert read_nifti(out, units="HU").shape == (2, 8, 8)
    assert main([*arguments, "--views", "5"]) == 2
    assert "--views cannot change m.npz" in capsys.readouterr().err


def test_unseen_parts_of_the_volume_are_reported(tmp_path, capsys):
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
def test_memory_and_arithmetic_errors_end_in_one_sentence(tmp_path, capsys, monkeypatch, error):
    def fail(*_):
        raise error

    monkeypatch.setattr("tomopatch.cli.commands.source_volume", fail)
    assert main(["compare", *GRID, "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("tomopatch: ") == 1


def test_a_comparison_removes_the_volumes_of_an_earlier_one(tmp_path):
    out = tmp_path / "out"
    assert main(["compare", *GRID, "--methods", "fbp,sirt", "--out", str(out)]) == 0
    (out / "tv.nii.gz").write_bytes(b"mine, not listed")
    (out / "notes.txt").write_text("mine")
    assert main(["compare", *GRID, "--methods", "fbp", "--out", str(out)]) == 0
    assert sorted(p.name for p in out.iterdir()) == [
        "compare.json", "compare.png", "fbp.nii.gz", "notes.txt", "tv.nii.gz",
    ]  # fmt: skip
    assert list(json.loads((out / "compare.json").read_text())["methods"]) == ["fbp"]


def test_a_failed_comparison_keeps_the_earlier_one(tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert main(["compare", *GRID, "--methods", "fbp,sirt", "--out", str(out)]) == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tomopatch.studies.compare.write_bytes", full)
    assert main(["compare", *GRID, "--methods", "cgls", "--out", str(out)]) == 2
    assert "No space left" in capsys.readouterr().err
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before


def test_what_a_killed_comparison_left_is_removed_by_the_next_one(tmp_path):
    out = tmp_path / "out"
    left, young, busy = (out / f".tomopatch-{name}" for name in ("left", "young", "busy"))
    for folder in (left, young, busy):
        folder.mkdir(parents=True)
        (folder / "tv.nii.gz").write_bytes(b"half")
    for folder in (left, busy):
        os.utime(folder, (0, 0))
    with in_use(busy):
        assert main(["compare", *GRID, "--methods", "fbp", "--out", str(out)]) == 0
    assert {p.name for p in out.iterdir() if p.name.startswith(".")} == {young.name, busy.name}


def test_remarks_are_printed_and_part_of_compare_json(tmp_path, capsys):
    data = np.full((16, 16, 4), -1000, np.float32)
    data[2:14, 2:14] = 0
    made = nib.Nifti1Image(data, None)
    made.header.set_zooms((2, 2, 2))
    nib.save(made, tmp_path / "a.nii")
    out = tmp_path / "out"
    scan = ["--views", "6", "--det-shape", "4", "8", "--pixel-size", "2", "2", "--methods", "fbp"]
    assert main(["compare", str(tmp_path / "a.nii"), *scan, "--json", "--out", str(out)]) == 0
    printed = capsys.readouterr()
    remarks = json.loads((out / "compare.json").read_text())["remarks"]
    assert json.loads(printed.out)["remarks"] == remarks
    for words in ("how the patient lies", "Truncated", "Few views"):
        assert sum(words in remark for remark in remarks) == 1
        assert sum(words in line for line in printed.err.splitlines()) == 1
    assert all(f"note: {remark}" in printed.err for remark in remarks)


def test_metrics_inside_the_field_of_view_are_added_for_truncated_scans(tmp_path, capsys):
    scan = ["compare", "phantom:spheres", "--grid", "8x32x32", "--views", "20", "--methods", "fbp"]
    assert main([*scan, "--out", str(tmp_path / "whole")]) == 0
    assert "field of view" not in capsys.readouterr().out
    whole = json.loads((tmp_path / "whole" / "compare.json").read_text())
    assert "inside_field_of_view" not in whole["methods"]["fbp"]
    assert main([*scan, "--det-shape", "8", "16", "--out", str(tmp_path / "part")]) == 0
    report = json.loads((tmp_path / "part" / "compare.json").read_text())
    found = report["methods"]["fbp"]
    assert 0 < report["field_of_view_share"] < 1
    assert found["inside_field_of_view"]["rmse_hu"] != found["rmse_hu"]
    assert set(found["inside_field_of_view"]) == {"psnr", "ssim", "rmse_hu"}
    heading, row = capsys.readouterr().out.splitlines()[-2:]
    assert heading == f"inside the field of view ({report['field_of_view_share']:.0%} of the grid):"
    assert row.split()[:2] == ["fbp", f"{found['inside_field_of_view']['psnr']:.2f}"]


def test_a_helix_covers_the_volume_by_default(tmp_path, capsys):
    out = tmp_path / "out"
    methods = ["--methods", "sirt", "--set", "sirt.num_iterations=2"]
    assert main(["compare", *GRID, "--geometry", "cone", "--pitch", "80", *methods, "--out", str(out)]) == 0
    config = json.loads((out / "compare.json").read_text())["config"]
    turns = config["grid"][0] * config["voxel_size"][0] / 80 + 1
    assert config["angle_range"] == pytest.approx(360 * turns)
    assert config["num_views"] == math.ceil(20 * turns)
    assert "in no view" not in capsys.readouterr().err


def test_a_helix_takes_the_range_and_the_views_that_are_given(tmp_path, capsys):
    measurement = str(tmp_path / "m.npz")
    arguments = ["simulate", *GRID, "--geometry", "cone", "--pitch", "80", "--out", measurement, "--json"]
    assert main([*arguments, "--range", "720", "--views", "7"]) == 0
    printed = capsys.readouterr()
    config = json.loads(printed.out)["config"]
    assert (config["angle_range"], config["num_views"]) == (720, 7)
    assert main([*arguments, "--pitch", "0.1"]) == 2
    assert "turns to cover the volume" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["simulate", "reconstruct", "compare", "sweep", "sample"])
def test_memory_is_estimated_before_the_work(tmp_path, capsys, monkeypatch, command):
    """A phantom is checked before it is drawn, a file after it is read."""

    def work(*_: object, **__: object) -> None:
        raise AssertionError("the work began")

    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.45")
    for name in ("source_volume", "simulate_scan", "run_method"):
        monkeypatch.setattr(f"tomopatch.cli.commands.{name}", work)
    monkeypatch.setattr("tomopatch.prior.files.load_prior", work)
    monkeypatch.setattr("tomopatch.studies.sweep.run_sweep", work)
    monkeypatch.setattr("tomopatch.prior.generation.generate", work)
    ending = {"simulate": ".npz", "reconstruct": ".nii", "sample": ".nii"}.get(command, "")
    rest = {
        "reconstruct": ["--method", "tv"],
        "compare": ["--methods", "fbp,tv"],
        "sweep": ["--methods", "tv"],
    }
    grid = ["--grid", "128x256x256"]
    source = [] if command == "sample" else ["phantom:spheres"]
    out = ["--out", str(tmp_path / f"out{ending}")]
    assert main([command, *source, *grid, *rest.get(command, []), *out]) == 2
    error = capsys.readouterr().err
    assert "GB of memory, and one may take 0.5 GB here" in error
    assert len(error.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["simulate", "reconstruct", "compare", "sweep"])
def test_memory_is_estimated_for_files(tmp_path, capsys, monkeypatch, command):
    volume = Volume.from_hu(torch.full((4, 16, 16), -1000.0), VolumeGeometry((4, 16, 16)))
    volume.data[:, 4:12, 4:12] = MU_WATER
    write_nifti(tmp_path / "a.nii", volume)
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.45")
    ending = {"simulate": ".npz", "reconstruct": ".nii"}.get(command, "")
    rest = {"reconstruct": ["--method", "tv"], "compare": ["--methods", "tv"], "sweep": ["--methods", "tv"]}
    arguments = [
        command,
        str(tmp_path / "a.nii"),
        *rest.get(command, []),
        "--out",
        str(tmp_path / f"out{ending}"),
    ]
    assert main([*arguments, "--grid", "128x256x256"]) == 2
    error = capsys.readouterr().err
    assert "GB of memory" in error
    assert len(error.strip().splitlines()) == 1
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.000001")
    assert main(arguments) == 2
    assert re.search("a.nii declares .* more than|GB of memory", capsys.readouterr().err)


def test_memory_is_estimated_for_a_measurement(tmp_path, capsys, monkeypatch):
    measurement = str(tmp_path / "m.npz")
    assert main(["simulate", *GRID, "--out", measurement]) == 0
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.45")
    arguments = ["reconstruct", measurement, "--method", "tv", "--out", str(tmp_path / "r.nii")]
    assert main([*arguments, "--grid", "128x256x256"]) == 2
    assert "choose a smaller --grid" in capsys.readouterr().err
    assert main(arguments) == 0
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.000001")
    assert main(arguments) == 2
    assert "m.npz holds" in capsys.readouterr().err


def test_a_tilde_is_the_home_folder_in_every_option_that_takes_a_path(tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    seen = {}
    monkeypatch.setattr(
        "tomopatch.training.run.train",
        lambda folder, out, *_, **k: seen.update(k, volume_folder=folder, out=out),
    )
    options = ["--network", "small", "--start", "~/a.safetensors", "--cache=~/cache"]
    assert main(["train", "~/ct", "--out=~/out", *options]) == 0
    source = seen["volume_folder"]
    found = (source.folder, seen["out"], seen["start"], source.cache)
    assert [str(path) for path in found] == [
        f"{home}/{name}" for name in ("ct", "out", "a.safetensors", "cache")
    ]
    seen.clear()
    monkeypatch.setattr(
        "tomopatch.training.calibrate.calibrate",
        lambda folder, out, *_, **k: seen.update(k, volume_folder=folder, out=out),
    )
    options = ["--prior=~/a.safetensors", "--cache", "~/cache"]
    assert main(["calibrate", "~/ct", *options, "--out", "~/c.safetensors"]) == 0
    found = (seen["volume_folder"].folder, seen["out"], seen["prior"], seen["volume_folder"].cache)
    assert [str(path) for path in found] == [
        f"{home}/{name}" for name in ("ct", "c.safetensors", "a.safetensors", "cache")
    ]


def test_every_path_option_expands_the_home_folder():
    """Flags without a path type are plain texts and never paths."""
    texts = {"set", "methods", "validation", "data", "units", "id", "effect", "insert", "vary", "address"}
    for name in COMMANDS:
        sub = argparse.ArgumentParser()
        adder(name)(sub)
        for action in sub._actions:
            plain = action.type is None and action.nargs != 0 and not action.choices
            if plain and not action.dest.startswith("param_"):
                assert action.dest in texts, f"{name} {action.dest}"


def test_a_prior_is_found_in_the_home_folder_by_a_notebook_too(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    save_prior("~/mine.safetensors", Precond(TINY))
    assert load_prior("~/mine.safetensors").info["name"] == "mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pair-gpu"], "--pair-gpu cannot act without --pair-workers"),
        (["--validate-every", "0"], "--validate-every takes a count of at least 1"),
        (["--pairs", "-1"], "--pairs takes a count of at least 0"),
        (["--minutes", "nan"], "--minutes takes"),
    ],
)
def test_flags_of_training_that_cannot_act_are_refused(tmp_path, capsys, arguments, words):
    assert main(["train", str(tmp_path), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["compare", "sweep"])
def test_parameters_of_a_method_that_does_not_suit_the_scan_are_refused(tmp_path, capsys, command):
    out = str(tmp_path / "out")
    assert main([command, *GRID, "--set", "fdk.filter=hann", "--out", out]) == 2
    assert "--set fdk.filter cannot act: fdk cannot reconstruct this scan" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has its own memory")
@pytest.mark.parametrize("count", ["--volumes", "--crops"])
def test_training_steps_that_do_not_fit_are_refused_before_anything_is_read(tmp_path, capsys, count):
    assert main(["train", str(tmp_path / "none"), "--out", str(tmp_path / "out"), count, "100000000"]) == 2
    assert "choose fewer --volumes or --crops" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_calibration_that_does_not_fit_is_refused_before_anything_is_read(tmp_path, capsys):
    out = str(tmp_path / "prior.safetensors")
    assert main(["calibrate", str(tmp_path / "none"), "--out", out, "--scans", "100000"]) == 2
    error = capsys.readouterr().err
    assert "GB of memory" in error
    assert "choose fewer --scans" in error
    assert not list(tmp_path.iterdir())
