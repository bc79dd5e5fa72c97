"""Reconstruct with active, finished, replayed, cancelled and failed runs, and the data of the viewer."""

import json
import math
import re
import time
from itertools import pairwise

import numpy as np
import pytest
from streamlit.delta_generator import DeltaGenerator

from pages.ui.charts import curves
from pages.ui.runs import live
from pages.ui.session import engine, routes, state, volume_cache
from pages.ui.texts import labels, messages
from pages.ui.viewer import slice_viewer
from tests.pages.test_pages import texts
from tomopatch.execution.progress import Progress
from tomopatch.execution.queue import wait
from tomopatch.prior.files import DEFAULT, SAMPLER
from tomopatch.progress import Tiles
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.store.history import Point
from tomopatch.volume import VolumeGeometry


@pytest.fixture
def shown(visit, small_scan):
    """Open the page with this run in the address."""

    def start(run_id: str):
        app = visit(scan=json.dumps(small_scan.to_json()), run=run_id)
        return app.switch_page(routes.RECONSTRUCT).run()

    return start


def test_an_active_diffusion_run_can_be_cancelled_or_finished(shown, small_scan):
    run_id = engine.queue().submit(RunConfig(small_scan, "diffusion", {"num_steps": 200}))
    while not engine.queue().progress(run_id).points:
        time.sleep(0.02)
    app = shown(run_id)
    assert not app.exception
    shown_metrics = {m.label for m in app.metric}
    assert {"Time left", "Residual", "PSNR"} <= shown_metrics
    assert shown_metrics & {"Iteration", "Initial iteration", "First pass"}
    assert app.button(key=f"cancel.{run_id}").help
    assert app.button(key=f"finish.{run_id}").help
    engine.queue().cancel(run_id)
    wait(engine.queue(), run_id, timeout=120)
    app.run()
    assert "This run was cancelled" in texts(app)
    assert "Run" in [b.label for b in app.button]


def test_the_prior_can_be_chosen(shown, small_scan):
    app = shown("")
    app.pills(key=state.field("method")).set_value("diffusion").run()
    assert app.selectbox(key=state.field("prior")).value == "base"
    app.selectbox(key=state.field("prior")).set_value("small").run()
    app.session_state["_inside"] = True  # AppTest starts with the page alone; a click lasts for one run only
    app.button(key="start").click().run()
    assert not app.exception
    run_id = app.session_state["_run"]
    engine.queue().cancel(run_id)
    wait(engine.queue(), run_id, timeout=120)
    run = engine.known_run(run_id)
    assert run.config == RunConfig(small_scan, "diffusion", prior="small")
    assert "prior small" in labels.run_label(run, small_scan)
    assert labels.all_settings(run.config)["Prior"] == "small"
    again = shown(run_id)  # opening the run restores the form
    assert again.selectbox(key=state.field("prior")).value == "small"


def test_a_missing_prior_is_replaced_by_the_default(shown, small_scan):
    run_id = engine.queue().submit(RunConfig(small_scan, "diffusion", {"num_steps": 1}, "gone"))
    assert wait(engine.queue(), run_id, timeout=120).status == "failed"
    app = shown(run_id)
    assert not app.exception
    assert "there is no prior" in texts(app)
    assert app.selectbox(key=state.field("prior")).value == "base"


def test_the_form_works_without_any_prior(shown, monkeypatch, tmp_path):
    monkeypatch.setattr("tomopatch.prior.files.PRETRAINED", tmp_path)
    app = shown("")
    app.pills(key=state.field("method")).set_value("diffusion").run()
    assert not app.exception
    assert "Prior" not in [s.label for s in app.selectbox]
    assert app.button(key="start")


def test_a_finished_run_can_be_replayed_and_downloaded(shown, small_scan):
    run_id = engine.queue().submit(RunConfig(small_scan, "sirt", {"num_iterations": 30}))
    assert wait(engine.queue(), run_id, timeout=120).status == "done"
    app = shown(run_id)
    app.segmented_control(key=f"show.{run_id}").set_value("Replay").run()
    assert not app.exception
    kept = len(volume_cache.history(run_id))
    assert f"{kept} steps of the run were kept" in texts(app)
    assert app.selectbox(key=f"gif.planes.{run_id}").options[-1] == "Three planes"


def test_fast_methods_have_no_replay(shown, small_scan):
    run_id = engine.queue().submit(RunConfig(small_scan, "fbp"))
    assert wait(engine.queue(), run_id, timeout=120).status == "done"
    app = shown(run_id)
    assert not app.exception
    assert not [s for s in app.segmented_control if s.key == f"show.{run_id}"]


def test_samples_produce_a_mean_and_a_deviation(shown, small_scan):
    params = {"num_steps": 2, "num_samples": 2, "warm_start": "noise"}
    run_id = engine.queue().submit(RunConfig(small_scan, "diffusion", params))
    assert wait(engine.queue(), run_id, timeout=180).status == "done"
    std = volume_cache.result_std(run_id)
    exact = engine.store().result(run_id).std
    assert np.abs(std - exact.data.numpy() * 1000 / 0.0192).max() <= 0.51  # in HU, not shifted by 1000
    app = shown(run_id)
    assert not app.exception
    assert "2 samples" in texts(app)


def test_a_failed_run_is_explained(shown):
    run_id = engine.queue().submit(RunConfig(ScanConfig("phantom:nobody", (8, 32, 32)), "sirt"))
    wait(engine.queue(), run_id, timeout=120)
    app = shown(run_id)
    assert not app.exception
    assert "produced no volume" in texts(app)
    assert "nobody" in texts(app)


@pytest.mark.parametrize(
    ("ready", "expected"),
    [
        ([], ["Initial reconstruction"]),
        (["Initial reconstruction"], ["Initial reconstruction"]),
        (["Before", "After the scan"], ["Before", "After the prior", "After the scan"]),
    ],
)
def test_the_initial_reconstruction_has_the_space_of_empty_pictures(small_scan, monkeypatch, ready, expected):
    run = engine.store().run(engine.store().create(RunConfig(small_scan, "diffusion")))
    air = np.zeros(small_scan.grid, np.int16)
    monkeypatch.setattr(
        live.run_volumes,
        "existing_volumes",
        lambda run, now: [slice_viewer.ViewerVolume(name, air) for name in ready],
    )
    shown = []
    monkeypatch.setattr(
        live, "viewer", lambda volumes, geometry, *, key, options: shown.append((volumes, options))
    )
    live.show_pictures(run, Progress("running", points=(Point(1, 9, "initial"),)), None, expected=True)
    ((volumes, options),) = shown
    assert [v.name for v in volumes] == [*expected, "Reference"]
    assert [v.name for v in volumes if not v.pending] == ready
    waiting = {"Before": "", "Initial reconstruction": "appears with the first iteration"}
    assert volumes[0].note == ("" if ready else waiting[expected[0]])
    assert ("changes" in options.layouts) == (len(expected) > 1)
    engine.store().delete(run.id)


def test_the_demo_queues_its_slowest_method_last(app):
    """Total variation would otherwise wait in the queue behind diffusion without a picture."""
    before = {run.id for run in engine.store().runs()}
    app.session_state["_inside"] = True  # AppTest starts with the page alone; a click lasts for one run only
    app.button(key="demo.primary").click().run()
    assert not app.exception
    queued = sorted(
        (run for run in engine.store().runs() if run.id not in before), key=lambda run: run.created
    )
    for run in queued:
        engine.queue().cancel(run.id)
        wait(engine.queue(), run.id, timeout=120)
    assert [run.config.method for run in queued] == ["fbp", "tv", "diffusion"]
    compared = [engine.store().run(run_id).config.method for run_id in app.session_state["_compared"]]
    assert compared == ["fbp", "tv", "diffusion"]


# ---- data of the viewer --------------------------------------------------------------------------


def sent(monkeypatch, call):
    """Return the header and the voxels that a call sends to the browser."""
    kept = {}
    monkeypatch.setattr(
        slice_viewer, "_component", lambda: lambda key, data, **callbacks: kept.update(data=data)
    )
    call()
    data = kept["data"]
    length = int.from_bytes(data[:4], "little")
    return json.loads(data[4 : 4 + length]), np.frombuffer(data, "<i2", offset=4 + length)


def test_a_replay_sends_each_volume_once_with_the_indices_of_each_step(monkeypatch):
    grid = VolumeGeometry((2, 4, 4))

    def full(value):
        return np.full(grid.shape, value, np.int16)

    scenes = [
        slice_viewer.ReplayStep("initial", {"b": full(1)}),
        slice_viewer.ReplayStep("step", {"a": full(2), "b": full(3)}, Tiles((4, 4, 4), ((0, 2, 0),))),
    ]
    fixed = [slice_viewer.ViewerVolume("Reference", full(9))]
    head, voxels = sent(
        monkeypatch, lambda: slice_viewer.replay(scenes, ["a", "b"], grid, key="k", fixed=fixed)
    )
    volumes = voxels.reshape(head["count"], *head["shape"])
    assert head["names"] == ["a", "b", "Reference"]
    shown = [[None if i < 0 else int(volumes[i].max()) for i in f["indices"]] for f in head["frames"]]
    assert shown == [[None, 1, 9], [2, 3, 9]]
    assert head["frames"][0]["tiles"] is None
    assert head["frames"][1]["tiles"] == {"size": [4, 4, 4], "starts": [[0, 2, 0]]}
    assert head["tiled"] == [True, True, False]  # no tiles over the reference


def test_a_deviation_overlays_its_volume_or_all_volumes(monkeypatch):
    grid = VolumeGeometry((2, 4, 4))
    air = np.zeros(grid.shape, np.int16)

    def veils(*owners):
        volumes = [
            slice_viewer.ViewerVolume("Reference", air),
            slice_viewer.ViewerVolume("A", air),
            slice_viewer.ViewerVolume("B", air),
        ]
        volumes += [slice_viewer.ViewerVolume(f"deviation {of}", air, kind="heat", of=of) for of in owners]
        return sent(monkeypatch, lambda: slice_viewer.viewer(volumes, grid, key="k"))[0]["overlays"]

    assert veils("B") == [-1, -1, 3, -1]
    assert veils("B", "A") == [-1, 4, 3, -1, -1]
    assert veils("") == [-1, 3, 3, -1]
    assert veils() == [-1, -1, -1]


def test_the_colour_scale_of_a_deviation_ends_at_a_round_number():
    hu = np.arange(1000, dtype=np.int16)
    assert slice_viewer.heat_limit(hu) == 1000
    assert slice_viewer.heat_limit(hu // 30) == 40
    assert slice_viewer.heat_limit(np.zeros(5, np.int16)) == 1


def test_iterations_of_the_initial_reconstruction_precede_the_first_step():
    points = [
        Point(i, 100, "initial", residual=0.5) for i in (50, 100, 60)
    ]  # the last has another grid and a new count
    points += [Point(i, 6, residual=0.1, sigma=0.05, psnr=30.0) for i in range(1, 7)]
    drawn = curves.curves(points)
    assert [c.name for c in drawn.curves] == ["psnr", "residual", "sigma"]
    assert drawn.curves[1].x == pytest.approx([-0.8, -0.4, 0.0, 1, 2, 3, 4, 5, 6])
    assert drawn.curves[2].y[0] == 50.0  # HU
    begun = curves.curves(points[:3], planned=6)  # while only the initial reconstruction is known
    for axis in (begun, drawn):
        assert axis.begin < -1.2
        assert 6 < axis.end < 6.5
        assert [label for _, label in axis.ticks] == ["initial", "1", "2", "3", "4", "5", "6"]
    assert {"0.1", "0.2", "0.5"} < {label for _, label in drawn.curves[1].y_ticks}
    assert curves.available([Point(1, 2, residual=0.5)]) == ["residual"]


def test_curves_stay_within_their_frame_and_have_round_ticks():
    cases = [[30.0], [0.0, 0.0], [-3.0, 41.7], [1e-3, 1.0], [0.0081, 0.0083], [5.0, 5.0, 5.0]]
    for values in cases:
        for name in ("psnr", "residual"):
            points = [Point(i, len(values), **{name: v}) for i, v in enumerate(values, 1)]
            for curve in curves.curves(points).curves:
                heights = curve.heights(curve.y)
                assert all(0 < h < 1 for h in heights)
                assert (
                    np.argsort(heights).tolist() == np.argsort(curve.y).tolist()
                )  # larger values are higher
                told = [float(label) for _, label in curve.y_ticks]
                assert told == pytest.approx([v for v, _ in curve.y_ticks], rel=1e-3)
                assert any(0 <= h <= 1 for h in curve.heights([v for v, _ in curve.y_ticks])), values


def test_all_points_of_short_runs_and_the_last_of_long_runs_are_readable():
    short = [Point(i, 4, psnr=30.0 + i) for i in range(1, 5)]
    assert re.findall(r"<b>([^<]+)</b>", curves.html(curves.curves(short), "red")) == [
        "1: 31",
        "2: 32",
        "3: 33",
        "4: 34",
    ]
    long = [Point(i, 2000, residual=1 / i) for i in range(1, 2001)]
    told = re.findall(r"<b>([^<]+)</b>", curves.html(curves.curves(long), "red"))
    assert len(told) <= curves.MAX_READ
    assert told[-1] == "2000: 0.0005"


def test_labels_of_a_curve_with_equal_values_do_not_overlap():
    for name, value in (("sigma", 1.0), ("residual", 0.05), ("psnr", 27.0)):
        points = [Point(1, 4, "", 1.0, **{"residual": None, "sigma": None, "psnr": None} | {name: value})]
        (curve,) = curves.curves(points).curves
        heights = [h for h in curve.heights([v for v, _ in curve.y_ticks]) if 0 <= h <= 1]
        assert heights
        assert all(b - a > 0.1 for a, b in pairwise(heights))


def test_the_line_of_a_run_names_the_iteration_of_the_tile():
    point = Point(2, 4, "", 1.0, None, None, None)
    assert "Iteration 3 of 4" in messages.progress_line(
        Progress("running", points=(point,), tiles_done=(1, 9))
    )
    assert messages.current_iteration(Progress("running", points=(point,), tiles_done=(1, 9))) == 3
    assert messages.current_iteration(Progress("running", points=(point,))) == 2


def test_iterations_of_the_initial_reconstruction_have_their_own_name():
    """On coarser grids, their number may exceed the setting of the method."""

    def name(stage, tiles=None):
        points = (Point(406, 498, stage, 3.0),)
        return messages.iteration_number(Progress("running", points=points, tiles_done=tiles))[:2]

    assert name("initial") == ("Initial iteration", "406 / 498")
    assert name("initial", (5, 18)) == ("First pass", "5 / 18")
    assert name("") == ("Iteration", "406 / 498")


def test_the_line_of_a_run_states_the_time_left_until_its_result_is_stored():
    def line(i, stage, eta):
        return messages.progress_line(Progress("running", points=(Point(i, 9, stage, 3.0),), eta=eta))

    assert line(3, "initial", 45.0) == "Initial reconstruction, iteration 3 of 9, about 45 s left"
    assert line(3, "", 45.0) == "Iteration 3 of 9, 0.0 s, about 45 s left"
    assert line(9, "", 1.5) == "Storing the result, 0.0 s"


def test_watch_it_form_chooses_sampling_and_the_faster_prior(app, small_scan):
    app.session_state["_scan"] = small_scan
    app.switch_page(routes.RECONSTRUCT).run()
    app.pills(key=state.field("method")).set_value("diffusion").run()
    assert app.selectbox(key=state.field("prior")).value == DEFAULT
    app.button(key="preset.watch").click().run()
    assert not app.exception
    assert app.selectbox(key=state.field("diffusion.mode")).value == "posterior"
    assert app.selectbox(key=state.field("prior")).value == SAMPLER


@pytest.mark.parametrize(
    ("stage", "eta", "expected"),
    [("initial", 12.0, "12 s"), ("initial", math.nan, "–"), ("", 12.0, "12 s"), ("", 0.0, "< 1 s")],
)
def test_the_time_left_is_shown_from_the_first_step(small_scan, monkeypatch, stage, eta, expected):
    run = engine.store().run(engine.store().create(RunConfig(small_scan, "diffusion")))
    shown = {}
    monkeypatch.setattr(
        DeltaGenerator, "metric", lambda self, label, value, **options: shown.update({label: value})
    )
    live._numbers(run, Progress("running", points=(Point(3, 9, stage),), eta=eta))
    assert shown["Time left"] == expected
    engine.store().delete(run.id)
