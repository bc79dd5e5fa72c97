"""The form of effects and corrections on Acquire."""

import json

import pytest

from pages.ui.session import routes, state
from pages.ui.texts.labels import scan_summary
from tomopatch.physics.chain import switched_on
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.physics.effect_settings import PRESETS
from tomopatch.physics.effects import DetectorFaults, Effects, Insert, Motion, Tube


@pytest.fixture
def acquire(app, small_scan):
    """Acquire with a small scan and the expanded effects section."""
    app.session_state["_scan"] = small_scan
    app.session_state["acquire.effects"] = True
    app.switch_page(routes.ACQUIRE).run()
    assert not app.exception
    return app


def effects_of(app) -> Effects:
    return app.session_state["_scan"].effects


def test_an_ideal_scan_has_no_effects(acquire):
    assert effects_of(acquire) == Effects()
    assert acquire.selectbox(key=state.field("effects")).value == "textbook"


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_sets_all_effects(acquire, name):
    acquire.selectbox(key=state.field("effects")).set_value(name).run()
    assert not acquire.exception
    assert effects_of(acquire) == PRESETS[name].effects
    acquire.selectbox(key=state.field("effects")).set_value("textbook").run()
    assert effects_of(acquire) == Effects()


def test_a_switch_turns_on_an_effect_with_its_defaults_and_off_again(acquire):
    acquire.toggle(key=state.field("tube")).set_value(True).run()
    assert effects_of(acquire).tube == Tube()
    acquire.number_input(key=state.field("tube.kvp")).set_value(80.0).run()
    assert effects_of(acquire).tube == Tube(80.0)
    assert acquire.selectbox(key=state.field("effects")).value == "own"
    acquire.toggle(key=state.field("tube")).set_value(False).run()
    assert effects_of(acquire) == Effects()


@pytest.mark.parametrize("name", ["tube", "scatter", "blur", "misalignment", "motion", "faults"])
def test_every_effect_changes_the_scan_when_it_is_switched_on(acquire, name):
    acquire.toggle(key=state.field(name)).set_value(True).run()
    assert getattr(switched_on(effects_of(acquire)), name) is not None


def test_a_tube_current_replaces_the_photons_in_the_summary(acquire):
    acquire.toggle(key=state.field("tube")).set_value(True).run()
    acquire.number_input(key=state.field("tube.mas")).set_value(0.5).run()
    assert "0.5 mAs per view" in scan_summary(acquire.session_state["_scan"])
    assert "photons" not in scan_summary(acquire.session_state["_scan"])


def test_an_insert_is_in_the_scan(acquire):
    acquire.toggle(key=state.field("insert")).set_value(True).run()
    acquire.selectbox(key=state.field("insert.shape")).set_value("ball").run()
    acquire.number_input(key=state.field("insert.x")).set_value(20.0).run()
    assert not acquire.exception
    (insert,) = effects_of(acquire).inserts
    assert (insert.shape, insert.material, insert.centre) == ("ball", "titanium", (0.0, 0.0, 20.0))


def test_corrections_appear_with_their_effect(acquire):
    key = state.field("correct.stripes")
    assert key not in [toggle.key for toggle in acquire.toggle]
    acquire.toggle(key=state.field("faults")).set_value(True).run()
    assert key in [toggle.key for toggle in acquire.toggle]
    acquire.toggle(key=state.field("correct.stripes")).set_value(True).run()
    assert acquire.session_state["_scan"].corrections == Corrections(stripes=True)


def test_a_link_with_effects_fills_the_form(visit, small_scan):
    effects = Effects(
        tube=Tube(70.0, copper=0.2),
        motion=Motion("jump", (0.0, 3.0, 0.0), time=0.3),
        faults=DetectorFaults(gain=0.01),
        inserts=(Insert("plate", "steel", (1.0, 2.0, 3.0), (20.0, 2.0), "y"), Insert("ball")),
    )
    stored = small_scan.to_json() | {
        "effects": json.loads(json.dumps(Effects.__pydantic_serializer__.to_python(effects))),
        "corrections": {"hardening": True, "metal": "NMAR"},
    }
    app = visit(scan=json.dumps(stored))
    app.session_state["acquire.effects"] = True
    app.switch_page(routes.ACQUIRE).run()
    assert not app.exception
    assert effects_of(app) == effects
    assert app.session_state["_scan"].corrections == Corrections(hardening=True, metal="NMAR")


def test_an_object_outside_the_volume_is_explained(acquire):
    acquire.toggle(key=state.field("insert")).set_value(True).run()
    acquire.number_input(key=state.field("insert.z")).set_value(900.0).run()
    assert not acquire.exception
    assert any("does not work" in error.value for error in acquire.error)


def test_listed_views_replace_the_even_ones(acquire):
    def type_lines(text):
        acquire.text_area(key=state.field("listed")).set_value(text).run()
        assert not acquire.exception
        return acquire.session_state[state.SCAN]

    acquire.session_state["acquire.detector"] = True
    acquire.run()
    before = acquire.session_state[state.SCAN]
    scan = type_lines("0\n10\n95.5")
    assert (scan.num_views, scan.angles) == (3, (0.0, 10.0, 95.5))
    assert type_lines("0\nx") == scan  # a wrong line changes neither scan nor form
    assert acquire.selectbox(key=state.field("effects")).value == "textbook"
    (error,) = acquire.error
    assert "Line 2 must hold one finite number" in error.value
    assert type_lines("") == before
