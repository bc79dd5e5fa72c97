"""A reference that is still being prepared: its place is marked, and it appears when it is ready."""

import json
from concurrent.futures import Future
from dataclasses import replace

import pytest

from pages.ui.runs import live, sweep_view
from pages.ui.session import engine, routes, volume_cache
from tomopatch.execution.queue import wait
from tomopatch.runs.config import RunConfig

COMPARISONS = {"difference", "swipe", "flicker"}


@pytest.fixture
def scan(small_scan):
    return replace(small_scan, num_views=7)  # used by no other test


@pytest.fixture
def run_id(scan):
    run_id = engine.queue().submit(RunConfig(scan, "fbp"))
    assert wait(engine.queue(), run_id, timeout=120).status == "done"
    return run_id


@pytest.fixture
def drawn(monkeypatch):
    """Record the viewers and the intervals of the fragments of a page whose reference is not ready."""
    seen = {"volumes": [], "layouts": [], "polls": []}
    monkeypatch.setattr(volume_cache, "reference", lambda scan: seen["future"])
    seen["future"] = Future()
    for module in (live, sweep_view):
        real = module.viewer

        def record(volumes, *args, real=real, options, **others):
            seen["volumes"].append([(v.name, v.pending) for v in volumes])
            seen["layouts"].append(set(options.layouts))
            return real(volumes, *args, options=options, **others)

        monkeypatch.setattr(module, "viewer", record)
        fragment = module.st.fragment
        monkeypatch.setattr(
            module.st,
            "fragment",
            lambda *args, run_every=None, fragment=fragment: (
                seen["polls"].append(run_every) or fragment(*args, run_every=run_every)
            ),
        )
    return seen


@pytest.mark.parametrize("page", [routes.RECONSTRUCT, routes.WHAT_IF])
def test_a_finished_run_waits_for_its_reference(visit, scan, run_id, drawn, page):
    sweep = json.dumps({"num_views": "7", "angle_range": "", "photons": "", "methods": "fbp"})
    app = visit(scan=json.dumps(scan.to_json()), run=run_id, sweep=sweep)
    app.switch_page(page).run()
    assert not app.exception
    assert ("Reference", True) in drawn["volumes"][-1]
    assert any(drawn["polls"])


@pytest.mark.parametrize("page", [routes.RECONSTRUCT, routes.WHAT_IF])
def test_without_a_reference_nothing_is_compared(visit, scan, run_id, drawn, page):
    drawn["future"].set_exception(ValueError("the volume was deleted."))
    sweep = json.dumps({"num_views": "7", "angle_range": "", "photons": "", "methods": "fbp"})
    app = visit(scan=json.dumps(scan.to_json()), run=run_id, sweep=sweep)
    app.switch_page(page).run()
    assert not app.exception
    assert len(drawn["volumes"][-1]) == 1
    assert not COMPARISONS & drawn["layouts"][-1]
