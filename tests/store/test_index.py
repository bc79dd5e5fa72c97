"""The store's index: fast, and always consistent with the folders."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.store.index import Entry, RunIndex
from tomopatch.store.store import RunStore

SCAN = ScanConfig("phantom:spheres", (8, 16, 16))


def config(n):
    return RunConfig(SCAN, "sirt", {"num_iterations": n})


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "store")


def states(store):
    """State of the store as read from its folders."""
    return {
        folder.name: json.loads((folder / "state.json").read_text())["status"]
        for folder in (store.root / "runs").iterdir()
    }


def listed(store):
    return {run.id: run.status for run in store.all_runs()}


def test_changes_at_the_same_time_are_all_kept(store):
    """The server names a run while a worker changes its status: neither overwrites the other's field."""
    run_id = store.create(config(1))
    stores = {"name": RunStore(store.root), "message": RunStore(store.root)}  # as in two processes

    def change(field):
        lost = 0
        for i in range(100):
            stores[field].update(run_id, **{field: str(i)})
            state = json.loads((store.root / "runs" / run_id / "state.json").read_text())
            lost += state[field] != str(i)
        return lost

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(change, stores, timeout=60)) == [0, 0]


def test_the_index_follows_every_change(store):
    other = RunStore(store.root)  # as in another process
    first, second = store.create(config(1)), other.create(config(2))
    assert listed(store) == listed(other) == {first: "queued", second: "queued"}
    assert store.find(config(2)) is None
    other.update(second, status="done")
    assert store.find(config(2)) == second
    assert listed(store) == states(store)
    store.delete(second)
    assert other.find(config(2)) is None
    assert listed(other) == {first: "queued"}


@pytest.mark.parametrize("harm", ["gone", "garbled", "cut", "older", "not a table"])
def test_the_index_is_rebuilt_from_the_folders(store, harm):
    ids = [store.create(config(n)) for n in range(1, 6)]
    store.update(ids[3], status="done", name="kept")
    before = listed(store)
    path = store.root / "index.sqlite"
    if harm in ("older", "not a table"):
        with sqlite3.connect(path) as database:
            database.execute("PRAGMA user_version = 0" if harm == "older" else "DROP TABLE runs")
    else:
        for name in ("index.sqlite-wal", "index.sqlite-shm"):
            (store.root / name).unlink(missing_ok=True)
        if harm == "gone":
            path.unlink()
        else:
            path.write_bytes(b"nonsense" * 999 if harm == "garbled" else path.read_bytes()[:5000])
    for reader in (RunStore(store.root), store):
        assert listed(reader) == before
        assert reader.find(config(4)) == ids[3]
        assert reader.run(ids[3]).name == "kept"
    store.update(ids[0], status="done")
    assert RunStore(store.root).find(config(1)) == ids[0]


def test_folders_added_or_removed_by_hand_are_noticed(store):
    ids = [store.create(config(n)) for n in (1, 2)]
    assert len(store.all_runs()) == 2
    shutil.copytree(store.run_folder(ids[0]), store.root / "runs" / "copied")
    shutil.rmtree(store.run_folder(ids[1]))
    assert set(listed(store)) == {ids[0], "copied"}
    store.update("copied", status="done")
    assert store.find(config(1)) == "copied"


def test_a_writer_that_dies_leaves_no_wrong_entry(store, monkeypatch):
    run_id = store.create(config(1))

    def die(path, data):
        path.write_bytes(data)
        raise KeyboardInterrupt

    monkeypatch.setattr("tomopatch.store.store.write_bytes", die)
    with pytest.raises(KeyboardInterrupt):
        store.update(run_id, status="done")
    monkeypatch.undo()
    assert listed(RunStore(store.root)) == {run_id: "done"}
    assert RunStore(store.root).find(config(1)) == run_id


def test_a_store_with_an_unusable_index_is_read(store, monkeypatch):
    ids = [store.create(config(n)) for n in (1, 2)]
    store.update(ids[0], status="done")

    def refuse(*args, **options):
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr("tomopatch.store.index.sqlite3.connect", refuse)
    reader = RunStore(store.root)
    assert listed(reader) == {ids[0]: "done", ids[1]: "queued"}
    assert reader.find(config(1)) == ids[0]


WRITER = """
import os, sys
from tomopatch.store.store import RunStore
from tomopatch.runs.config import RunConfig, ScanConfig
root, *writers = sys.argv[1:]
while len(writers) > 1:
    if os.fork() == 0:
        writers = writers[:1]
    else:
        del writers[0]
store, who = RunStore(root), int(writers[0])
for n in range(20):
    run_id = store.create(RunConfig(ScanConfig("phantom:spheres", (8, 16, 16)), "sirt",
      {"num_iterations": 1 + n + 20 * who}))
    store.update(run_id, status="running")
    store.all_runs()
    store.update(run_id, status="done", seconds=float(n))
while hasattr(os, "fork"):
    try:
        assert os.wait()[1] == 0
    except ChildProcessError:
        break
"""


def test_several_processes_write_at_once(store):
    # one import of the engine is enough where processes can be forked
    programs = [("0", "1", "2")] if hasattr(os, "fork") else ["0", "1", "2"]
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(store.root), *who]) for who in programs]
    assert {w.wait(300) for w in writers} == {0}
    assert len(listed(store)) == 60
    assert set(listed(store).values()) == {"done"}
    assert all(store.find(config(n)) is not None for n in range(1, 61))
    with sqlite3.connect(store.root / "index.sqlite") as database:
        assert database.execute("SELECT count(*) FROM runs WHERE changing > 0").fetchone() == (0,)


def test_a_run_that_changes_while_it_is_read_keeps_its_newer_entry(store):
    run_id = store.create(config(1))
    path = store.root / "index.sqlite"
    path.unlink()  # so that the next listing reads the folders
    other = RunStore(store.root)

    def outdated(name):
        files = ((store.root / "runs" / name / file).read_text() for file in ("state.json", "config.json"))
        entry = Entry(name, config(1).digest(), *files)
        other.update(name, status="done")
        return entry

    assert len(RunIndex(path, names=lambda: {run_id}, read=outdated).entries()) == 1
    assert listed(other) == {run_id: "done"}


def test_listing_does_not_open_the_folders(store, monkeypatch):
    """Opening files is slow; with the index, no file of a run is opened."""
    ids = [store.create(config(n)) for n in range(1, 40)]
    store.update(ids[5], status="done")
    before = listed(store)
    fresh = RunStore(store.root)
    monkeypatch.setattr("tomopatch.store.store.read_json", lambda path: pytest.fail(f"{path} was opened"))
    assert listed(fresh) == before
    assert fresh.find(config(6)) == ids[5]
