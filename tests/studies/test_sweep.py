"""Sweeps: their cells, running the missing ones, tables and plots."""

import csv
import io
import itertools
import json
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from tempfile import TemporaryDirectory

import pytest

from tomopatch.cli.main import main
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.store.store import RunStore
from tomopatch.studies.sweep import (
    MAX_CELLS,
    SweepConfig,
    look_up,
    read_values,
    run_sweep,
    seconds_left,
    table,
)
from tomopatch.studies.sweep_plot import lines, plot_png

SCAN = ScanConfig("phantom:shepp-logan", (8, 32, 32), num_views=8)
SWEEP = SweepConfig(
    SCAN, ("fbp", "sirt"), num_views=(4, 16), photons=(None, 1e4), params={"sirt": {"num_iterations": 5}}
)


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "store")


def do(sweep, store, most=1000):
    """Run a sweep, or its first `most` states; return the last state."""
    states = run_sweep(sweep, store, prior=lambda: None, progress=lambda label: nullcontext())
    for cells in itertools.islice(states, most):
        last = list(cells)
    return last


def test_cells_are_all_combinations_grouped_by_scan():
    cells = SWEEP.cells()
    assert len({c.digest() for c in cells}) == len(cells) == 8
    assert [c.method for c in cells[:2]] == ["fbp", "sirt"]
    assert cells[0].scan == cells[1].scan  # simulated once for both
    assert {(c.scan.num_views, c.scan.photons) for c in cells} == {(4, None), (4, 1e4), (16, None), (16, 1e4)}
    assert all(c.scan.angle_range == SCAN.angle_range for c in cells)
    assert all(c.params["num_iterations"] == 5 for c in cells if c.method == "sirt")
    assert SWEEP.varied == ["num_views", "photons"]


def test_sweeps_survive_json():
    again = SweepConfig.from_json(json.loads(json.dumps(SWEEP.to_json())))
    assert again == SWEEP
    assert [c.digest() for c in again.cells()] == [c.digest() for c in SWEEP.cells()]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"methods": []}, "at least one"),
        ({"methods": ["fdk"]}, "FDK cannot reconstruct"),
        ({"methods": ["magic"]}, "magic"),
        ({"num_views": [0]}, "number of views"),
        ({"photons": [-1]}, "photons"),
        ({"angle_range": ["x"]}, "angle_range must be a number"),
        ({"num_views": list(range(1, MAX_CELLS))}, "fewer"),
        ({"num_views": 3}, "list"),
        ({"photons": [[1]]}, "photons must be a number"),
        ({"volume": 3}, "volume"),
    ],
)
def test_invalid_sweeps_are_refused(change, word):
    with pytest.raises(ValueError, match=word):
        SweepConfig.from_json(SWEEP.to_json() | change)


def test_a_sweep_resumes_where_it_stopped(store):
    done = do(SWEEP, store, most=4)  # the start and three cells
    assert [c.done for c in done] == [True] * 3 + [False] * 5
    half = store.create(SWEEP.cells()[3])  # and one that a killed process left behind
    other = store.create(RunConfig(replace(SCAN, num_views=77), "fbp"))  # and one of another sweep
    whole = do(SWEEP, store)
    assert all(c.done for c in whole)
    assert [c.run.id for c in whole[:3]] == [c.run.id for c in done[:3]]
    assert whole[3].run.id == half
    assert other not in [run.id for run in store.runs()]
    assert len(store.runs()) == 8  # nothing twice, nothing left over
    assert do(SWEEP, store, most=1) == whole  # at once


def test_a_finished_cell_keeps_no_previews(store, monkeypatch):
    monkeypatch.setattr("tomopatch.execution.monitor.PREVIEW_SECONDS", 0.0)
    do(SWEEP, store)
    assert list(store.root.glob("runs/*/live-*")) == []
    assert list(store.root.glob("runs/*/history/*"))  # the history stays


@pytest.mark.parametrize("times", [1, 3])  # number of times that the user presses Ctrl+C
def test_an_interrupted_cell_resumes_from_its_checkpoint(store, monkeypatch, times):
    monkeypatch.setenv("TOMOPATCH_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr("tomopatch.execution.monitor.CHECKPOINT_SHARE", 1e9)  # after every step
    sweep = SweepConfig(SCAN, ("sirt",), params={"sirt": {"num_iterations": 12}})
    seen = []

    @contextmanager
    def interrupted(label):
        def tell(point):
            seen.append(point.i)
            if len(seen) in range(3, 3 * times + 1, 3):
                raise KeyboardInterrupt

        yield tell

    for _ in range(times):
        with pytest.raises(KeyboardInterrupt):
            list(run_sweep(sweep, store, prior=lambda: None, progress=interrupted))
    *_, cells = run_sweep(sweep, store, prior=lambda: None, progress=interrupted)
    assert cells[0].done
    assert len(seen) < 12 + 2 * times, "the steps that were kept are not done again"
    whole = replace(sweep, params={"sirt": {"num_iterations": 12}})
    with TemporaryDirectory() as folder:
        *_, alone = run_sweep(
            whole, RunStore(folder), prior=lambda: None, progress=lambda label: nullcontext()
        )
    assert cells[0].run.metrics == alone[0].run.metrics


def test_a_wider_sweep_reuses_the_cells_of_a_narrower_one(store):
    do(SWEEP, store)
    wider = replace(SWEEP, num_views=(4, 8, 16))
    assert [c.done for c in look_up(wider, store.runs())].count(False) == 4


def test_more_views_and_photons_are_better_in_the_table(store):
    rows = list(csv.DictReader(io.StringIO(table(do(SWEEP, store)))))
    psnr = {(r["method"], r["num_views"], r["photons"]): float(r["psnr"]) for r in rows}
    for method in ("fbp", "sirt"):
        assert psnr[method, "16", ""] > psnr[method, "4", ""]
        assert psnr[method, "16", ""] > psnr[method, "16", "10000.0"]
    assert all(float(r["seconds"]) > 0 and r["status"] == "done" for r in rows)


def test_a_failed_cell_has_a_message_and_the_next_one_runs(store):
    sweep = SweepConfig(replace(SCAN, source="phantom:nobody"), ("fbp",), num_views=(4, 8))
    cells = do(sweep, store)
    assert [c.run.status for c in cells] == ["failed", "failed"]
    assert "nobody" in cells[0].run.message
    assert cells[0].row()["psnr"] is None


def test_lines_join_cells_that_differ_only_in_x(store):
    cells = do(SWEEP, store)
    found = lines(SWEEP, cells, "num_views")
    assert set(found) == {
        "FBP, no noise",
        "FBP, 10\u202f000 photons",
        "SIRT, no noise",
        "SIRT, 10\u202f000 photons",
    }
    assert [row["num_views"] for row in found["FBP, no noise"]] == [4, 16]
    by_dose = lines(SWEEP, cells, "photons")
    assert [row["photons"] for row in by_dose["SIRT, 4 views"]] == [1e4, None]  # no noise is best
    assert plot_png(SWEEP, cells).startswith(b"\x89PNG")
    assert plot_png(SWEEP, look_up(SWEEP, [])).startswith(b"\x89PNG")


def test_the_command_writes_and_resumes(tmp_path, capsys):
    command = [
        "sweep",
        "phantom:shepp-logan",
        "--grid",
        "8x32x32",
        "--views",
        "4,8",
        "--photons",
        "none,1e4",
        "--methods",
        "fbp,sirt",
        "--set",
        "sirt.num_iterations=3",
        "--out",
        str(tmp_path / "out"),
    ]
    assert main(command) == 0
    assert "failed" not in capsys.readouterr().out
    first = (tmp_path / "out" / "sweep.csv").read_text()
    assert len(first.splitlines()) == 9
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (tmp_path / "out" / "sweep.csv").read_text() == first  # the same runs, with the same times
    assert report == json.loads((tmp_path / "out" / "sweep.json").read_text())
    assert main([*command[:4], "--methods", "fdk", "--out", str(tmp_path / "other")]) == 2
    assert not (tmp_path / "other").exists()


def test_typed_values_are_parsed_or_refused_by_name():
    assert read_values("num_views", "8, 20;60  90") == (8, 20, 60, 90)
    assert read_values("photons", "none, 1e4") == (None, 1e4)
    assert read_values("angle_range", " ") == ()
    for name, text in (
        ("num_views", "8, twenty"),
        ("num_views", "8.5"),
        ("angle_range", "90°"),
        ("photons", "lots"),
    ):
        with pytest.raises(ValueError, match=f"expected .* got '{text.split()[-1]}'"):
            read_values(name, text)


def test_the_time_left_is_estimated_from_similar_runs(store):
    cells = look_up(SWEEP, [])
    assert seconds_left(cells, []) is None
    runs = [c.run for c in do(SWEEP, store)]
    total = seconds_left(cells, runs)
    by_method = {m: sorted(r.seconds for r in runs if r.config.method == m) for m in SWEEP.methods}
    assert 4 * sum(t[0] for t in by_method.values()) <= total <= 4 * sum(t[-1] for t in by_method.values())
    assert seconds_left(look_up(SWEEP, runs), runs) == 0
