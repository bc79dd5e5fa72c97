"""The challenge to keep a nodule's contrast: patients, goal, best dose and links."""

import json
import math
from dataclasses import replace

import pytest

from pages.ui.learn import contrast
from pages.ui.learn.contrast import Game
from pages.ui.session import engine, routes, state, volume_cache
from pages.ui.texts.formatting import percent
from tomopatch.execution.queue import wait
from tomopatch.runs.config import RunConfig


def finished(scan, method="fbp"):
    """Return a finished run of this scan."""
    run_id = engine.queue().submit(RunConfig(scan, method))
    assert wait(engine.queue(), run_id, timeout=180).status == "done"
    return engine.known_run(run_id)


@pytest.fixture(scope="module")
def good():
    return finished(contrast.scan_of(Game(1), 120, 1e5))


@pytest.fixture(scope="module")
def poor():
    return finished(contrast.scan_of(Game(1), 5, 500.0))


@pytest.mark.parametrize("kind", contrast.KINDS)
def test_the_true_contrast_is_that_of_the_nodule_to_the_lung(kind):
    game = Game(3, kind)
    found, lesion = contrast.true_contrast(game), contrast.nodule(game)
    assert 150 < found < 1000
    lung = contrast.KINDS[kind] - found
    assert -950 < lung < -750
    assert contrast.nodule(game) == lesion != contrast.nodule(replace(game, number=4))


def test_a_complete_scan_keeps_the_contrast_and_a_poor_one_does_not(good, poor):
    game = Game(1)
    assert contrast.measured(game, good).hu == pytest.approx(contrast.true_contrast(game), rel=0.25)
    assert contrast.is_kept(game, good)
    assert not contrast.is_kept(game, poor)


@pytest.mark.parametrize("change", [{"number": 2}, {"kind": "solid"}])
def test_runs_of_other_nodules_do_not_count(good, change):
    assert contrast.measured(replace(Game(1), **change), good) is None


def test_runs_with_other_settings_do_not_count():
    """An address could name an easier scan of the same nodule."""
    scan = replace(contrast.scan_of(Game(1), 5, 500.0), same_grid=True)
    run = engine.store().run(engine.store().create(RunConfig(scan, "fbp")))
    assert contrast.measured(Game(1), replace(run, status="done")) is None


def test_the_best_run_is_the_one_of_least_dose_that_reaches_the_goal(good, poor):
    less = finished(contrast.scan_of(Game(1), 90, 1e5))
    assert contrast.is_kept(Game(1), less)
    assert contrast.with_best(Game(1), [good, poor]).best == good.id
    assert contrast.with_best(Game(1, best=less.id), [good, poor]).best == less.id
    assert contrast.with_best(Game(1, best=poor.id), []).best == ""
    assert contrast.best_dose(Game(1, best=good.id)) == contrast.dose(good.config.scan)
    assert math.isinf(contrast.best_dose(Game(1, best=poor.id)))
    assert math.isinf(contrast.best_dose(Game(1, best="20200101-000000-fbp-aaaaaa")))


def test_the_challenge_can_be_played_again_and_in_the_next_patient(visit, good):
    stored = {"number": 1, "kind": "ground-glass", "runs": [good.id]}
    app = visit(lesson="contrast", contrast=json.dumps(stored)).switch_page(routes.LEARN).run()
    assert not app.exception
    least = percent(contrast.dose(good.config.scan))
    assert f"Kept, with {least}" in app.success[0].value
    assert f"Your best: {least}" in app.success[0].value
    assert app.session_state["_contrast"]["best"] == good.id
    assert "reached" in app.table[0].value.to_string()
    app.session_state["_inside"] = True
    app.button(key="contrast_again").click().run()
    assert not app.exception
    assert app.session_state["_contrast"] == {
        "number": 1, "kind": "ground-glass", "runs": [], "best": good.id,
    }  # fmt: skip
    assert f"Your best so far: {least}" in app.info[0].value
    app = visit(lesson="contrast", contrast=json.dumps(stored)).switch_page(routes.LEARN).run()
    app.session_state["_inside"] = True
    app.button(key="contrast_next").click().run()
    assert not app.exception
    assert app.session_state["_contrast"] == {"number": 2, "kind": "ground-glass", "runs": []}


def test_a_scan_is_added_and_measured(visit):
    app = visit(lesson="contrast").switch_page(routes.LEARN).run()
    assert not app.exception
    app.select_slider(key=state.field("contrast.views")).set_value(8)
    app.segmented_control(key=state.field("contrast.method")).set_value("fbp")
    app.session_state["_inside"] = True
    app.button(key="contrast_scan").click().run()
    assert not app.exception
    (run_id,) = app.session_state["_contrast"]["runs"]
    scan = engine.store().run(run_id).config.scan
    assert scan == contrast.scan_of(Game(), 8, 1e4)
    assert wait(engine.queue(), run_id, timeout=180).status == "done"
    kept = json.dumps(app.session_state["_contrast"])
    again = visit(lesson="contrast", contrast=kept).switch_page(routes.LEARN).run()
    assert not again.exception
    assert "8 views" in again.table[0].value.to_string()
    assert volume_cache.geometry(scan).shape == contrast.GRID


def test_the_link_for_others_has_no_solution(visit, good):
    stored = {"number": 1, "kind": "solid", "runs": [good.id], "best": good.id}
    app = visit(lesson="contrast", contrast=json.dumps(stored)).switch_page(routes.LEARN).run()
    (link,) = [code.value for code in app.code]
    assert "%22number%22%3A1" in link
    assert "solid" in link
    assert good.id not in link
    assert not any(word in link for word in ("runs", "best"))


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"kind": 3}', '{"runs": 7}', '{"number": 1e9}', '{"best": ["x"]}']
)
def test_an_unreadable_challenge_starts_a_new_game(visit, text):
    app = visit(lesson="contrast", contrast=text).switch_page(routes.LEARN).run()
    assert not app.exception
    assert {m.label: m.value for m in app.metric}["Scans"] == "0"
