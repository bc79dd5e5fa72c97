"""Prior: empty, active, done, cancelled and failed runs, and the address."""

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
    """Open the page with these runs in the address."""

    def start(*runs: str):
        app = visit(prior=",".join(runs))
        return app.switch_page(routes.PRIOR).run()

    return start


def finished(config) -> str:
    run_id = engine.queue().submit(config)
    assert wait(engine.queue(), run_id, timeout=180).status == "done"
    return run_id


def test_an_empty_page_shows_instructions(app):
    app.switch_page(routes.PRIOR).run()
    assert "Ready" in texts(app)
    app.segmented_control(key=state.field("prior.kind")).set_value("denoise").run()
    assert not app.exception
    assert "Ready" in texts(app)


def test_all_controls_have_help(app):
    app.switch_page(routes.PRIOR).run()
    for kind in ("generate", "denoise"):
        app.segmented_control(key=state.field("prior.kind")).set_value(kind).run()
        widgets = [*app.number_input, *app.selectbox, *app.select_slider, *app.button]
        assert widgets
        assert all(w.help for w in widgets)


def test_the_button_queues_the_configuration_of_the_form(app):
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
def test_bodies_fit_on_all_grids_with_voxel_sizes_of_the_training(app, grid):
    app.switch_page(routes.PRIOR).run()
    app.selectbox(key=state.field("prior.grid")).set_value(grid).run()
    sizes = [app.number_input(key=state.field(f"prior.voxel.{axis}")).value for axis in "zyx"]
    low, high = prior_form.KNOWN_VOXELS
    assert all(low <= size <= high for size in sizes)
    assert all(300 <= n * size <= 500 for n, size in zip(grid[1:], sizes[1:], strict=True))  # mm, across


def test_a_generated_volume_is_marked_as_invented_and_survives_a_reload(shown):
    app = shown(finished(GENERATED))
    assert not app.exception
    assert "Not a patient, and not for diagnosis" in texts(app)
    assert "3 of 3 steps" in texts(app)
    assert app.number_input(key=state.field("prior.steps")).value == 3


def test_the_table_shows_the_increase_of_the_error_without_an_input(shown):
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


def test_an_increase_that_rounds_to_zero_has_no_minus_sign():
    whole = Quality(30.0, 0.9, 50.0)
    assert prior_view.error_increase(whole, replace(whole, rmse_hu=49.99)) == "+0.0 HU"
    assert prior_view.error_increase(whole, replace(whole, rmse_hu=48.0)) == "\u22122.0 HU"
    assert (
        prior_view.error_increase(whole, whole)
        == prior_view.error_increase(None, whole)
        == prior_view.error_increase(whole, None)
        == ""
    )


def test_a_failed_pass_is_explained(shown):
    run_id = engine.queue().submit(DenoiseConfig("volume:0123456789abcdef", grid=(16, 32, 32)))
    assert wait(engine.queue(), run_id, timeout=180).status == "failed"
    app = shown(run_id)
    assert not app.exception
    assert "deleted" in texts(app)


def test_prior_ignores_reconstructions_and_unknown_runs_in_the_address(shown, small_scan):
    from tomopatch.runs.config import RunConfig

    app = shown(finished(RunConfig(small_scan, "fbp")), "no-such-run", "../../etc")
    assert not app.exception
    assert "Ready" in texts(app)


def test_other_pages_ignore_generated_volumes(visit, small_scan):
    import json

    app = visit(scan=json.dumps(small_scan.to_json()), run=finished(GENERATED))
    for page in (routes.RECONSTRUCT, routes.COMPARE):
        app.switch_page(page).run()
        assert not app.exception
