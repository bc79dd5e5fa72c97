"""What a shared server does not allow is said on the page, in a sentence."""

import json
from dataclasses import replace

import pytest

from core.runs.config import RunConfig
from core.runs.jobs import wait
from core.runs.store import StoreError
from pages.ui import engine, runs_table, shell, state


def texts(elements):
    return " ".join(e.value for e in elements)


def test_a_server_without_uploads_says_so(app, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_READ_ONLY", "1")
    app.switch_page(shell.ACQUIRE).run()
    app.segmented_control(key=state.field("kind")).set_value("upload").run()
    assert not app.exception
    assert not app.file_uploader
    assert "no uploads" in texts(app.info)


def test_a_run_that_does_not_fit_is_explained(visit, small_scan, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.01")
    run_id = engine.queue().submit(RunConfig(small_scan, "tv", {"num_iterations": 77}))
    app = visit(run=run_id)
    app.switch_page(shell.RECONSTRUCT).run()
    assert not app.exception
    assert "of memory" in texts(app.error)


@pytest.mark.parametrize("page", [shell.RECONSTRUCT, shell.COMPARE, shell.WHAT_IF, shell.RUNS])
def test_a_damaged_result_is_a_run_that_failed(visit, small_scan, page):
    seed = [shell.RECONSTRUCT, shell.COMPARE, shell.WHAT_IF, shell.RUNS].index(page)
    scan = replace(small_scan, num_views=13, seed=seed)
    run_id = engine.queue().submit(RunConfig(scan, "sirt", {"num_iterations": 5}))
    assert wait(engine.queue(), run_id, timeout=180).status == "done"
    (engine.store().run_folder(run_id) / "volume.npy").write_bytes(b"gone bad")
    app = visit(run=run_id, compare=run_id, scan=json.dumps(scan.to_json()))
    app.switch_page(page).run()
    assert not app.exception
    if page in (shell.RECONSTRUCT, shell.COMPARE):
        assert "damaged or gone" in texts([*app.error, *app.warning, *app.caption, *app.markdown])


def test_a_full_disk_is_told_instead_of_a_traceback(app, monkeypatch):
    def refuse(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("core.runs.store.RunStore.all_runs", refuse)
    app.switch_page(shell.RUNS).run()
    assert not app.exception
    assert "disk is full" in texts(app.error)


def test_compare_says_which_runs_left_nothing_and_why(visit, small_scan, monkeypatch):
    done = engine.queue().submit(RunConfig(small_scan, "fbp"))
    assert wait(engine.queue(), done, timeout=120).status == "done"
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.01")
    refused = [
        engine.queue().submit(RunConfig(small_scan, m, {"num_iterations": 78})) for m in ("tv", "sirt")
    ]
    app = visit(scan=json.dumps(small_scan.to_json()), compare=",".join([done, *refused]))
    app.switch_page(shell.COMPARE).run()
    assert not app.exception
    assert list(app.dataframe[0].value["Method"]) == ["FBP"]  # what is there is shown
    (warning,) = app.warning  # one for both: the reason is the same
    assert "TV; SIRT: no volume" in warning.value
    assert "of memory" in warning.value


@pytest.mark.parametrize(
    ("limit", "value", "words"),
    [
        ("MEMORY_GB", "0.01", "of memory"),
        ("QUEUE_LENGTH", "0", "queue is full"),
        ("SESSION_RUNS", "0", "waiting"),
    ],
)
def test_a_refusal_is_said_on_the_page_that_asked_and_the_form_stays(
    app, small_scan, monkeypatch, limit, value, words
):
    monkeypatch.setenv(f"TOMOPATCH_{limit}", value)
    scan = replace(small_scan, num_views=6)
    app.session_state["_scan"] = scan
    app.switch_page(shell.RECONSTRUCT).run()
    assert not app.exception
    app.pills(key=state.field("method")).set_value("tv").run()
    app.number_input(key=state.field("tv.num_iterations")).set_value(79).run()
    app.session_state["_inside"] = True  # AppTest starts with the page alone; a click lasts for one run only
    app.button(key="start").click().run()
    assert words in texts(app.error)
    assert app.number_input(key=state.field("tv.num_iterations")).value == 79
    assert app.session_state["_scan"] == scan
    app.switch_page(shell.PRIOR).run()
    app.session_state["_inside"] = True
    app.button(key="prior_start").click().run()
    assert words in texts(app.error)


@pytest.mark.parametrize(("limit", "value"), [("MEMORY_GB", "0.01"), ("QUEUE_LENGTH", "0")])
def test_what_if_says_a_refusal_once_for_all_runs(app, small_scan, monkeypatch, limit, value):
    monkeypatch.setenv(f"TOMOPATCH_{limit}", value)
    app.session_state["_scan"] = replace(small_scan, seed=4712)
    app.switch_page(shell.WHAT_IF).run()
    app.session_state["_inside"] = True
    app.button(key="sweep_start").click().run()
    assert not app.exception
    assert len(app.warning) == 1
    assert "and 8 more: no volume" in app.warning[0].value
    assert "*Run* tries again" in app.warning[0].value


def test_runs_tells_why_one_left_nothing(app, small_scan, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_MEMORY_GB", "0.01")
    refused = engine.queue().submit(RunConfig(small_scan, "cgls", {"num_iterations": 7}))
    monkeypatch.setattr(
        runs_table, "_ticked", lambda event, runs: [k.run for k in runs if k.run.id == refused]
    )
    app.switch_page(shell.RUNS).run()
    assert not app.exception
    assert "of memory" in texts(app.warning)


def test_without_uploads_the_scan_stays_and_stored_volumes_can_be_chosen(app, small_scan, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_READ_ONLY", "1")
    app.session_state["_scan"] = small_scan
    app.switch_page(shell.ACQUIRE).run()
    kept = app.session_state["_scan"]
    app.segmented_control(key=state.field("kind")).set_value("upload").run()
    assert "*Stored*" in texts(app.info)
    assert app.session_state["_scan"] == kept


def test_a_run_that_is_gone_is_told_beside_those_that_are_there(visit, small_scan):
    done = engine.queue().submit(RunConfig(small_scan, "fbp"))
    assert wait(engine.queue(), done, timeout=120).status == "done"
    app = visit(scan=json.dumps(small_scan.to_json()), compare=f"{done},20250101-000000-tv-abcdef")
    app.switch_page(shell.COMPARE).run()
    assert not app.exception
    assert "not there" in texts(app.warning)
    assert list(app.dataframe[0].value["Method"]) == ["FBP"]
    app = visit(compare=done)
    app.switch_page(shell.COMPARE).run()
    assert not app.warning


@pytest.mark.parametrize("page", [shell.COMPARE, shell.RECONSTRUCT, shell.WHAT_IF])
def test_an_address_of_gone_runs_alone_leads_to_the_runs_that_are_there(visit, page):
    app = visit(run="20250101-000000-tv-abcdef")
    app.switch_page(page).run()
    assert not app.exception
    assert "not there (any more)" in texts(app.markdown)


def test_a_volume_that_is_gone_is_told_where_another_is_chosen(visit, small_scan):
    scan = json.dumps(replace(small_scan, source="volume:0123456789abcdef").to_json())
    app = visit(scan=scan)
    app.switch_page(shell.COMPARE).run()
    assert not app.exception
    assert "Choose another volume or scan on Acquire" in texts(app.markdown)
    app = visit(scan=scan)
    app.switch_page(shell.ACQUIRE).run()
    assert not app.exception
    assert "not stored here" in texts(app.warning)


@pytest.mark.parametrize("page", [shell.HOME, shell.RUNS])  # that asks last for it, and at once
def test_a_store_that_cannot_be_used_is_told(app, page, monkeypatch):
    def refuse():
        raise StoreError("the store /x cannot be written; set TOMOPATCH_STORE to a folder of yours.")

    monkeypatch.setattr(engine, "_expected", None)
    monkeypatch.setattr(engine, "queue", refuse)
    app.switch_page(page).run()
    assert not app.exception
    assert len(app.error) == 1
    assert "set TOMOPATCH_STORE" in app.error[0].value
