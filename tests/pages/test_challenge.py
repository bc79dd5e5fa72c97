"""The challenge: its patients, dose, best result and links."""

import json
import math
from dataclasses import replace

import pytest
import streamlit as st

from pages.ui.learn import challenge, challenge_view, contrast, contrast_view
from pages.ui.learn.challenge import Game
from pages.ui.session import engine, routes, state, volume_cache
from pages.ui.texts.formatting import percent
from tomopatch.execution.queue import wait
from tomopatch.runs.config import RunConfig


@pytest.mark.parametrize("size", challenge.SIZES)
def test_the_hidden_lesion_can_be_found(size):
    game = Game(3, size)
    lesion = challenge.hidden_lesion(game)
    assert challenge.hidden_lesion(game) == lesion
    assert challenge.hidden_lesion(replace(game, number=4)) != lesion
    geometry = volume_cache.preview_volume(challenge.source_of(3), challenge.GRID).geometry
    cursor = tuple(
        (c - p) / s + 0.5 for c, p, s in zip(lesion.centre, geometry.pos, geometry.size, strict=True)
    )
    assert challenge.is_near(cursor, geometry, lesion)
    away = (cursor[0], cursor[1], cursor[2] + (lesion.radius + 2 * geometry.voxel_size[2]) / geometry.size[2])
    assert not challenge.is_near(away, geometry, lesion)


def test_dose_counts_each_scan_once_and_wrong_guesses():
    game = Game(2)
    scan = challenge.ScanConfig(
        challenge.source_of(2),
        challenge.GRID,
        num_views=20,
        photons=1e4,
        lesions=(challenge.hidden_lesion(game),),
    )
    store = engine.store()
    run, again = (store.run(store.create(RunConfig(scan, method))) for method in ("fbp", "sirt"))
    more = store.run(store.create(RunConfig(replace(scan, num_views=40), "fbp")))
    once = challenge.dose(game, [run])
    columns = scan.geometry(volume_cache.geometry(scan)).det_shape[1]
    assert once == pytest.approx(20 / (math.pi / 2 * columns) * 1e4 / 1e5, rel=0.01)  # of a full scan
    assert challenge.dose(game, [run, again]) == once
    assert challenge.dose(game, [run, more]) == pytest.approx(3 * once)
    assert challenge.dose(replace(game, wrong=2), [run]) == pytest.approx(once + 2 * challenge.GUESS_DOSE)


def test_the_challenge_can_be_played_and_reloaded(visit):
    app = visit(lesson="challenge").switch_page(routes.LEARN).run()
    assert not app.exception
    app.select_slider(key=state.field("challenge.views")).set_value(5)
    app.segmented_control(key=state.field("challenge.method")).set_value("fbp")
    app.session_state["_inside"] = True
    app.button(key="challenge_scan").click().run()
    assert not app.exception
    (run_id,) = app.session_state["_challenge"]["runs"]
    assert engine.store().run(run_id).config.scan.lesions == (challenge.hidden_lesion(Game()),)
    assert wait(engine.queue(), run_id, timeout=180).status == "done"
    kept = json.dumps(app.session_state["_challenge"])
    again = visit(lesson="challenge", challenge=kept).switch_page(routes.LEARN).run()
    assert not again.exception
    assert {m.label: m.value for m in again.metric}["Scans"] == "1"
    again.session_state["_inside"] = True
    again.button(key="challenge_guess").click().run()  # the centre of the chest is not in a lung
    assert again.session_state["_challenge"]["wrong"] == 1
    won = visit(lesson="challenge", challenge=json.dumps(json.loads(kept) | {"found": True}))
    won.switch_page(routes.LEARN).run()
    assert "Found, with" in won.success[0].value
    won.session_state["_inside"] = True
    won.button(key="challenge_again").click().run()
    assert not won.exception
    assert won.session_state["_challenge"] == {
        "number": 1, "size": "medium", "runs": [], "wrong": 0, "found": False, "said": "",
    }  # fmt: skip


def won_game(views):
    """Return the address of a found lesion whose best search had one scan with these views."""
    game = Game(5, "small")
    run_id = engine.store().create(RunConfig(challenge.scan_of(game, views, 1e4), "fbp"))
    return {
        "number": 5, "size": "small", "found": True, "runs": [run_id], "wrong": 3,
        "best_runs": [run_id], "best_wrong": 1,
    }  # fmt: skip


def test_the_next_patient_follows_and_the_best_dose_is_kept(visit):
    found = won_game(8)
    app = visit(lesson="challenge", challenge=json.dumps(found)).switch_page(routes.LEARN).run()
    best = challenge.dose(Game(wrong=1), [engine.store().run(found["runs"][0])])
    assert f"Your best: {percent(best)}" in app.success[0].value
    app.session_state["_inside"] = True
    app.button(key="challenge_again").click().run()
    assert app.session_state["_challenge"]["best_runs"] == found["best_runs"]
    assert not app.session_state["_challenge"]["found"]
    app = visit(lesson="challenge", challenge=json.dumps(found)).switch_page(routes.LEARN).run()
    app.session_state["_inside"] = True
    app.button(key="challenge_next").click().run()
    assert not app.exception
    assert app.session_state["_challenge"]["number"] == 6
    assert "best_runs" not in app.session_state["_challenge"]


@pytest.mark.parametrize(
    "forged",
    [
        {"best": 0.0001},  # a number that the address states
        {"best_runs": ["20200101-000000-fbp-aaaaaa"]},  # a run that does not exist
        {"number": 6, "runs": []},  # runs of another patient
    ],
)
def test_a_forged_best_dose_is_not_shown(visit, forged):
    found = won_game(9) | forged
    if "best" in forged:
        del found["best_runs"]
    app = visit(lesson="challenge", challenge=json.dumps(found)).switch_page(routes.LEARN).run()
    assert not app.exception
    assert "Found, with" in app.success[0].value
    assert "Your best" not in app.success[0].value


@pytest.mark.parametrize(("views", "kept"), [(70, "best"), (3, "current")])
def test_a_search_replaces_the_best_one_only_with_less_dose(monkeypatch, views, kept):
    best, current = (
        engine.store().create(RunConfig(challenge.scan_of(Game(5), n, 1e4), "fbp")) for n in (20, views)
    )
    stored = {}
    monkeypatch.setattr(challenge.state, "set_challenge", stored.update)
    game = Game(5, runs=(current,), wrong=2, best_runs=(best,))
    vg = volume_cache.geometry(challenge.scan_of(game, 7, 1e4))
    centre = challenge.hidden_lesion(game).centre
    cursor = tuple((c - p) / s + 0.5 for c, p, s in zip(centre, vg.pos, vg.size, strict=True))
    challenge.guess(game, vg, cursor)
    assert stored["found"]
    assert stored["best_runs"] == [{"best": best, "current": current}[kept]]
    assert stored["best_wrong"] == {"best": 0, "current": 2}[kept]


def test_the_link_for_others_has_no_solution(visit):
    found = {
        "number": 5,
        "size": "small",
        "found": True,
        "runs": ["20200101-000000-fbp-aaaaaa"],
        "best_runs": ["20200101-000000-fbp-aaaaaa"],
    }
    app = visit(lesson="challenge", challenge=json.dumps(found)).switch_page(routes.LEARN).run()
    (link,) = [code.value for code in app.code]
    assert "%22number%22%3A5" in link
    assert not any(word in link for word in ("found", "runs", "best"))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"size": 3}',
        '{"runs": 7}',
        '{"number": "x"}',
        '{"number": 1e9}',
        '{"number": 1e999}',
        '{"wrong": -1}',
        '{"wrong": %s}' % ("9" * 400),
        '{"runs": ["../.."]}',
    ],
)
def test_an_unreadable_challenge_starts_a_new_game(visit, text):
    app = visit(lesson="challenge", challenge=text).switch_page(routes.LEARN).run()
    assert not app.exception
    assert {m.label: m.value for m in app.metric}["Wrong guesses"] == "0"


def said(block):
    """All text of an element or of a block."""
    own = getattr(block, "value", "") if not hasattr(block, "children") else ""
    return " ".join([str(own), *map(said, getattr(block, "children", {}).values())])


def place_of(app, text):
    """Position of the element or block with this text in the column of the lesson."""
    column = next(c for c in reversed(app.columns) if "digital patient" in said(c))
    return next(k for k, child in column.children.items() if text in said(child))


@pytest.mark.parametrize(
    ("lesson", "work", "verdict"),
    [
        ("challenge", "hidden_lesion", challenge_view.BEFORE_SCAN),
        ("contrast", "true_contrast", contrast_view.BEFORE_SCAN),
    ],
)
def test_no_old_verdict_is_shown_while_a_patient_is_prepared(visit, monkeypatch, lesson, work, verdict):
    app = visit(lesson=lesson).switch_page(routes.LEARN).run()
    where = place_of(app, verdict)
    with monkeypatch.context() as patch:
        patch.setattr({"challenge": challenge, "contrast": contrast}[lesson], work, lambda game: st.stop())
        app.session_state["_inside"] = True
        app.number_input(key=state.field(f"{lesson}.number")).set_value(7).run()
    assert place_of(app, "Preparing the patient") == where  # in place of all about the old patient
    app.session_state["_inside"] = True
    assert place_of(app.run(), verdict) == where
