"""Runs: the table, and opening, naming, keeping and deleting runs."""

from dataclasses import replace

import pytest

from pages.ui.runs import runs_table, runs_view
from pages.ui.session import engine, routes, state, volume_cache
from pages.ui.texts import labels
from tests.pages.test_pages import texts
from tomopatch.execution.queue import wait
from tomopatch.runs.config import RunConfig
from tomopatch.runs.prior import GenerateConfig
from tomopatch.store.eviction import StoredRun


@pytest.fixture
def two(small_scan):
    """Return two finished runs of one volume."""
    scan = replace(small_scan, num_views=11, seed=77)  # no other test makes these runs
    ids = [engine.queue().submit(RunConfig(scan, method)) for method in ("fbp", "sirt")]
    for run_id in ids:
        assert wait(engine.queue(), run_id, timeout=180).status == "done"
    yield ids
    for run_id in {run.id for run in engine.store().runs()} & set(ids):
        engine.store().delete(run_id)  # the next test gets new ones, which are the latest and not pinned


def chosen(monkeypatch, ids):
    """Tick these rows, which AppTest does not support."""
    monkeypatch.setattr(
        runs_table, "ticked_runs", lambda event, runs: [k.run for k in runs if k.run.id in ids]
    )


def test_an_empty_store_is_explained(app, monkeypatch):
    monkeypatch.setattr(runs_view, "runs_with_sizes", list)
    app.switch_page(routes.RUNS).run()
    assert not app.exception
    assert "There are no runs yet" in texts(app)


def test_all_runs_are_in_the_table(app, two):
    app.switch_page(routes.RUNS).run()
    assert not app.exception
    table = app.dataframe[0].value
    assert {"FBP", "SIRT"} <= {name.removeprefix("📌 ") for name in table["Name"]}
    assert all(p.startswith("data:image/png;base64,") for p in table["Picture"].dropna())
    assert table["What"].str.contains("11 views").sum() >= 2


def test_sizes_and_pictures_are_read_once(app, two, monkeypatch):
    app.switch_page(routes.RUNS).run()
    first = app.dataframe[0].value
    read = []  # the size of an unfinished run of another test can change
    monkeypatch.setattr(runs_view, "size_on_disk", lambda folder: read.append(folder.name) or 1)
    monkeypatch.setattr(volume_cache, "thumbnail", lambda _, run_id: read.append(run_id))
    app.switch_page(routes.HOME).run()
    app.switch_page(routes.RUNS).run()
    again = app.dataframe[0].value
    assert not set(two) & set(read)
    mine = first["What"].str.contains("11 views")
    for column in ("Size", "Picture"):
        assert first[mine][column].equals(again[mine][column])
    assert (first[mine]["Size"] > 0).all()


def test_runs_can_be_compared_kept_named_and_deleted(app, two, monkeypatch):
    chosen(monkeypatch, two)
    app.switch_page(routes.RUNS).run()
    app.session_state["_inside"] = True  # AppTest starts with the page alone; a click lasts for one run only
    app.button(key="runs_pin").click().run()
    assert not app.exception
    assert all(engine.store().run(r).pinned for r in two)
    chosen(monkeypatch, two[:1])
    app.session_state["_inside"] = True
    app.run()
    app.session_state["_inside"] = True
    app.text_input(key=state.field(f"runs.name.{two[0]}")).set_value(" <i>mine</i> ").run()
    assert engine.store().run(two[0]).name == "<i>mine</i>"
    chosen(monkeypatch, two)
    app.session_state["_inside"] = True
    app.run()
    app.session_state["_inside"] = True
    app.button(key="runs_open").click().run()
    assert not app.exception
    assert app.title[0].value == routes.TITLES[routes.COMPARE]
    assert set(app.session_state["_compared"]) == set(two)
    app.switch_page(routes.RUNS).run()
    app.session_state["_inside"] = True
    app.button(key="runs_delete").click().run()
    assert not app.exception
    assert not set(two) & {run.id for run in engine.store().runs()}


def test_the_actions_stand_above_the_table(app, two, monkeypatch):
    chosen(monkeypatch, two)
    app.switch_page(routes.RUNS).run()
    assert not app.exception

    def order(block):
        """Return buttons and tables of a block in the order of the page."""
        for element in block.children.values():
            if hasattr(element, "children"):
                yield from order(element)
            else:
                yield getattr(element, "key", None) or element.type

    found = list(order(app.main))
    table = next(i for i, name in enumerate(found) if "runs_table" in name or name == "arrow_data_frame")
    assert found.index("runs_open") < table
    assert found.index("runs_delete") < table


def test_many_runs_have_pages_and_a_search(app, two, monkeypatch):
    run = engine.store().run(two[0])
    many = [
        StoredRun(replace(run, id=f"run-{i}", name=f"Number {i}"), 1000, run.created - i) for i in range(250)
    ]
    monkeypatch.setattr(runs_view, "runs_with_sizes", lambda: many)
    monkeypatch.setattr(volume_cache, "thumbnail_url", lambda run_id: None)

    def shown():
        assert not app.exception
        return [int(name.removeprefix("Number ")) for name in app.dataframe[0].value["Name"]]

    app.switch_page(routes.RUNS).run()
    assert shown() == list(range(100))
    pages = next(box for box in app.selectbox if box.label == "Shown")
    app.session_state["_inside"] = True
    pages.select_index(2).run()
    assert shown() == list(range(200, 250))
    app.session_state["_inside"] = True
    app.text_input(key=state.field("runs.find")).set_value("24 NUMBER fbp").run()
    assert shown() == [24, 124, 224, *range(240, 250)]  # the words in any order
    app.session_state["_inside"] = True
    app.text_input(key=state.field("runs.find")).set_value("nothing of the kind").run()
    assert not app.dataframe
    assert "No run matches all of these words" in texts(app)


def test_only_runs_of_one_volume_can_be_compared(two, small_scan):
    store = engine.store()
    runs = [store.run(r) for r in two]
    assert runs_view.comparable(runs)
    other = store.run(store.create(RunConfig(replace(small_scan, grid=(8, 16, 16)), "fbp")))
    drawn = store.run(store.create(GenerateConfig((16, 32, 32))))
    assert not runs_view.comparable([*runs, other])
    assert not runs_view.comparable([*runs, drawn])
    assert not runs_view.comparable([drawn])
    for run in (other, drawn):
        store.delete(run.id)


def test_only_owners_and_administrators_change_runs_on_a_shared_server(app, two, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_SHARED", "1")
    monkeypatch.setenv("TOMOPATCH_ADMINISTRATOR", "correct horse")
    monkeypatch.setattr(runs_view, "WRONG_PASSWORD", 0.0)
    chosen(monkeypatch, two)

    def press(key):
        app.session_state["_inside"] = True
        app.button(key=key).click().run()
        assert not app.exception

    app.switch_page(routes.RUNS).run()
    press("runs_delete")
    press("runs_pin")
    assert set(two) <= {run.id for run in engine.store().runs()}
    assert not any(engine.store().run(r).pinned for r in two)
    for password, message in (("wrong", "not the administrator's"), ("correct horse", "")):
        app.session_state["_inside"] = True
        app.text_input(key="administrator").set_value(password).run()
        assert not app.exception
        assert [message in e.value for e in app.error] == [True] * bool(message)
    press("runs_delete")
    assert not set(two) & {run.id for run in engine.store().runs()}


def test_rows_that_differ_in_settings_seed_or_grid_look_different(app, small_scan, monkeypatch):
    configs = [
        RunConfig(small_scan, "sirt", {"num_iterations": 2}),
        RunConfig(small_scan, "sirt", {"num_iterations": 3}),
        RunConfig(replace(small_scan, seed=4), "sirt", {"num_iterations": 2}),
        RunConfig(replace(small_scan, grid=(8, 32, 32)), "sirt", {"num_iterations": 2}),
    ]
    ids = [engine.queue().submit(config) for config in configs]
    assert all(wait(engine.queue(), run_id, timeout=120).status == "done" for run_id in ids)
    rows = [runs_table.table_row(StoredRun(engine.store().run(run_id), 0, 0.0), {}) for run_id in ids]
    shown = {tuple(str(row[name]) for name in ("Name", "What", "Settings", "Grid", "Seed")) for row in rows}
    assert len(shown) == len(configs)


def test_files_have_readable_names(small_scan):
    run_id = engine.queue().submit(RunConfig(small_scan, "fbp"))
    assert wait(engine.queue(), run_id, timeout=120).status == "done"
    name = labels.file_name(engine.store().run(run_id), small_scan)
    assert name == "tomopatch-spheres-phantom-fbp-8-views-100000-photons-seed-0"
    assert labels.file_name(None, small_scan) == "tomopatch-spheres-phantom-reference"
    stored = replace(small_scan, source="volume:0123456789abcdef")
    assert (
        labels.file_name(None, stored, {"0123456789abcdef": "My CT/../x.nii.gz"})
        == "tomopatch-my-ct-x-reference"
    )
    projections = labels.scan_file_name(small_scan, "projections", with_views=True)
    assert projections == "tomopatch-spheres-phantom-projections-8-views-100000-photons-seed-0"
    assert labels.scan_file_name(small_scan, "comparison") == "tomopatch-spheres-phantom-comparison"
