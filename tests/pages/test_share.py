"""Experiments can be saved and opened again."""

import json
from dataclasses import replace

import pytest

from pages.ui.session import engine, routes
from tomopatch.execution.queue import wait
from tomopatch.runs.config import RunConfig
from tomopatch.studies.experiment import Experiment


@pytest.fixture
def experiment(small_scan):
    small_scan = replace(small_scan, num_views=9)  # other tests look at all runs of the small scan
    return Experiment(
        small_scan,
        (RunConfig(small_scan, "fbp"), RunConfig(small_scan, "sirt", {"num_iterations": 4})),
        {"num_views": "4, 8", "methods": "fbp"},
        "sagittal",
        "compare_0.25_0.5_0.5_400_1800_2_0.5_0.5_0.5_side",
        "Region",
    )


def opened(app, data: bytes):
    app.file_uploader[0].set_value(("experiment.json", data, "application/json")).run()
    assert not app.exception
    return app


def test_an_experiment_can_be_opened_and_compared(app, experiment):
    opened(app, experiment.to_bytes())
    app.session_state["_inside"] = True  # AppTest starts with the page alone; a click lasts for one run only
    app.button(key="open_experiment").click().run()
    assert not app.exception
    assert app.title[0].value == routes.TITLES[routes.COMPARE]
    assert app.session_state["_scan"] == experiment.scan
    assert app.session_state["_sweep"] == experiment.sweep
    assert app.session_state["_plane"] == experiment.plane
    assert app.session_state["form.compare.look"] == experiment.analysis
    assert app.session_state["_opened_view"].endswith(experiment.view)
    runs = [engine.store().run(r) for r in app.session_state["_compared"]]
    assert tuple(run.config for run in runs) == experiment.runs
    assert all(wait(engine.queue(), run.id, timeout=180).status == "done" for run in runs)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": "x"}, "not an experiment"),
        ({"scan": {"source": "/etc/passwd"}}, "not stored on this machine"),
        ({"scan": {"source": "volume:0123456789abcdef"}}, "not stored on this machine"),
        ({"scan": {}}, "source"),
    ],
)
def test_unreadable_experiments_are_explained(app, experiment, change, word):
    opened(app, json.dumps(json.loads(experiment.to_bytes()) | change).encode())
    assert word in app.error[0].value
    assert "open_experiment" not in [b.key for b in app.button]
