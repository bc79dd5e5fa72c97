"""Messages about missing scans, and scans that stay unchanged when they are displayed."""

import json
from dataclasses import replace

import pytest

from pages.ui.learn.lessons import LESSONS
from pages.ui.scanview import component
from pages.ui.session import engine, routes, state, volume_cache
from pages.ui.texts import labels
from tests.pages.test_pages import texts
from tomopatch.phantoms.scene import Lesion
from tomopatch.reconstruct.params import FILTERS
from tomopatch.runs.config import RunConfig

KEPT = "your scan does not change"


@pytest.mark.parametrize("page", [routes.RECONSTRUCT, routes.COMPARE, routes.WHAT_IF])
def test_pages_without_a_scan_offer_the_demo(app, page):
    """`tests/browser/test_by_mouse.py` presses the button."""
    app.switch_page(page).run()
    assert app.button(key="demo.secondary").label == "Run the demo"
    assert "no scan yet" in texts(app)


def test_an_unchanged_scan_is_mentioned_only_if_it_exists(app, visit, small_scan):
    with_scan = visit(scan=json.dumps(small_scan.to_json()))
    for opened, kept in ((app, False), (with_scan, True)):
        opened.session_state[state.field("kind")] = "upload"
        opened.switch_page(routes.ACQUIRE).run()
        opened.file_uploader(key=state.field("files.False")).set_value([("a.dcm", b"nothing", "")]).run()
        assert "Nothing was loaded" in texts(opened)
        assert (KEPT in texts(opened)) == kept


def test_opening_a_scan_on_acquire_does_not_change_its_grid(visit, small_scan):
    app = visit(scan=json.dumps(small_scan.to_json()))
    app.switch_page(routes.ACQUIRE).run()
    assert app.session_state["_scan"] == small_scan
    app.segmented_control(key=state.field("grid")).set_value("S").run()
    assert app.session_state["_scan"].grid == (64, 128, 128)


def test_a_planted_lesion_is_marked_in_the_scan_view(visit, small_scan, monkeypatch):
    drawn = []
    monkeypatch.setattr(component, "_component", lambda: lambda **given: drawn.append(given["data"]))
    lesion = Lesion((5.0, -10.0, 20.0), 8.0, 40.0)
    for planted in ((), (lesion,)):
        visit(scan=json.dumps(replace(small_scan, lesions=planted).to_json())).switch_page(
            routes.ACQUIRE
        ).run()
    heads = [json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")]) for data in drawn]
    assert [head["lesion"] for head in heads] == [None, [5.0, -10.0, 20.0]]


def test_gallery_captions_are_distinct(visit, small_scan):
    runs = [RunConfig(replace(small_scan, seed=seed), "cgls", {"num_iterations": 3}) for seed in (901, 902)]
    ids = [engine.store().create(run) for run in runs]
    volume = volume_cache.reference(small_scan).result(60)
    from tomopatch.reconstruct.run import Result

    for run_id in ids:
        engine.store().save_result(run_id, Result(volume, "cgls", {}, "done", 1.0, 0.0), None, "cpu")
    app = (
        visit(scan=json.dumps(small_scan.to_json()), compare=",".join(ids)).switch_page(routes.COMPARE).run()
    )
    app.session_state["compare.gallery"] = True
    app.run()
    captions = [c.value for c in app.caption if c.value.startswith("**CGLS")]
    assert len(captions) >= 2
    assert len(set(captions)) == len(captions)


def test_options_have_common_labels():
    assert {labels.choice_label(name) for name in FILTERS} >= {"Ram-Lak", "Shepp-Logan", "Hann", "No filter"}
    assert labels.choice_label("tv") == "TV"
    assert labels.device_label("cuda:0") == "GPU"


def test_numbers_in_lessons_do_not_wrap():
    for lesson in LESSONS.values():
        for text in (*(step.text for step in lesson.steps), *lesson.tries, lesson.question, lesson.answer):
            assert " 000" not in text
