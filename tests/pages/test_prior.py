"""The Prior page: empty, at work, done, cancelled, gone wrong; the address as memory."""

from dataclasses import replace

import pytest

from pages.ui.forms import prior_form
from pages.ui.runs import prior_view
from pages.ui.session import engine, routes, state, volume_cache
from tests.pages.test_pages import texts
from tomopatch.analysis.metrics import Quality
from tomopatch.execution.queue import wait
from tomopatch.runs.prior import DenoiseConfig, GenerateConfig

GENERATED = GenerateConfig(grid=(16, 32, 32), voxel_size=(6.0, 8.0, 8.0), num_steps=3)
NOISY = DenoiseConfig("phantom:spheres", grid=(16, 32, 32), sigma=0.3)


@pytest.fixture
def shown(visit):
    """The page with these runs in the address."""

    def start(*runs: str):
        app = visit(prior=",".join(runs))
        return app.switch_page(routes.PRIOR).run()

    return start


def finished(config) -> str:
    run_id = engine.queue().submit(config)
    assert wait(engine.queue(), run_id, timeout=180).status == "done"
    return run_id


def test_empty_page_says_what_will_be_seen(app):
    app.switch_page(routes.PRIOR).run()
    assert "Ready" in texts(app)
    app.segmented_control(key=state.field("prior.kind")).set_value("denoise").run()
    assert not app.exception
    assert "Ready" in texts(app)


def test_every_control_says_what_it_does(app):
    app.switch_page(routes.PRIOR).run()
    for kind in ("generate", "denoise"):
        app.segmented_control(key=state.field("prior.kind")).set_value(kind).run()
        widgets = [*app.number_input, *app.selectbox, *app.select_slider, *app.button]
        assert widgets
        assert all(w.help for w in widgets)


def test_draw_button_queues_what_the_form_says(app):
    app.switch_page(routes.PRIOR).run()
    app.selectbox(key=state.field("prior.grid")).set_value((32, 64, 64)).run()
    app.number_input(key=state.field("prior.steps")).set_value(7).run()
    app.number_input(key=state.field("prior.seed")).set_value(5).run()
    app.session_state["_inside"] = True  # AppTest starts with the page alone; a click lasts for one run only
    app.button(key="prior_start").click().run()
    assert not app.exception
    (run_id,) = app.session_state["_prior"]
    config = engine.store().run(run_id).config
    assert config == GenerateConfig((32, 64, 64), (12.0, 6.0, 6.0), num_steps=7, seed=5)
    engine.queue().cancel(run_id)
    assert wait(engine.queue(), run_id, timeout=180).status == "cancelled"
    app.run()
    assert "cancelled" in texts(app)


@pytest.mark.parametrize("grid", prior_form.GRIDS)
def test_on_every_grid_a_body_has_room_and_voxels_are_of_a_size_that_the_prior_knows(app, grid):
    app.switch_page(routes.PRIOR).run()
    app.selectbox(key=state.field("prior.grid")).set_value(grid).run()
    sizes = [app.number_input(key=state.field(f"prior.voxel.{axis}")).value for axis in "zyx"]
    low, high = prior_form.KNOWN_VOXELS
    assert all(low <= size <= high for size in sizes)
    assert all(300 <= n * size <= 500 for n, size in zip(grid[1:], sizes[1:], strict=True))  # mm, across


def test_drawn_volume_is_marked_as_invented_and_survives_a_reload(shown):
    app = shown(finished(GENERATED))
    assert not app.exception
    assert "Not a patient, and not for diagnosis" in texts(app)
    assert "3 of 3 steps" in texts(app)
    assert app.number_input(key=state.field("prior.steps")).value == 3


def test_denoised_volume_is_measured_beside_what_is_lost_without_an_input(shown):
    whole = finished(NOISY)
    without = finished(DenoiseConfig(NOISY.source, NOISY.grid, NOISY.sigma, without=("neighbourhoods",)))
    volume_cache.reference(NOISY.scan).result()
    app = shown(whole, without)
    assert not app.exception
    table = app.dataframe[0].value.set_index("Volume")
    assert list(table.index) == ["Noisy", "Denoised", "Without neighbourhood"]
    assert table["RMSE"]["Denoised"] < 0.7 * table["RMSE"]["Noisy"]
    lost = table["RMSE"]["Without neighbourhood"] - table["RMSE"]["Denoised"]
    assert table["Increase"]["Without neighbourhood"] == f"{lost:+z.1f} HU".replace("-", "\u2212")
    assert app.select_slider(key=state.field("prior.sigma")).value == 0.3
    assert app.session_state[state.field("prior.without")] == ["neighbourhoods"]


def test_a_loss_that_rounds_to_nothing_has_no_minus():
    whole = Quality(30.0, 0.9, 50.0)
    assert prior_view._error_increase(whole, replace(whole, rmse_hu=49.99)) == "+0.0 HU"
    assert prior_view._error_increase(whole, replace(whole, rmse_hu=48.0)) == "\u22122.0 HU"
    assert (
        prior_view._error_increase(whole, whole)
        == prior_view._error_increase(None, whole)
        == prior_view._error_increase(whole, None)
        == ""
    )


def test_a_pass_that_fails_is_explained(shown):
    run_id = engine.queue().submit(DenoiseConfig("volume:0123456789abcdef", grid=(16, 32, 32)))
    assert wait(engine.queue(), run_id, timeout=180).status == "failed"
    app = shown(run_id)
    assert not app.exception
    assert "deleted" in texts(app)


def test_address_of_a_reconstruction_or_of_nothing_is_no_drawing(shown, small_scan):
    from tomopatch.runs.config import RunConfig

    app = shown(finished(RunConfig(small_scan, "fbp")), "no-such-run", "../../etc")
    assert not app.exception
    assert "Ready" in texts(app)


def test_drawing_is_no_reconstruction(visit, small_scan):
    import json

    app = visit(scan=json.dumps(small_scan.to_json()), run=finished(GENERATED))
    for page in (routes.RECONSTRUCT, routes.COMPARE):
        app.switch_page(page).run()
        assert not app.exception
