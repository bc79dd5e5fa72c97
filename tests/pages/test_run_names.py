"""Names of runs side by side contain their differences and nothing else."""

from dataclasses import asdict, replace
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pages.ui.learn.lessons import LESSONS
from pages.ui.texts.labels import all_settings, run_label, setting_label
from pages.ui.texts.run_names import short_names
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.physics.effects import Effects, Tube
from tomopatch.reconstruct.diffusion.tuned import RESTORE_STEPS
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.runs.config import RunConfig, ScanConfig

PARALLEL = ScanConfig("phantom:thorax:0", (64, 128, 128), num_views=60)
CONE = replace(PARALLEL, beam="cone", angle_range=360.0)
LESION = ((0.0, 0.0, 0.0), 6.0, 40.0)
OTHERS = {
    "source": ("phantom:head:0", "Head phantom"),
    "grid": ((32, 96, 96), "32 × 96 × 96"),
    "num_views": (20, "20 views"),
    "angle_range": (90.0, "90°"),
    "start": (45.0, "from 45°"),
    "src_orig_dist": (500.0, "source 500 mm"),
    "src_det_dist": (1500.0, "detector 1500 mm"),
    "pixel_size": ((2.0, 2.0), "pixels of 2 × 2 mm"),
    "det_shape": ((64, 100), "64 × 100 pixels"),
    "det_offset": ((0.0, 30.0), "shift 0 × 30 mm"),
    "tilt": (10.0, "tilt 10°"),
    "pitch": (40.0, "pitch 40 mm"),
    "photons": (1e4, "10\u202f000 photons"),
    "seed": (3, "noise no. 3"),
    "same_grid": (True, "same grid"),
    "units": ("1/cm", "units 1/cm"),
    "lesions": ((LESION,), "1 lesion"),
    "effects": (Effects(tube=Tube(80.0)), "X-ray spectrum: tube voltage 80 kV"),
    "corrections": (Corrections(stripes=True), "corrected: rings"),
}
"""Another value of each setting, and its text in a name."""


@pytest.mark.parametrize("name", OTHERS)
def test_a_name_contains_the_only_different_setting(name):
    value, words = OTHERS[name]
    usual, other = short_names([RunConfig(CONE, "fdk"), RunConfig(replace(CONE, **{name: value}), "fdk")])
    assert other == f"FDK, {words}"
    assert usual != other
    assert usual.count(",") == 1  # no other setting


def test_all_settings_of_a_scan_are_covered():
    # listed views replace other settings; see the next test
    assert set(OTHERS) | {"beam", "angles", "vectors"} == set(ScanConfig.__dataclass_fields__)


def test_names_contain_listed_views():
    angles = tuple(3.0 * k for k in range(60))
    vectors = ((0.0, -1.0, 0.0, 0.0, 9.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0),) * 60
    listed = replace(PARALLEL, angles=angles), replace(PARALLEL, det_shape=(9, 9), vectors=vectors)
    runs = [RunConfig(scan, "sirt") for scan in (PARALLEL, *listed)]
    assert [name.split(", ")[1] for name in short_names(runs)] == [
        "180°",
        "at listed angles",
        "on a free orbit",
    ]


def test_names_contain_the_scan_only_where_scans_differ():
    runs = [RunConfig(PARALLEL, "fbp"), RunConfig(PARALLEL, "tv")]
    assert short_names(runs) == ["FBP", "TV"]
    assert short_names([runs[0], replace(runs[1], scan=replace(PARALLEL, angle_range=90.0))]) == [
        "FBP, 180°",
        "TV, 90°",
    ]
    assert short_names([RunConfig(PARALLEL, "sirt"), RunConfig(CONE, "sirt")]) == [
        "SIRT, parallel beam, 180°",
        "SIRT, cone beam, 360°",  # without the distances, which a parallel beam ignores
    ]


def test_methods_for_metal_are_the_first_difference_of_a_name():
    """A picture of four shows only the first words of its name."""
    corrected = [Corrections(), Corrections(hardening=True, metal="LI"), Corrections(True, metal="NMAR")]
    assert short_names([RunConfig(replace(PARALLEL, corrections=c), "fbp") for c in corrected]) == [
        "FBP, metal kept, uncorrected",
        "FBP, metal by LI, corrected: beam hardening",
        "FBP, metal by NMAR, corrected: dead pixels",
    ]


def test_names_contain_the_prior_where_priors_differ():
    usual, small = RunConfig(PARALLEL, "diffusion"), RunConfig(PARALLEL, "diffusion", prior="small")
    assert short_names([usual, small, RunConfig(PARALLEL, "fbp")]) == [
        "Diffusion, prior base",
        "Diffusion, prior small",
        "FBP",
    ]
    assert short_names([small, RunConfig(PARALLEL, "tv")]) == ["Diffusion", "TV"]


def test_names_contain_the_different_property_of_a_lesion():
    large, faint = (LESION[0], 9.0, 40.0), (LESION[0], 6.0, 10.0)
    moved = ((5.0, 0.0, 0.0), 6.0, 40.0)

    def told(lesion):
        scans = [replace(PARALLEL, lesions=(other,)) for other in (LESION, lesion)]
        return short_names([RunConfig(scan, "fbp") for scan in scans])[1]

    assert told(large) == "FBP, lesion 18 mm"
    assert told(faint) == "FBP, lesion 10 HU"
    assert told(moved) == "FBP, lesion at 5, 0, 0 mm"


def test_names_contain_different_parameters_and_number_equal_runs():
    runs = [
        RunConfig(PARALLEL, "fbp"),
        RunConfig(PARALLEL, "fbp", {"filter": "none"}),
        RunConfig(PARALLEL, "tv", {"lam": 0.002}),
        RunConfig(PARALLEL, "fbp"),
    ]
    assert short_names(runs) == ["FBP, Ram-Lak", "FBP, no filter", "TV", "FBP, Ram-Lak (2)"]


CONFIGS = st.builds(
    lambda method, iterations, cone, chosen: RunConfig(
        replace(CONE if cone else PARALLEL, **{name: OTHERS[name][0] for name in chosen}),
        method,
        {} if method == "fbp" else {"num_iterations": iterations},
    ),
    st.sampled_from(["fbp", "sirt", "tv"]),
    st.sampled_from([10, 20]),
    st.booleans(),
    st.sets(st.sampled_from(sorted(OTHERS)), max_size=4),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(CONFIGS, min_size=1, max_size=7))
def test_names_are_distinct_and_omit_common_settings(configs):
    names = short_names(configs)
    assert len(set(names)) == len(names)
    for name, (value, words) in OTHERS.items():
        has = [getattr(config.scan, name) == value for config in configs]
        if all(has):
            assert not any(f", {words}" in told for told in names)
        elif name not in ("src_orig_dist", "src_det_dist", "pitch"):  # these apply to cone beams only
            assert [f", {words}" in told for told in names] == has


@pytest.mark.parametrize("name", LESSONS)
def test_runs_of_a_lesson_have_distinct_names_without_numbers(name):
    for step in LESSONS[name].steps:
        assert not any(told.endswith(")") for told in short_names(step.runs))


def test_run_labels_name_the_scan_only_where_it_differs_from_the_current_one():
    run = SimpleNamespace(config=RunConfig(PARALLEL, "sirt"))
    assert "views" not in run_label(run, PARALLEL)
    assert run_label(run, replace(PARALLEL, num_views=20)).endswith(" · 60 views, no noise")


def test_a_limit_of_iterations_is_called_one():
    assert setting_label("tv", "num_iterations", 250) == "at most 250 iterations"
    assert setting_label("sirt", "num_iterations", 1) == "1 iteration"


def test_a_report_lists_settings_as_the_form_shows_them():
    """Zeros that let the method choose are not figures of the run."""
    restored = all_settings(RunConfig(PARALLEL, "diffusion", asdict(DiffusionParams()), prior="base"))
    assert restored["Mode"] == "Restore (fast)"
    assert restored["Steps"] == str(RESTORE_STEPS)
    assert restored["First noise level"] == "automatic"
    assert restored["Initial reconstruction"] == "TV"
    assert restored["Seed"] == "0"
    chosen = asdict(DiffusionParams(mode="posterior", num_steps=7, sigma_max=2.5))
    sampled = all_settings(RunConfig(PARALLEL, "diffusion", chosen, prior="base"))
    assert (sampled["Steps"], sampled["First noise level"]) == ("7", "2.5")
    assert all_settings(RunConfig(PARALLEL, "fbp", {"filter": "ram-lak", "extrapolate": True})) == {
        "Filter": "Ram-Lak",
        "Extrapolate": "yes",
    }
