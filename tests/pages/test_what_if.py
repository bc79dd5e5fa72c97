"""The page What if: empty, invalid, queued and finished sweeps, and the address."""

import json
from dataclasses import replace

import pytest

from pages.ui.charts import figures
from pages.ui.compare import error_figures
from pages.ui.session import engine, routes, state
from tests.pages.test_pages import texts
from tomopatch.execution.queue import wait
from tomopatch.studies.sweep import SweepConfig, look_up


@pytest.fixture
def small_scan(small_scan):
    """Return a scan with a seed that no other test uses, so that the store has no run of it."""
    return replace(small_scan, seed=4711)


@pytest.fixture
def what_if(visit, small_scan):
    """Open the page with the small scan and these values in the address."""

    def start(**typed: str):
        parameters = {"scan": json.dumps(small_scan.to_json())}
        if typed:
            parameters["sweep"] = json.dumps(typed)
        return visit(**parameters).switch_page(routes.WHAT_IF).run()

    return start


def typed_into(app, name, text):
    return app.text_input(key=state.field(f"sweep.{name}")).set_value(text).run()


def test_a_missing_scan_is_explained(app):
    app.switch_page(routes.WHAT_IF).run()
    assert not app.exception
    assert "no scan yet" in texts(app)


def test_missing_runs_are_counted(what_if):
    app = what_if()
    assert "10 runs, 10 to do" in texts(app)  # five numbers of views, FBP and TV
    typed_into(app, "photons", "none, 1e4")
    assert "20 runs, 20 to do" in texts(app)
    assert "Ready" in texts(app)


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("num_views", "8, x", "Views: expected whole numbers"),
        ("photons", "-5", "photons per ray must be at least 0.001"),
        ("angle_range", "0", "The angle range in degrees must be above 0"),
        ("num_views", " ".join(map(str, range(1, 300))), "at most 400"),
    ],
)
def test_invalid_values_are_explained(what_if, name, text, word):
    app = typed_into(what_if(), name, text)
    assert not app.exception
    assert word in texts(app)
    assert "as soon as" in texts(app)


def choose_effect(app, name):
    return app.selectbox(key=state.field("sweep.effect")).select(name).run()


def typed_address(app):
    text = app.query_params["sweep"]
    return json.loads(text if isinstance(text, str) else text[0])


def test_a_number_of_the_effects_is_varied(what_if):
    app = what_if()
    control = app.selectbox(key=state.field("sweep.effect"))
    assert control.options[:2] == ["none", "Tube voltage [kV]"]
    assert "Focal spot [mm]" not in control.options  # the beam is parallel
    assert "effect" not in typed_address(app)
    choose_effect(app, "misalignment.axis_offset")
    assert "10 runs, 10 to do" in texts(app)  # no values: as in the scan
    values = app.text_input(key=state.field("sweep.values.misalignment.axis_offset"))
    assert (values.label, values.placeholder) == ("Axis offset [mm]", "as in the scan: off")
    assert values.help
    typed_into(app, "values.misalignment.axis_offset", "0, 2, 4")
    assert "30 runs, 30 to do" in texts(app)
    assert typed_address(app)["effect"] == "misalignment.axis_offset"
    assert typed_address(app)["effect_values"] == "0, 2, 4"
    choose_effect(app, "tube.kvp")  # each number has its own values
    assert app.text_input(key=state.field("sweep.values.tube.kvp")).value == ""
    choose_effect(app, "")
    assert "effect" not in typed_address(app)


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("tube.kvp", "60, x", "Tube voltage: expected numbers like 60, 80, 120"),
        ("tube.kvp", "10", "must be at least 40"),
        ("seed", "1.5", "Noise seed: expected whole numbers"),
        ("faults.gain", " ".join(str(k / 100) for k in range(90)), "at most 400"),
        ("blur.focal_spot", "1", "The focal spot needs a cone beam"),
        ("tube.<b>", "1", "cannot vary"),
    ],
)
def test_invalid_effects_of_a_link_are_explained(what_if, name, text, word):
    app = what_if(num_views="4, 5, 6, 7, 8", methods="fbp", effect=name, effect_values=text)
    assert not app.exception
    assert word in texts(app)
    assert "as soon as" in texts(app)
    choose_effect(app, "")
    assert "5 runs, 5 to do" in texts(app)


def test_the_curve_of_an_effect(what_if, small_scan):
    typed = {
        "num_views": "6",
        "methods": "fbp",
        "effect": "misalignment.axis_offset",
        "effect_values": "0, 2, 4",
    }
    sweep = SweepConfig(small_scan, ("fbp",), num_views=(6,), effects={"misalignment.axis_offset": (0, 2, 4)})
    for cell in sweep.cells():
        wait(engine.queue(), engine.queue().submit(cell, background=True), timeout=180)
    app = what_if(**typed)
    assert not app.exception
    assert "3 of 3 done." in texts(app)
    assert "FBP, 6 views" in texts(app)
    assert "axis offset 4 mm" in texts(app)
    chart = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert chart["layout"]["xaxis"]["title"]["text"] == "Axis offset [mm]"
    assert list(app.dataframe[0].value.columns[:3]) == ["Method", "Axis offset", "PSNR"]
    assert list(app.dataframe[0].value["Axis offset"]) == [0, 2, 4]
    typed_into(app, "num_views", "6, 7")
    assert "6 runs, 3 to do" in texts(app)
    assert app.segmented_control(key="sweep_x").options == ["Axis offset", "Views"]


def test_run_queues_the_missing_runs_and_finished_runs_are_points(what_if, small_scan):
    app = what_if(num_views="3, 6", photons="none", methods="fbp,sirt")
    assert "4 runs, 4 to do" in texts(app)
    app.session_state["_inside"] = True  # AppTest starts with the page alone; a click lasts for one run only
    app.button(key="sweep_start").click().run()
    assert not app.exception
    sweep = SweepConfig(small_scan, ("fbp", "sirt"), num_views=(3, 6), photons=(None,))
    cells = look_up(sweep, engine.store().runs())
    for cell in cells:
        assert wait(engine.queue(), cell.run.id, timeout=180).status == "done"
    again = what_if(
        num_views="3, 6", photons="none", methods="fbp,sirt"
    )  # another visitor with the same address
    assert not again.exception
    assert "4 of 4 done." in texts(again)
    assert "Ready" not in texts(again)
    table = again.dataframe[0].value
    assert list(table.columns) == [
        "Method",
        "Views",
        "PSNR",
        "SSIM",
        "RMSE",
        "Time",
    ]  # varied quantities with labels
    assert list(table["PSNR"]) == pytest.approx(
        [c.run.metrics.psnr for c in look_up(sweep, engine.store().runs())]
    )
    wider = typed_into(again, "num_views", "3, 6, 9")
    assert "6 runs, 2 to do. About" in texts(wider)


def test_stop_keeps_finished_runs(what_if, small_scan):
    sweep = SweepConfig(small_scan, ("tv",), num_views=(4, 5, 7))
    for config in sweep.cells():
        engine.queue().submit(config, background=True)
    app = what_if(num_views="4, 5, 7", methods="tv")
    app.session_state["_inside"] = True
    app.button(key="sweep_stop").click().run()
    assert not app.exception
    for cell in look_up(sweep, engine.store().runs()):
        assert wait(engine.queue(), cell.run.id, timeout=180).status in ("cancelled", "done")
    states = [c.run.status for c in look_up(sweep, engine.store().runs())]
    assert states[-1] == "cancelled"


def test_an_unreadable_address_is_reported(visit, small_scan):
    app = visit(scan=json.dumps(small_scan.to_json()), sweep="{")
    assert any("not readable" in t.value for t in app.toast)
    app.switch_page(routes.WHAT_IF).run()
    assert not app.exception
    app = visit(
        scan=json.dumps(small_scan.to_json()), sweep=json.dumps({"methods": "magic", "num_views": "<b>"})
    )
    app.switch_page(routes.WHAT_IF).run()
    assert not app.exception
    assert "expected whole numbers" in texts(app)


def test_all_controls_have_help(what_if):
    app = what_if()
    widgets = [*app.text_input, *app.button]
    assert len(widgets) >= 4
    assert all(w.help for w in widgets)


@pytest.mark.parametrize(("x", "planned"), [("num_views", (5, 20, 80)), ("angle_range", (90.0, 180.0))])
def test_the_axis_is_fixed_from_the_first_point_on(x, planned):
    row = {"method": "fbp", "run": "a", "psnr": 20.0, x: planned[0]}
    axis = figures.sweep({"FBP": [row]}, x, "psnr", planned=planned).layout.xaxis
    low, high = (10**end if axis.type == "log" else end for end in axis.range)
    assert low < planned[0]
    assert high > planned[-1]
    assert tuple(axis.tickvals) == planned


def test_a_long_legend_does_not_cover_the_curves():
    rows = {f"Line {k}": [{"method": "fbp", "run": str(k), "psnr": 20.0, "num_views": 5}] for k in range(9)}
    drawn = [
        figures.sweep(rows, "num_views", "psnr"),
        error_figures.histogram([]),
        error_figures.spectrum([]),
    ]
    for legend in (figure.layout.legend for figure in drawn):
        assert legend.y >= 1
        assert legend.yanchor == "bottom"
