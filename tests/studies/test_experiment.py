"""Experiments as files, and runs as notebooks that repeat them."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from tomopatch import load_prior, quality, reconstruct
from tomopatch.reconstruct import make_params
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.prepare import prepare
from tomopatch.store.store import RunStore
from tomopatch.studies.experiment import MAX_RUNS, Experiment
from tomopatch.studies.notebook import notebook

ROOT = Path(__file__).parents[2]
SOURCES = os.pathsep.join(map(str, (ROOT / "core", ROOT)))
SCAN = ScanConfig(
    "phantom:shepp-logan", (8, 32, 32), num_views=8, photons=1e5, seed=3, lesions=(((0, 0, 0), 9, 200),)
)
EXPERIMENT = Experiment(
    SCAN,
    (RunConfig(SCAN, "sirt", {"num_iterations": 4}), RunConfig(SCAN, "fbp")),
    {"num_views": "8, 16", "methods": "fbp"},
    "coronal",
)


def test_experiments_round_trip():
    again = Experiment.from_bytes(EXPERIMENT.to_bytes())
    assert again == EXPERIMENT
    assert [r.digest() for r in again.runs] == [r.digest() for r in EXPERIMENT.runs]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": "x"}, "format"),
        ({"scan": 3}, "scan must be an object"),
        ({"runs": {}}, "runs must be a list"),
        ({"sweep": []}, "sweep"),
        ({"more": 1}, "more"),
        ({"runs": [{}] * 3}, "runs.scan is missing"),
        ({"runs": [{"scan": {}, "method": "fbp"}]}, "source"),
        ({"scan": {"source": "phantom:thorax", "num_views": -1}}, "views"),
        ({"runs": [3]}, "runs must be an object"),
        ({"plane": "oblique"}, "plane"),
        ({"plane": ["axial"]}, "plane"),
    ],
)
def test_invalid_experiments_are_refused(change, word):
    stored = json.loads(EXPERIMENT.to_bytes()) | change
    with pytest.raises(ValueError, match=word):
        Experiment.from_bytes(json.dumps(stored).encode())


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[1, 2]", b"{" * 200_000, b" " * 2_000_000])
def test_other_files_are_refused(data):
    with pytest.raises(ValueError, match=r"JSON|experiment"):
        Experiment.from_bytes(data)
    many = Experiment(SCAN, EXPERIMENT.runs[:1] * MAX_RUNS)
    stored = json.loads(many.to_bytes())
    stored["runs"] *= 2
    with pytest.raises(ValueError, match=f"at most {MAX_RUNS}"):
        Experiment.from_bytes(json.dumps(stored).encode())


def code_cells(data: bytes) -> list[str]:
    """The code of a notebook, cell by cell."""
    book = json.loads(data)
    assert (book["nbformat"], len({c["id"] for c in book["cells"]})) == (4, len(book["cells"]))
    return [c["source"] for c in book["cells"] if c["cell_type"] == "code"]


def evaluated(data: bytes) -> str:
    """Execute the cells of a notebook in a namespace of their own; return the output of the last metrics."""
    *cells, last, figure = code_cells(data)
    names: dict[str, Any] = {}
    for cell in cells:
        exec(cell, names)
    exec(figure, names)
    assert [axis.get_title() for axis in names["figure"].axes] == [name for name, _ in names["volumes"]]
    plt.close(names["figure"])
    return repr(eval(last, names))


def executed(data: bytes, tmp_path: Path, store: Path) -> str:
    """Execute the cells of a notebook in a new Python process; return the output of the last metrics."""
    *cells, last, figure = code_cells(data)
    program = tmp_path / "book.py"
    program.write_text("\n".join([*cells, figure, f"print({last})"]))
    done = subprocess.run(
        [sys.executable, str(program)], capture_output=True, text=True, timeout=300, check=True,
        env=os.environ | {"PYTHONPATH": SOURCES, "TOMOPATCH_STORE": str(store)},
    )  # fmt: skip
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    "run",
    [EXPERIMENT.runs[0], RunConfig(SCAN, "diffusion", {"num_steps": 1, "warm_start": "fbp"}, "small")],
    ids=lambda run: run.method,
)
def test_a_notebook_repeats_the_run(tmp_path, monkeypatch, run):
    prepared = prepare(SCAN)
    prior = load_prior(run.prior) if run.prior else None
    result = reconstruct(
        run.method, prepared.A, prepared.measurement, params=make_params(run.method, run.params), prior=prior
    )
    monkeypatch.setenv("TOMOPATCH_STORE", str(tmp_path / "store"))
    assert evaluated(notebook(run)) == repr(quality(prepared.reference, result.volume))


def test_a_notebook_of_a_new_process_finds_a_stored_volume(tmp_path):
    store = RunStore(tmp_path / "store")
    digest = store.add_volume(prepare(SCAN).reference)
    run = RunConfig(ScanConfig(f"volume:{digest}", num_views=6), "fbp")
    prepared = prepare(run.scan, store)
    result = reconstruct("fbp", prepared.A, prepared.measurement)
    said = executed(notebook(run, name='x"; import os # <b>'), tmp_path, store.root)
    assert said == str(quality(prepared.reference, result.volume))
    assert "<b>" not in notebook(run, name="<b>").decode()


def test_a_notebook_repeats_all_runs_and_simulates_each_scan_once(tmp_path, monkeypatch):
    other = RunConfig(ScanConfig("phantom:shepp-logan", (8, 32, 32), num_views=5), "fbp")
    data = notebook(*EXPERIMENT.runs, other)
    text = "".join(cell["source"] for cell in json.loads(data)["cells"])
    assert (text.count("prepare(scan)"), text.count("= reconstruct(")) == (2, 3)
    prepared = prepare(other.scan)
    result = reconstruct("fbp", prepared.A, prepared.measurement)
    monkeypatch.setenv("TOMOPATCH_STORE", str(tmp_path / "store"))
    assert evaluated(data) == repr(quality(prepared.reference, result.volume))
    with pytest.raises(ValueError, match="one run or more"):
        notebook()
