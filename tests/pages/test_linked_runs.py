"""A link carries methods and settings, so that runs which are missing here can be made again."""

import json
from dataclasses import replace

import pytest

from pages.ui.session import engine, routes
from tests.pages.test_pages import texts
from tomopatch.execution.queue import wait
from tomopatch.runs.config import RunConfig
from tomopatch.schema import changed_values

GONE = ["20200101-000000-fbp-aaaaaa", "20200101-000000-sirt-bbbbbb"]


@pytest.fixture
def scan(small_scan):
    return replace(small_scan, num_views=6)  # used by no other test


def test_the_address_names_methods_and_changed_settings(visit, scan):
    ids = [engine.queue().submit(RunConfig(scan, "fbp"))]
    ids += [engine.queue().submit(RunConfig(replace(scan, seed=5), "sirt", {"num_iterations": 3}))]
    assert all(wait(engine.queue(), run_id, timeout=120).status == "done" for run_id in ids)
    app = visit(scan=json.dumps(scan.to_json()), compare=",".join(ids))
    app.switch_page(routes.COMPARE).run()
    assert not app.exception
    (text,) = (
        [app.query_params["runs"]] if isinstance(app.query_params["runs"], str) else app.query_params["runs"]
    )
    first, second = (json.loads(text)[run_id] for run_id in ids)
    assert first == {"method": "fbp"}
    assert (second["method"], second["params"]) == ("sirt", {"num_iterations": 3})
    assert second["scan"] == changed_values(replace(scan, seed=5))


def test_the_address_names_the_settings_of_runs_that_are_shown_by_default(visit, scan):
    other = replace(scan, seed=7)
    ids = [engine.queue().submit(RunConfig(other, method)) for method in ("fbp", "sirt")]
    assert all(wait(engine.queue(), run_id, timeout=120).status == "done" for run_id in ids)
    app = visit(scan=json.dumps(other.to_json()), run=ids[1])
    app.switch_page(routes.COMPARE).run()
    assert not app.exception
    assert "compare" not in app.query_params
    text = app.query_params["runs"]
    assert set(json.loads(text if isinstance(text, str) else text[0])) == set(ids)


def test_missing_runs_of_a_default_comparison_can_be_made_again(visit, scan):
    linked = {GONE[0]: {"method": "fbp"}, GONE[1]: {"method": "sirt", "params": {"num_iterations": 5}}}
    app = visit(scan=json.dumps(scan.to_json()), run=GONE[0], runs=json.dumps(linked))
    app.switch_page(routes.COMPARE).run()
    assert not app.exception
    assert "The link carries their settings: FBP, SIRT" in texts(app)


def test_missing_runs_of_a_link_can_be_made_again(visit, scan):
    linked = {GONE[0]: {"method": "fbp"}, GONE[1]: {"method": "sirt", "params": {"num_iterations": 4}}}
    app = visit(scan=json.dumps(scan.to_json()), compare=",".join(GONE), run=GONE[0], runs=json.dumps(linked))
    app.switch_page(routes.COMPARE).run()
    assert "The link carries their settings: FBP, SIRT" in texts(app)
    app.session_state["_inside"] = True  # AppTest starts with the page alone; a click lasts for one run only
    app.button(key="make_linked").click().run()
    assert not app.exception
    made = [engine.store().run(run_id).config for run_id in app.session_state["_compared"]]
    assert made == [RunConfig(scan, "fbp"), RunConfig(scan, "sirt", {"num_iterations": 4})]


def test_reconstruct_shows_the_settings_of_a_missing_run(visit, scan):
    linked = {GONE[1]: {"method": "sirt", "params": {"num_iterations": 7}}}
    app = visit(scan=json.dumps(scan.to_json()), run=GONE[1], runs=json.dumps(linked))
    app.switch_page(routes.RECONSTRUCT).run()
    assert not app.exception
    assert app.session_state["form.method"] == "sirt"
    assert app.session_state["form.sirt.num_iterations"] == 7


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"x": 3}',
        json.dumps({GONE[0]: {"method": "fbp", "scan": {"source": "/etc/passwd"}}}),
        json.dumps({GONE[0]: {"method": "none"}}),
    ],
)
def test_unusable_settings_of_a_link_are_left_out(visit, scan, text):
    app = visit(scan=json.dumps(scan.to_json()), compare=GONE[0], runs=text)
    app.switch_page(routes.COMPARE).run()
    assert not app.exception
    assert "make_linked" not in [b.key for b in app.button]
