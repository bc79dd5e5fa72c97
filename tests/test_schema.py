"""Records: external values give a record or an error of one sentence."""

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field

from tomopatch.physics.effect_settings import PRESETS
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.prior import DenoiseConfig, GenerateConfig, read_config
from tomopatch.runs.run import Run
from tomopatch.schema import Flag, Real, Whole, changed_values, json_schema, read, record
from tomopatch.studies.experiment import Experiment
from tomopatch.studies.sweep import SweepConfig

DOCS = Path(__file__).resolve().parents[1] / "docs"


@record
class Disc:
    radius: Annotated[Real, Field(gt=0, title="the radius")]
    centre: tuple[Real, Real] = (0.0, 0.0)
    kind: Literal["air", "bone"] = "air"
    count: Whole = 1
    hollow: Flag = False


@record
class Plate:
    name: str
    discs: Annotated[tuple[Disc, ...], Field(max_length=2)] = ()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"radius": 0}, "the radius must be above 0, got 0."),
        ({"radius": "3"}, "the radius must be a number, got '3'."),
        ({"radius": True}, "the radius must be a number, got True."),
        ({"radius": float("nan")}, "the radius must be a finite number, got nan."),
        ({"radius": 10**400}, "the radius must be a number, got 1000"),
        ({"radius": 10**5000}, "thousands of digits"),
        ({"radius": 1, "centre": 3}, "centre must be a list, got 3."),
        ({"radius": 1, "centre": [1]}, "a value of centre is missing."),
        ({"radius": 1, "centre": [1, "x"]}, "a value of centre must be a number, got 'x'."),
        ({"radius": 1, "kind": "x"}, "kind must be 'air' or 'bone', got 'x'."),
        ({"radius": 1, "count": 1.5}, "count must be a whole number, got 1.5."),
        ({"radius": 1, "hollow": 1}, "hollow must be true or false, got 1."),
        (
            {"radius": 1, "colour": 1},
            "Disc has no field 'colour'; it has centre, count, hollow, kind, radius.",
        ),
        ({}, "the radius is missing."),
    ],
)
def test_a_wrong_value_gives_one_sentence(values, said):
    for make in (lambda: Disc(**values), lambda: read(Disc, values)):
        with pytest.raises(ValueError) as error:
            make()
        text = str(error.value)
        assert said in text
        assert "\n" not in text
        assert "pydantic" not in text
        assert len(text) < 300


def test_a_nested_value_is_named_by_its_path():
    with pytest.raises(ValueError, match=r"discs\.radius"):
        read(Plate, {"name": "a", "discs": [{"radius": 1}, {"radius": -1}]})
    with pytest.raises(ValueError, match="at most 2"):
        read(Plate, {"name": "a", "discs": [{"radius": 1}] * 3})


def test_a_record_is_frozen_and_its_copies_are_checked():
    disc = Disc(2, [1, 2])
    assert disc == Disc(2.0, (1.0, 2.0))
    assert isinstance(disc.radius, float)
    with pytest.raises(FrozenInstanceError):
        disc.radius = 3.0
    with pytest.raises(ValueError, match="above 0"):
        replace(disc, radius=-1.0)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KINDS = [ScanConfig, RunConfig, SweepConfig, Experiment, GenerateConfig, DenoiseConfig, Run]


@settings(deadline=None)
@given(kind=st.sampled_from(KINDS), data=st.data())
def test_any_json_is_a_record_or_one_sentence(kind, data):
    """Values for existing fields, so that every check of a field is reached."""
    names = sorted(kind.__pydantic_fields__)
    stored = data.draw(JSON | st.dictionaries(st.sampled_from(names), JSON, max_size=6))
    if isinstance(stored, dict):
        for name in names:
            if kind.__pydantic_fields__[name].is_required():
                stored.setdefault(name, data.draw(st.sampled_from(["phantom:thorax", 1.0, ["fbp"], {}])))
    said = ""
    try:
        assert isinstance(read(kind, stored), kind)
    except ValueError as error:
        said = str(error)
    assert "\n" not in said
    assert len(said) < 600


SCANS = st.builds(
    ScanConfig,
    source=st.sampled_from(["phantom:thorax", "phantom:head:3"]),
    grid=st.none() | st.tuples(*[st.integers(1, 512)] * 3),
    beam=st.sampled_from(["parallel", "cone"]),
    num_views=st.integers(1, 1000),
    angle_range=st.floats(1, 720),
    start=st.floats(-360, 360),
    photons=st.none() | st.floats(1, 1e9),
    det_offset=st.tuples(st.floats(-50, 50), st.floats(-50, 50)),
    lesions=st.lists(
        st.tuples(st.tuples(*[st.floats(-100, 100)] * 3), st.floats(1, 50), st.floats(-1000, 3000)),
        max_size=3,
    ),
    seed=st.integers(0, 2**31 - 1),
)


@settings(deadline=None)
@given(scan=SCANS, method=st.sampled_from(sorted(METHODS)))
def test_a_config_survives_its_json_with_the_same_digest(scan, method):
    config = RunConfig(scan, method)
    again = read_config(json.loads(json.dumps(config.to_json())))
    assert again == config
    assert again.digest() == config.digest()


@pytest.mark.parametrize("effects", [preset.effects for preset in PRESETS.values()])
def test_the_changed_values_restore_a_scan(effects):
    scan = ScanConfig("phantom:head", num_views=7, effects=effects, lesions=[[[1, 2, 3], 4, 5]])
    changed = json.loads(json.dumps(changed_values(scan)))
    assert "angle_range" not in changed
    assert read(ScanConfig, changed) == scan


def test_whole_numbers_and_decimals_are_the_same_run():
    assert ScanConfig("phantom:thorax", angle_range=180).digest() == ScanConfig("phantom:thorax").digest()


def test_the_schema_in_the_docs_is_that_of_an_experiment():
    stored = json.loads((DOCS / "experiment.schema.json").read_text())
    assert stored == json_schema(Experiment), "write it again with the command in docs/files.md"
