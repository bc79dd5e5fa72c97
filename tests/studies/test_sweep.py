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
from tomopatch.physics.effect_numbers import effect_numbers
from tomopatch.physics.effects import Effects, Misalignment, Motion, Tube
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.store.store import RunStore
from tomopatch.studies.sweep import (
    SweepConfig,
    format_cells,
    look_up,
    read_values,
    run_sweep,
    seconds_left,
    table,
)
from tomopatch.studies.sweep.config import MAX_CELLS
from tomopatch.studies.sweep.numbers import EXAMPLES, label_of, number_of
from tomopatch.studies.sweep.plot import lines, plot_png

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
        ({"effects": 3}, "effects must be an object"),
        ({"effects": {"tube.magic": [1]}}, "cannot vary 'tube.magic'; it can vary tube.kvp, "),
        ({"effects": {"num_views": [1]}}, "cannot vary 'num_views'"),
        ({"effects": {"tube.kvp": 80}}, "effects.tube.kvp must be a list"),
        ({"effects": {"tube.kvp": ["80"]}}, "effects.tube.kvp must be a number"),
        ({"effects": {"tube.kvp": [80, 10]}}, "the tube voltage \\[kV] must be at least 40, got 10"),
        ({"effects": {"seed": [-1]}}, "the seed must be at least 0"),
        (
            {"effects": {"faults.dead_columns": [1.5]}},
            "dead columns must be a whole number, got 1.5",
        ),
        ({"effects": {"blur.focal_spot": [1]}}, "the focal spot needs a cone beam"),
        (
            {"effects": {"motion.amplitude.y": [1]}},
            "the motion along y has no effect on a motion of kind breathing",
        ),
        ({"effects": {"seed": list(range(MAX_CELLS))}}, "fewer"),
        ({"scan": replace(SCAN, angles=tuple(map(float, range(8))))}, "lists its views"),
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


EFFECTS = {"tube.kvp": (60, 120), "misalignment.axis_offset": (0, 2, 4)}


def test_numbers_of_the_effects_are_varied():
    scan = replace(SCAN, effects=Effects(tube=Tube(100, copper=0.2), motion=Motion("drift", (1, 2, 3))))
    sweep = SweepConfig(scan, ("fbp", "sirt"), num_views=(4, 16), effects={**EFFECTS, "seed": (5,)})
    cells = sweep.cells()
    assert len({c.digest() for c in cells}) == len(cells) == 24
    assert cells[0].scan == cells[1].scan  # simulated once for both methods
    assert {c.scan.effects.tube for c in cells} == {Tube(60, copper=0.2), Tube(120, copper=0.2)}
    assert {c.scan.effects.misalignment for c in cells} == {Misalignment(o) for o in (0, 2, 4)}  # switched on
    assert {c.scan.effects.motion for c in cells} == {scan.effects.motion}
    assert {c.scan.seed for c in cells} == {5}
    assert sweep.varied == ["misalignment.axis_offset", "num_views", "tube.kvp"]
    along_y = SweepConfig(scan, ("fbp",), effects={"motion.amplitude.y": (0, 9)}).cells()
    assert [c.scan.effects.motion.amplitude for c in along_y] == [(1, 0, 3), (1, 9, 3)]


def test_sweeps_of_effects_survive_json_and_others_keep_their_form():
    assert "effects" not in SWEEP.to_json()
    assert (
        SweepConfig(SCAN, ("fbp",), effects={"tube.kvp": ()}).to_json()
        == SweepConfig(SCAN, ("fbp",)).to_json()
    )
    sweep = replace(SWEEP, effects={**EFFECTS, "faults.seed": (1, 2, 1)})
    assert sweep.effects["faults.seed"] == (1, 2)
    again = SweepConfig.from_json(json.loads(json.dumps(sweep.to_json())))
    assert again == sweep
    assert [c.digest() for c in again.cells()] == [c.digest() for c in sweep.cells()]


def test_all_numbers_of_the_effects_can_be_varied():
    """Check that the list has every number of the records, with different labels and valid examples."""
    assert set(EXAMPLES) == {*effect_numbers(), "seed"}
    assert len({label_of(name) for name in EXAMPLES}) == len(EXAMPLES)
    for name, example in EXAMPLES.items():
        kind = "jump" if name == "motion.time" else "breathing" if name == "motion.cycles" else "drift"
        effects = Effects(motion=Motion(kind)) if name.startswith("motion") else Effects()
        scan = replace(SCAN, beam="cone", effects=effects)
        values = read_values(name, example)
        sweep = SweepConfig(scan, ("fdk",), effects={name: values})
        assert [number_of(c.scan, name) for c in sweep.cells()] == list(values)


def test_the_error_grows_with_the_axis_offset(store):
    sweep = SweepConfig(
        replace(SCAN, num_views=32), ("fbp",), effects={"misalignment.axis_offset": (4, 0, 2)}
    )
    cells = do(sweep, store)
    (line,) = lines(sweep, cells, "misalignment.axis_offset").values()
    assert [row["misalignment.axis_offset"] for row in line] == [0, 2, 4]
    errors = [row["rmse_hu"] for row in line]
    assert errors[0] < 0.9 * errors[1] < 0.8 * errors[2]


def test_effects_are_named_in_lines_tables_and_plots(store):
    sweep = SweepConfig(SCAN, ("fbp",), effects={**EFFECTS, "seed": (3,)})
    cells = do(sweep, store)
    assert set(lines(sweep, cells, "misalignment.axis_offset")) == {
        "FBP, tube voltage 60 kV",
        "FBP, tube voltage 120 kV",
    }
    rows = list(csv.DictReader(io.StringIO(table(cells))))
    assert [(r["tube.kvp"], r["misalignment.axis_offset"], r["seed"]) for r in rows[:2]] == [
        ("60.0", "0.0", "3"),
        ("60.0", "2.0", "3"),
    ]
    head, first, *_ = format_cells(cells).splitlines()
    assert head.split()[4:7] == ["tube.kvp", "misalignment.axis_offset", "seed"]
    assert first.split()[4:7] == ["60", "0", "3"]
    assert plot_png(sweep, cells).startswith(b"\x89PNG")


def test_the_command_varies_effects(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["sweep", "phantom:shepp-logan", "--grid", "8x32x32", "--views", "8", "--methods", "fbp"]
    vary = ["--vary", "tube.kvp=60,80", "--vary", "misalignment.axis_offset=-2,0"]
    assert main([*command, *vary, "--json", "--out", str(out)]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["config"]["effects"] == {"tube.kvp": [60, 80], "misalignment.axis_offset": [-2, 0]}
    assert [(r["tube.kvp"], r["misalignment.axis_offset"], r["status"]) for r in report["cells"]] == [
        (60, -2, "done"),
        (60, 0, "done"),
        (80, -2, "done"),
        (80, 0, "done"),
    ]


@pytest.mark.parametrize(
    ("vary", "word"),
    [
        (["tube.kvp"], "--vary takes NAME=VALUE"),
        (["tube.kvp="], "one or more values"),
        (["tube.kvp=60", "tube.kvp=80"], "each name once"),
        (["tube.magic=1"], "cannot vary 'tube.magic'"),
        (["tube.kvp=x"], "Tube voltage: expected numbers like 60, 80, 120; got 'x'"),
        (["tube.kvp=10"], "at least 40"),
    ],
)
def test_the_command_refuses_invalid_effects(tmp_path, capsys, vary, word):
    flags = [part for text in vary for part in ("--vary", text)]
    assert main(["sweep", "phantom:shepp-logan", *flags, "--out", str(tmp_path / "out")]) == 2
    assert word in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


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
        ("faults.gain", "much"),
        ("seed", "1, 2.5"),
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
