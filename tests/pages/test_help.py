"""Help texts of all controls on all pages, in all states that tests reach quickly."""

import json
from dataclasses import replace

import pytest

from pages.ui.compare import comparison
from pages.ui.learn.lessons import LESSONS
from pages.ui.runs import runs_table
from pages.ui.session import engine, routes, state, volume_cache
from tomopatch.execution.queue import wait
from tomopatch.export.files import nifti_bytes
from tomopatch.phantoms.catalogue import phantom
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import RunConfig
from tomopatch.studies.sweep import SweepConfig

QUIET = ("page_link", "expander")  # their labels are sufficient


def elements(block):
    """Yield all elements, also those in containers."""
    for child in block.children.values():
        yield child
        if hasattr(child, "children"):
            yield from elements(child)


def controls(app):
    """Yield (label, help) of all controls and numbers."""
    for element in [*elements(app.main), *elements(app.sidebar)]:
        proto = getattr(element, "proto", None)
        if "popover" in element.type:
            proto = proto.popover
        if hasattr(proto, "help") and hasattr(proto, "label") and element.type not in QUIET:
            yield f"{element.type} {proto.label!r}", proto.help


def without_help(app):
    assert not app.exception
    return [name for name, help in controls(app) if not help.endswith((".", "?"))]  # sentences


@pytest.fixture
def small_scan(small_scan):
    return replace(small_scan, num_views=7)


@pytest.fixture
def done(small_scan):
    """Return a finished run of a fast and one of a slower method."""
    runs = [RunConfig(small_scan, "fbp"), RunConfig(small_scan, "sirt", {"num_iterations": 4})]
    ids = [engine.queue().submit(run) for run in runs]
    assert all(wait(engine.queue(), run_id, timeout=180).status == "done" for run_id in ids)
    volume_cache.reference(small_scan).result(60)
    return ids


def address(scan, **more):
    return {"scan": json.dumps(scan.to_json()), **more}


@pytest.mark.parametrize("page", list(routes.TITLES))
@pytest.mark.parametrize("beam", ["", "parallel", "cone"])
def test_pages_without_and_with_a_scan(visit, small_scan, page, beam):
    app = visit(**(address(replace(small_scan, beam=beam)) if beam else {}))
    assert without_help(app.switch_page(page).run()) == []


def test_acquire_with_helix_lesion_scanner_and_own_volumes(app):
    app.switch_page(routes.ACQUIRE).run()
    app.toggle(key=state.field("lesion")).set_value(True).run()
    app.selectbox(key=state.field("scanner")).select("cone").run()
    app.session_state["acquire.detector"] = True  # opens the section
    app.run()
    app.number_input(key=state.field("pitch")).set_value(20.0).run()
    assert without_help(app) == []
    app.segmented_control(key=state.field("kind")).set_value("upload").run()
    assert without_help(app) == []
    file = ("mine.nii.gz", nifti_bytes(phantom("spheres", (12, 32, 32))), "application/gzip")
    app.file_uploader(key=state.field("files.False")).set_value([file]).run()
    assert without_help(app) == []
    app.segmented_control(key=state.field("kind")).set_value("stored").run()
    assert without_help(app) == []


@pytest.mark.parametrize("method", METHODS)
def test_reconstruct_with_each_method(visit, small_scan, method):
    beam = "cone" if method == "fdk" else "parallel"
    app = visit(**address(replace(small_scan, beam=beam))).switch_page(routes.RECONSTRUCT).run()
    app.pills(key=state.field("method")).set_value(method).run()
    assert without_help(app) == []


def test_a_finished_and_replayed_run(visit, small_scan, done):
    app = visit(**address(small_scan, run=done[1])).switch_page(routes.RECONSTRUCT).run()
    assert without_help(app) == []
    app.segmented_control(key=f"show.{done[1]}").set_value("Replay").run()
    assert without_help(app) == []


def test_compare_with_all_sections_open(visit, small_scan, done):
    app = visit(**address(small_scan, compare=",".join(done))).switch_page(routes.COMPARE).run()
    app.session_state["compare.gallery"] = True
    app.run()
    assert len([name for name, _ in controls(app) if name.startswith("download_button")]) >= 8
    for look in comparison.ANALYSES:
        app.segmented_control(key=state.field("compare.look")).set_value(look).run()
        assert without_help(app) == []


def test_a_finished_sweep(visit, small_scan):
    sweep = SweepConfig(small_scan, ("fbp",), num_views=(4, 5), photons=(1e4, 1e5))
    for cell in sweep.cells():
        wait(engine.queue(), engine.queue().submit(cell), timeout=120)
    typed = {"num_views": "4, 5", "angle_range": "", "photons": "1e4, 1e5", "methods": "fbp"}
    app = visit(**address(small_scan, sweep=json.dumps(typed))).switch_page(routes.WHAT_IF).run()
    assert any("Across" in name for name, _ in controls(app))
    assert without_help(app) == []
    app.selectbox(key=state.field("sweep.effect")).select("tube.kvp").run()
    assert any("Tube voltage" in name for name, _ in controls(app))
    assert without_help(app) == []


@pytest.mark.parametrize("kind", ["generate", "denoise"])
def test_both_tasks_of_prior(app, kind):
    app.switch_page(routes.PRIOR).run()
    app.segmented_control(key=state.field("prior.kind")).set_value(kind).run()
    assert without_help(app) == []


@pytest.mark.parametrize("name", [*LESSONS, "challenge", "contrast"])
def test_lessons(visit, name):
    assert without_help(visit(lesson=name).switch_page(routes.LEARN).run()) == []


def test_runs_with_one_ticked_run(app, done, monkeypatch):
    monkeypatch.setattr(
        runs_table, "ticked_runs", lambda event, runs: [k.run for k in runs if k.run.id == done[0]]
    )
    app.switch_page(routes.RUNS).run()
    assert len(list(controls(app))) >= 6
    assert without_help(app) == []


def test_a_control_without_help_is_detected(app):
    """Check that `without_help` finds anything at all."""
    app.switch_page(routes.LEARN).run()
    radio = app.radio(key=state.field("lesson"))
    radio.proto.help = ""
    assert without_help(app) == ["radio 'Lesson'"]
