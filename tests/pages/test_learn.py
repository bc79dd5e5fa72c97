"""Learn: steps of the lessons, and the challenge."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tomopatch
from pages.ui.learn import challenge, challenge_view
from pages.ui.learn.challenge import Game
from pages.ui.learn.lessons import LESSONS
from pages.ui.session import engine, routes, shell, state, volume_cache
from pages.ui.texts.formatting import percent, sentence
from pages.ui.viewer.slice_viewer import WINDOWS
from tests.pages.test_pages import texts
from tomopatch.execution.queue import wait
from tomopatch.geometry.field_of_view import field_of_view as fov_of_scan
from tomopatch.library import load_volume
from tomopatch.phantoms.catalogue import SPHERES, field_of_view, phantom
from tomopatch.physics.effect_numbers import effect_number, effect_numbers
from tomopatch.reconstruct import make_params, reconstruct
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import RunConfig
from tomopatch.runs.prepare import prepare
from tomopatch.studies.sweep import VARIED, SweepConfig, read_values, suited
from tomopatch.volume import VolumeGeometry

STEPS = [(name, k) for name, lesson in LESSONS.items() for k in range(len(lesson.steps))]


@pytest.mark.parametrize("name", LESSONS)
def test_lessons_are_complete(name):
    lesson = LESSONS[name]
    assert lesson.steps
    assert len(lesson.tries) >= 2
    assert lesson.question.endswith("?")
    assert len(lesson.answer) > 60


@pytest.mark.parametrize(("name", "k"), STEPS)
def test_steps_are_valid(name, k):
    """Check that scan, runs and values on What if are valid, and that the runs can be compared."""
    step = LESSONS[name].steps[k]
    assert step.page in routes.TITLES
    if step.scan is None:  # the user's measured scan
        assert not step.runs
        assert not step.sweep
        return
    vg = VolumeGeometry(step.scan.grid, (4.4, 3.2, 3.2))
    step.scan.geometry(vg)
    for run in step.runs:
        assert run.method in suited(run.scan)
        assert (run.scan.object, run.scan.grid) == (step.scan.object, step.scan.grid)
    if step.page == routes.COMPARE:
        assert step.runs
        assert len({run.digest() for run in step.runs}) == len(step.runs)
    if step.sweep:
        lists = {field: read_values(field, step.sweep[field]) for field in VARIED}
        assert SweepConfig(step.scan, tuple(step.sweep["methods"].split(",")), **lists).varied


@pytest.fixture
def quick(monkeypatch):
    """Record submitted runs without executing them."""
    asked = []
    monkeypatch.setattr(
        engine.queue(), "submit", lambda config, **options: asked.append(config) or ran(config)
    )
    return asked


def ran(config):
    return engine.store().create(config)


@pytest.mark.parametrize(
    ("name", "k"), [("projections", 0), ("views", 1), ("filter", 0), ("cone", 1), ("uncertainty", 0)]
)
def test_a_step_opens_its_page_with_its_state(visit, quick, name, k):
    app = visit(lesson=name).switch_page(routes.LEARN).run()
    assert not app.exception
    assert LESSONS[name].question in texts(app)
    app.session_state["_inside"] = True  # AppTest starts with the page alone; a click lasts for one run only
    app.button(key=f"step.{name}.{k}").click().run()
    step = LESSONS[name].steps[k]
    assert not app.exception
    assert app.session_state["_scan"] == step.scan
    assert app.session_state["_plane"] == step.plane
    assert quick[: len(step.runs)] == list(step.runs)
    assert app.title[0].value == routes.TITLES[step.page]


def way_back(app):
    return [link for link in app.sidebar.get("page_link") if "lesson" in link.proto.label]


def test_the_sidebar_links_back_while_a_step_is_open_except_on_learn(visit, quick):
    app = visit().switch_page(routes.LEARN).run()
    app.switch_page(routes.ACQUIRE).run()
    assert not way_back(app)  # no step was opened
    app.switch_page(routes.LEARN).run()
    app.session_state["_inside"] = True
    app.button(key="step.projections.0").click().run()
    assert app.session_state["_step"]  # AppTest shows the next page without its sidebar
    app = visit(lesson="projections", step="1")  # a reload
    assert way_back(app.switch_page(routes.ACQUIRE).run())
    assert app.query_params["step"] in ("1", ["1"])
    assert not way_back(app.switch_page(routes.LEARN).run())
    assert not way_back(app.switch_page(routes.ACQUIRE).run())


@pytest.mark.parametrize(("name", "k"), STEPS)
def test_the_sidebar_shows_the_text_of_the_open_step(visit, quick, name, k):
    """The further experiments are shown as well."""
    app = visit(lesson=name, step=str(k + 1)).switch_page(routes.ACQUIRE).run()
    assert not app.exception
    said = [element.value for element in (*app.sidebar.caption, *app.sidebar.markdown)]
    assert LESSONS[name].steps[k].text in said
    assert all(any(text in s for s in said) for text in LESSONS[name].tries)
    app = visit(lesson=name).switch_page(routes.ACQUIRE).run()
    assert LESSONS[name].steps[k].text not in [element.value for element in app.sidebar.caption]


def test_all_steps_except_the_last_offer_the_next(visit, quick):
    for name in ("projections", "prior", "hardening"):  # one of each family
        lesson = LESSONS[name]
        for number in range(1, len(lesson.steps) + 1):
            app = visit(lesson=name, step=str(number)).switch_page(routes.ACQUIRE).run()
            offered = "lesson.next" in [b.key for b in app.sidebar.button]
            assert offered == (number < len(lesson.steps)), (name, number)


@pytest.mark.parametrize("step", ["0", "9", "-1", "two", "1.5", "²"])
def test_invalid_step_numbers_are_ignored(visit, quick, step):
    app = visit(lesson="projections", step=step).switch_page(routes.ACQUIRE).run()
    assert not app.exception
    assert not any(lesson.title in e.value for lesson in LESSONS.values() for e in app.sidebar.markdown)


def test_the_nodule_is_where_the_lesson_says():
    """Check that it lies in the periphery of the right lung, in lung tissue alone."""
    step = LESSONS["prior"].steps[1]
    (lesion,) = step.scan.lesions
    assert 2 * lesion.radius == 12
    assert lesion.centre[2] < -100  # the viewer labels low x with R
    volume = load_volume("phantom:thorax:0", shape=(64, 96, 96))
    distances = torch.meshgrid(
        *(volume.geometry.axis(i) - c for i, c in enumerate(lesion.centre)), indexing="ij"
    )
    near = sum(d**2 for d in distances).sqrt() < lesion.radius
    assert int(near.sum()) >= 8
    assert float(volume.hu[near].min()) > -990
    assert float(volume.hu[near].max()) < -650


def test_the_step_with_the_nodule_opens_at_it_with_several_seeds(visit, quick):
    app = visit(lesson="prior").switch_page(routes.LEARN).run()
    app.session_state["_inside"] = True  # AppTest starts with the page alone; a click lasts for one run only
    app.button(key="step.prior.1").click().run()
    assert not app.exception
    step = LESSONS["prior"].steps[1]
    viewer, *numbers, layout = app.session_state["_opened_view"].partition(":")[2].split("_")
    assert (viewer, layout) == ("compare", "side")
    z, y, x, level, width, zoom, *centre = map(float, numbers)
    (lesion,) = step.scan.lesions
    vg = field_of_view("thorax").with_shape(step.scan.grid)
    place = [p + (f - 0.5) * s for f, p, s in zip((z, y, x), vg.pos, vg.size, strict=True)]
    assert place == pytest.approx(lesion.centre, abs=0.1)
    assert centre == [z, y, x]
    assert zoom > 1
    assert (level, width) == WINDOWS["lung"]
    samples = [run for run in step.runs if run.method == "diffusion"]
    assert [run.params["seed"] for run in samples] == [0, 1, 2]
    assert {run.params["mode"] for run in samples} == {"posterior"}


def test_a_shifted_unfitted_detector_truncates_the_balls():
    """The first lesson suggests this; a fitted detector grows with its shift."""
    scan, vg = LESSONS["projections"].steps[0].scan, phantom("spheres", (8, 16, 16)).geometry
    ball, shift = SPHERES[0].radius, (0.0, 60.0)
    own = {"det_shape": (128, 256), "pixel_size": (1.0, 1.0)}  # the values in the form
    sees = {
        name: fov_of_scan(replace(scan, **changed).geometry(vg)).radius
        for name, changed in {
            "fitted": {"det_offset": shift},
            "own": own,
            "own, shifted": own | {"det_offset": shift},
        }.items()
    }
    assert sees["fitted"] > ball
    assert sees["own"] > ball
    assert sees["own, shifted"] < ball


@pytest.mark.parametrize("name", LESSONS)
def test_labels_in_lessons_exist_in_the_app(name):
    """Check labels in italics, which may omit the unit."""
    lesson = LESSONS[name]
    said = " ".join([lesson.lead, lesson.answer, *(step.text for step in lesson.steps), *lesson.tries])
    here = Path(shell.__file__).parents[1]
    files = [
        *here.rglob("*.py"),
        *here.rglob("*.js"),
        *(Path(tomopatch.__file__).parent / "reconstruct").glob("*.py"),
    ]
    source = "".join(f.read_text("utf-8") for f in files if not f.name.startswith("lesson"))
    source += "".join(f'"{sentence(effect_number(name).label)}"' for name in effect_numbers())
    for called in re.findall(r"(?<!\*)\*([^*]+)\*(?!\*)", said):
        assert re.search(rf"""["'`>]{re.escape(called)}(?=["'`<, ])""", source), called


def test_the_cone_lesson_uses_coronal_slices():
    """In axial slices, the artefacts at the faces of the discs are invisible."""
    assert all(step.plane == "coronal" for step in LESSONS["cone"].steps)


def test_all_lessons_can_be_opened_and_are_stored_in_the_address(visit):
    app = visit().switch_page(routes.LEARN).run()
    for name, lesson in LESSONS.items():
        app.radio(key=state.field("lesson")).set_value(name).run()
        assert not app.exception
        assert lesson.lead in texts(app)
        assert app.query_params["lesson"] in (name, [name])


# ---- the challenge --------------------------------------------------------------------------------------


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
    assert once == pytest.approx(20 / (math.pi / 2 * columns) * 1e4 / 1e5, rel=0.01)  # of a complete scan
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


def test_all_controls_have_help(visit):
    app = visit(lesson="challenge").switch_page(routes.LEARN).run()
    widgets = [*app.select_slider, *app.number_input, *app.button, *app.radio]
    assert len(widgets) >= 5
    assert all(w.help for w in widgets)
    assert set(challenge_view.METHODS) <= set(METHODS)


@pytest.mark.parametrize("name", list(LESSONS)[:2])
def test_after_the_last_step_the_question_and_the_next_lesson_follow(visit, quick, name):
    lesson = LESSONS[name]
    app = visit(lesson=name, step=str(len(lesson.steps))).switch_page(routes.ACQUIRE).run()
    assert any(lesson.question in caption.value for caption in app.sidebar.caption)
    assert "lesson.following.sidebar" in [button.key for button in app.sidebar.button]


def test_next_lesson_on_learn(visit):
    first, second, *_ = LESSONS
    app = visit(lesson=first).switch_page(routes.LEARN).run()
    app.session_state["_inside"] = True
    app.button(key="lesson.following.learn").click().run()
    assert not app.exception
    assert app.session_state["_lesson"] == second


def test_finished_lessons_are_marked_and_stored_in_the_address(visit, quick):
    app = visit(lesson="projections").switch_page(routes.LEARN).run()
    last = len(LESSONS["projections"].steps) - 1
    app.session_state["_inside"] = True
    app.button(key=f"step.projections.{last}").click().run()
    assert app.session_state["_done"] == ("projections",)
    app = visit(done="projections,filter,<b>").switch_page(routes.LEARN).run()
    marked = [option for option in app.radio[0].options if option.endswith("✓")]
    assert marked == [f"{LESSONS[name].title} ✓" for name in ("projections", "filter")]
    assert app.query_params["done"] in ("projections,filter", ["projections,filter"])


def test_the_unfiltered_balls_are_within_the_window_of_the_lesson():
    step = LESSONS["filter"].steps[0]
    prepared = prepare(replace(step.scan, grid=(32, 64, 64), num_views=90))
    hazy = reconstruct("fbp", prepared.A, prepared.measurement, params=make_params("fbp", {"filter": "none"}))
    hu, reference = hazy.volume.hu, prepared.reference.hu
    ball, water = hu[reference > 300].median(), hu[reference.abs() < 20].median()
    level, width = step.window
    assert abs(ball - level) < width / 2
    assert ball - water > width / 20
