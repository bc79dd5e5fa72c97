"""Shared servers: visitors change their own runs only, sweeps leave room for others, file names are
hidden.
"""

import io
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from tomopatch.execution.queue import RunQueue, wait
from tomopatch.io.projections import read_projections
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.limits import ADMINISTRATOR, is_administrators
from tomopatch.runs.run import ACTIVE
from tomopatch.store.store import RunStore
from tomopatch.volume import Volume

SCAN = ScanConfig("phantom:spheres", (16, 32, 32), num_views=8, same_grid=True)
LARGE = replace(SCAN, grid=(32, 96, 96), num_views=24)  # a minute or more of iterations
LONG = RunConfig(LARGE, "sirt", {"num_iterations": 2000})
OTHER = RunConfig(LARGE, "tv", {"num_iterations": 1999})


class Visits:
    """The current visitor."""

    name, administrator = "a", False


@pytest.fixture
def visit():
    return Visits()


@pytest.fixture
def queue(tmp_path, visit, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_SHARED", "1")
    queue = RunQueue(
        RunStore(tmp_path / "store"), visitor=lambda: visit.name, administrator=lambda: visit.administrator
    )
    yield queue
    queue.close()


def active(queue, *run_ids):
    return all(queue.progress(run_id).status in ACTIVE for run_id in run_ids)


def test_only_the_owner_stops_renames_and_deletes_a_run(queue, visit):
    running, waiting = queue.submit(LONG), queue.submit(OTHER)
    visit.name = "b"
    for run_id in (running, waiting):
        for change in (queue.cancel, queue.finish, queue.delete, lambda run_id: queue.rename(run_id, "mine")):
            assert "belongs to another visitor" in change(run_id)
    assert active(queue, running, waiting)
    assert queue.store.run(running).name == ""
    visit.name = "a"
    assert queue.rename(running, "mine") == queue.cancel(waiting) == ""
    assert queue.progress(waiting).status == "cancelled"
    assert queue.store.run(running).name == "mine"
    assert queue.delete(running) == queue.delete(waiting) == ""
    assert queue.store.runs() == []


def test_only_an_administrator_changes_every_run_and_pins(queue, visit):
    run_id = queue.submit(LONG)
    assert "only an administrator" in queue.pin(
        run_id, True
    )  # not even the owner: pinned runs fill the store
    visit.name, visit.administrator = "c", True
    assert queue.pin(run_id, True) == queue.rename(run_id, "ours") == ""
    assert (queue.store.run(run_id).pinned, queue.store.run(run_id).name) == (True, "ours")
    assert queue.delete(run_id) == ""
    assert queue.store.runs() == []


@pytest.mark.parametrize("change", ["cancel", "finish", "delete"])
def test_a_run_of_two_visitors_continues_for_the_other(queue, visit, change):
    run_id = queue.submit(LONG)
    visit.name = "b"
    assert queue.submit(LONG) == run_id
    assert "stays for them" in getattr(queue, change)(run_id)
    assert active(queue, run_id)
    assert "belongs to another visitor" in queue.cancel(run_id)  # it is no longer theirs
    visit.name = "a"
    assert queue.cancel(run_id) == ""
    assert wait(queue, run_id, timeout=60).status == "cancelled"


def test_owners_are_known_after_a_restart_and_of_finished_runs(queue, visit):
    short = RunConfig(SCAN, "fbp")
    run_id = queue.submit(short)
    assert wait(queue, run_id, timeout=120).status == "done"
    visit.name = "b"
    assert "belongs to another" in queue.delete(run_id)
    again = RunQueue(queue.store, visitor=lambda: visit.name)
    try:
        assert "belongs to another" in again.delete(run_id)
        assert again.submit(short) == run_id  # b asks for it, too
        visit.name = "a"
        assert "stays for them" in again.delete(run_id)
        visit.name = "b"
        assert again.delete(run_id) == ""
    finally:
        again.close()


def test_on_a_personal_machine_everything_may_be_changed(queue, visit, monkeypatch):
    monkeypatch.delenv("TOMOPATCH_SHARED")
    run_id = queue.submit(LONG)
    visit.name = "b"
    assert queue.pin(run_id, True) == queue.rename(run_id, "x") == queue.delete(run_id) == ""
    assert queue.store.runs() == []


def test_sweeps_have_a_queue_limit_of_their_own(queue, visit, monkeypatch):
    monkeypatch.setenv("TOMOPATCH_QUEUE_LENGTH", "3")
    cells = [
        queue.submit(RunConfig(LARGE, "sirt", {"num_iterations": 1000 + n}), background=True)
        for n in range(4)
    ]
    assert active(queue, *cells[:3])
    assert "queue of sweeps is full: 3 runs wait" in queue.progress(cells[3]).message
    visit.name = "b"
    asked = [queue.submit(RunConfig(LARGE, "tv", {"num_iterations": 1000 + n})) for n in range(4)]
    assert active(queue, *asked[:3])
    assert "queue is full: 3 runs wait" in queue.progress(asked[3]).message
    assert queue.progress(asked[2]).position < queue.progress(cells[2]).position
    queue.cancel(asked[0])
    assert wait(queue, asked[0], timeout=60).status == "cancelled"
    assert active(queue, queue.submit(RunConfig(SCAN, "cgls")))


def test_a_shared_server_keeps_and_shows_no_file_name(tmp_path, small, monkeypatch):
    store = RunStore(tmp_path / "store")
    named = Volume(small.data, small.geometry, "Jane Doe 1970.nii.gz")
    before = store.add_volume(named)
    assert store.volume(before).name == "Jane Doe 1970.nii.gz"
    monkeypatch.setenv("TOMOPATCH_SHARED", "1")
    after = store.add_volume(Volume(small.data * 0.9, small.geometry, "Jane Doe 1971.nii.gz"))
    for digest in (before, after):  # what was stored before the server was shared is not shown either
        assert store.volume(digest).name == f"Upload {digest[:6]}"
    assert {v.name for v in store.volumes()} == {f"Upload {before[:6]}", f"Upload {after[:6]}"}
    folder = store.root / "volumes" / after
    assert not any(b"Jane" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_a_shared_server_keeps_no_file_name_of_a_measured_scan(tmp_path, monkeypatch):
    """Neither as its name nor in a note of the reader."""
    view, names = io.BytesIO(), ("dark_1.tif", "view_1.tif", "view_2.tif")
    tifffile.imwrite(view, np.full((4, 6), 3, np.uint16))
    monkeypatch.setenv("TOMOPATCH_SHARED", "1")
    store = RunStore(tmp_path / "store")
    scan = read_projections(
        [(f"Jane Doe {name}", view.getvalue()) for name in names],
        geometry={"quantity": "counts", "white_level": 9.0, "angle_start_deg": 0, "angle_step_deg": 90},
    )
    assert scan.notes == ("1 dark frame by the file names.",)
    digest = store.add_scan(scan)
    assert store.scan(digest).name == f"Upload {digest[:6]}"
    folder = store.root / "scans" / digest
    assert not any(b"Jane" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("password", "given", "right"), [
    ("correct horse", "correct horse", True),
    ("correct horse", "correct horsf", False),
    ("correct horse", "", False),
    ("short", "short", False),
    ("", "", False),
    ("pässwörd-lang", "pässwörd-lang", True),
])  # fmt: skip
def test_the_administrators_password(monkeypatch, password, given, right):
    monkeypatch.setenv(ADMINISTRATOR, password)
    assert is_administrators(given) == right


def test_visitors_cannot_fill_the_disk_with_volumes(tmp_path, small, monkeypatch):
    store = RunStore(tmp_path / "store")
    monkeypatch.setenv("TOMOPATCH_STORE_LIMIT_GB", str(1.5e-9 * small.data.numel() * 4))
    monkeypatch.setenv("TOMOPATCH_SHARED", "1")
    digest = store.add_volume(small)
    with pytest.raises(ValueError, match=r"no room for another upload .* Choose one of them"):
        store.add_volume(Volume(small.data * 0.5, small.geometry))
    assert store.add_volume(small) == digest  # it is there already
    monkeypatch.delenv("TOMOPATCH_SHARED")
    store.add_volume(Volume(small.data * 0.5, small.geometry))
