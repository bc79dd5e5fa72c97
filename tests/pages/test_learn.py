"""Learn: steps of the lessons."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import tomopatch
from pages.ui.learn import challenge_parts
from pages.ui.learn.lessons import LESSONS
from pages.ui.session import engine, routes, shell, state
from pages.ui.texts.formatting import sentence
from pages.ui.viewer.slice_viewer import WINDOWS
from tests.pages.test_pages import texts
from tomopatch.geometry.field_of_view import field_of_view as fov_of_scan
from tomopatch.library import load_volume
from tomopatch.phantoms.catalogue import SPHERES, field_of_view, phantom
from tomopatch.physics.effect_numbers import effect_number, effect_numbers
from tomopatch.prior.files import load_prior
from tomopatch.reconstruct import make_params, reconstruct
from tomopatch.reconstruct.methods import METHODS
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


@pytest.mark.slow
def test_the_prior_invents_texture_in_uniform_balls_only_without_images_of_the_scan():
    step = LESSONS["prior"].steps[2]
    prepared, prior = prepare(step.scan), load_prior("small", "cpu")
    tv, close, *free = (
        reconstruct(run.method, prepared.A, prepared.measurement, prior=prior, **run.params).volume.hu
        for run in step.runs
    )
    truth = prepared.reference.hu
    outside = (truth < -200).float()[None, None]
    inside = torch.nn.functional.max_pool3d(outside, 5, 1, 2)[0, 0] == 0
    error_tv, error_close, *errors = (float((x - truth)[inside].std()) for x in (tv, close, *free))
    assert error_close < 1.1 * error_tv
    assert min(errors) > 3 * error_tv
    assert float((free[0] - free[1])[inside].std()) > 2 * error_tv


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


def test_all_controls_have_help(visit):
    app = visit(lesson="challenge").switch_page(routes.LEARN).run()
    widgets = [*app.select_slider, *app.number_input, *app.button, *app.radio]
    assert len(widgets) >= 5
    assert all(w.help for w in widgets)
    assert set(challenge_parts.METHODS) <= set(METHODS)


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
