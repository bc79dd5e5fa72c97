"""Arguments of the command: impossible values and flags without effect are refused by name."""

import argparse
import os

import pytest

from tomopatch.cli import arguments, flags
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.physics.effects import Effects


def parse(*texts: str, many: bool = False, methods: bool = False) -> argparse.Namespace:
    parser = argparse.ArgumentParser(exit_on_error=False)
    flags.add_scan(parser, many=many)
    parser.add_argument("--out", default="x")
    if methods:
        flags.add_methods(parser)
    return parser.parse_args(texts)


def scan(*texts: str):
    return arguments.scan_config(parse("phantom:head", *texts))


def test_without_flags_a_scan_has_its_beam_s_usual_range():
    assert scan().angle_range == 180
    assert scan("--geometry", "cone").angle_range == 360
    assert scan("--range", "90").angle_range == 90
    assert scan().same_grid is False
    assert scan("--same-grid").same_grid is True


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["--range", "0"], r"--range must lie above 0 .* degrees, got 0"),
        (["--range", "-5"], r"--range .* got -5"),
        (["--range", "nan"], "--range"),
        (["--views", "0"], "number of views .* got 0"),
        (["--photons", "0"], "photons per ray must be at least 0.001"),
        (["--tilt", "90"], r"--tilt must lie between -90 and 90 degrees, got 90"),
        (
            ["--geometry", "cone", "--src-det-dist", "0"],
            "--src-orig-dist must lie above 0 and at most at --src-det-dist",
        ),
        (["--geometry", "cone", "--src-orig-dist", "0"], r"--src-orig-dist .* got 0 and 1200"),
        (["--pixel-size", "1", "0"], r"--pixel-size takes two lengths in mm above 0, got 1 0"),
        (["--det-shape", "0", "8"], r"--det-shape takes two counts above 0, got 0 8"),
        (["--det-offset", "0", "inf"], "--det-offset"),
        (["--seed", "-1"], "seed"),
    ],
)
def test_impossible_values_are_refused_with_the_flag_and_its_unit(texts, words):
    with pytest.raises(ValueError, match=words):
        scan(*texts)


def test_effects_are_a_preset_with_changes_and_objects():
    made = scan(
        "--effects", "chest", "--effect", "tube.kvp=80", "scatter=off", "motion.kind=drift",
        "--insert", "rod:steel:0,20,-30:10x60", "ball:iodine:0,0,0:8", "--correct", "hardening", "NMAR",
    )  # fmt: skip
    assert made.effects.tube.kvp == 80
    assert made.effects.tube.aluminium == 6
    assert made.effects.scatter is None
    assert made.effects.motion.kind == "drift"
    assert [i.material for i in made.effects.inserts] == ["steel", "iodine"]
    assert made.effects.inserts[0].size == (10, 60)
    assert made.corrections == Corrections(hardening=True, metal="NMAR")
    assert scan().effects == Effects()
    assert "effects" not in scan().to_json()


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        (["--effect", "tube.kvp=8"], "tube voltage \\[kV] must be at least 40, got 8"),
        (["--effect", "tube.kv=80"], "tube has no field 'kv'; it has kvp"),
        (["--effect", "lens.blur=1"], "NAME is one of tube, scatter"),
        (["--effect", "tube=80"], "tube must be on or off"),
        (["--insert", "rod:gold:0,0,0:5"], "material must be 'titanium'"),
        (["--insert", "rod"], "an insert is SHAPE:MATERIAL"),
        (["--insert", "rod:steel:0,0:5"], "a value of centre is missing"),
    ],
)
def test_impossible_effects_are_refused_in_a_sentence(texts, words):
    with pytest.raises(ValueError, match=words):
        scan(*texts)


@pytest.mark.parametrize("flag", ["--src-orig-dist", "--src-det-dist", "--pitch"])
def test_flags_of_a_cone_are_refused_for_parallel_rays(flag):
    with pytest.raises(ValueError, match=f"{flag} needs --geometry cone; leave it out"):
        scan(flag, "800")
    assert scan("--geometry", "cone", flag, "900" if flag != "--pitch" else "0")


def test_zero_is_a_value():
    """A pitch of 0 is a circle, a tilt of 0 an upright beam."""
    given = scan("--geometry", "cone", "--pitch", "0", "--tilt", "0", "--start", "0", "--seed", "0")
    assert (given.pitch, given.tilt, given.start, given.seed) == (0, 0, 0, 0)


def test_a_measurement_takes_the_grid_and_refuses_another_scan():
    arguments.check_measured(parse("m.npz", "--grid", "8x16x16", "--seed", "3", "--out", "y"))
    with pytest.raises(ValueError, match=r"--views, --photons cannot change m\.npz.*leave them out"):
        arguments.check_measured(parse("/a/m.npz", "--views", "20", "--photons", "1e4", "--grid", "8x16x16"))
    with pytest.raises(ValueError, match="--same-grid cannot change"):
        arguments.check_measured(parse("m.npz", "--same-grid"))
    # an explicit default value is refused, too
    with pytest.raises(ValueError, match="--geometry cannot change"):
        arguments.check_measured(parse("m.npz", "--geometry", "parallel"))


def test_parameters_of_methods_that_do_not_run_are_refused():
    with pytest.raises(ValueError, match=r"--set tv\.lam cannot act: tv is not among --methods fbp"):
        arguments.chosen_methods(parse("x", "--methods", "fbp", "--set", "tv.lam=1e-5", methods=True), 0)
    with pytest.raises(ValueError, match="--prior cannot act: none of --methods fbp,tv has a prior"):
        arguments.chosen_methods(parse("x", "--methods", "fbp,tv", "--prior", "small", methods=True), 0)
    names, params = arguments.chosen_methods(
        parse("x", "--methods", "tv", "--set", "tv.lam=1e-5", methods=True), 0
    )
    assert names == ["tv"]
    assert params["tv"]["lam"] == 1e-5


def test_a_tilde_is_the_home_folder_in_every_path(monkeypatch):
    monkeypatch.setenv("HOME", "/somewhere")
    typed = parse("~/scan.nii", "--prior", "~/mine.safetensors", methods=True)
    assert arguments.scan_config(typed).source == "/somewhere/scan.nii"
    assert typed.prior == "/somewhere/mine.safetensors"
    parser = argparse.ArgumentParser()
    flags.add_volumes(parser)
    volumes = parser.parse_args(["~/volumes", "--cache", "~/cache"])
    assert (str(volumes.folder), str(volumes.cache)) == ("/somewhere/volumes", "/somewhere/cache")
    assert str(flags.path("~/out")) == "/somewhere/out"
    assert os.path.expanduser("phantom:head") == "phantom:head"


def test_a_sweep_needs_values():
    assert parse("x", "--views", "8, 20", many=True).views == [8, 20]
    with pytest.raises(argparse.ArgumentError, match="one or more values"):
        parse("x", "--views", ",", many=True)
