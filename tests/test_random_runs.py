"""Runs of random configurations, odd geometries above all: each ends in a finite result or in one
sentence.
"""

import re
import warnings
from collections import Counter
from dataclasses import fields

import numpy as np
import pytest
import torch

from tests.reconstruct.diffusion.test_diffusion import CONDITIONAL
from tomopatch.execution.execute import execute
from tomopatch.phantoms.catalogue import PHANTOMS
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.precond import Precond
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.resource_estimate import refusal
from tomopatch.store.store import RunStore
from tomopatch.volume import Volume, VolumeGeometry

COUNTS = (1, 2, 3, 5, 8, 13, 16, 24)
RAW = re.compile(
    r"Traceback|\n|object has no|unsupported operand|expected scalar|not implemented for|index \d+ is out"
)
"""Words of library messages that users do not understand."""
ODD = {
    "beam": ("parallel", "cone"),
    "num_views": (1, 2, 3, 4, 7, 16, 33),
    "angle_range": (0.01, 1.0, 90.0, 179.99, 180.0, 200.0, 359.0, 360.0, 720.0, 36_000.0, 0.0, -90.0),
    "start": (0.0, 45.0, -90.0, 359.9, 1e6, -1e9),
    "src_orig_dist": (800.0, 1e4, 600.0, 250.0, 1.0, 0.0, -800.0, 1e9, 1e300),
    "src_det_dist": (1200.0, 1e4, 1000.0, 801.0, 1.0, 0.0, -1.0, 1e9, 1e300),
    "pixel_size": (
        None,
        (1.0, 1.0),
        (20.0, 3.0),
        (1e-4, 1e-4),
        (500.0, 500.0),
        (1e9, 1e9),
        (0.0, 1.0),
        (-1.0, 1.0),
    ),
    "det_shape": (None, (1, 1), (1, 40), (40, 1), (2, 3), (17, 31), (0, 5)),
    "det_offset": ((0.0, 0.0), (0.0, 40.0), (30.0, -60.0), (0.0, 1e4), (1e9, 0.0), (1e300, 0.0)),
    "tilt": (0.0, 10.0, -45.0, 89.0, 90.0, 180.0, 400.0),
    "pitch": (0.0, 10.0, -200.0, 1e4, 1e12),
    "photons": (None, 1e5, 100.0, 1.0, 1e-3, 1e-300, 1e12),
    "seed": (0, 1, 2**31 - 1),
    "same_grid": (True, False),
    "lesions": ((), (((0.0, 0.0, 0.0), 10.0, 3000.0),), (((1e6, 0.0, 0.0), 200.0, -1024.0),)),
}


def random_scan(rng, sources):
    """A scan whose numbers are usual for the most part, and odd in one to five places."""

    def one_of(values):
        return values[int(rng.integers(len(values)))]

    chosen = {
        "source": one_of(sources),
        "beam": one_of(ODD["beam"]),
        "num_views": one_of(ODD["num_views"]),
        "grid": tuple(one_of(COUNTS) for _ in range(3)),
    }
    for name in rng.permutation(list(ODD))[: int(rng.integers(1, 6))]:
        chosen[str(name)] = one_of(ODD[str(name)])
    return ScanConfig(**chosen)


def random_params(rng, method):
    """Parameters at random within what the form allows, with few iterations."""
    found = {}
    for f in fields(METHODS[method].params):
        if f.name in ("num_iterations", "num_steps"):
            found[f.name] = int(rng.integers(1, 5))
        elif f.name == "num_samples":
            found[f.name] = int(rng.integers(1, 3))
        elif rng.random() < 0.4 and "choices" in f.metadata:
            found[f.name] = f.metadata["choices"][int(rng.integers(len(f.metadata["choices"])))]
        elif rng.random() < 0.3 and isinstance(f.default, bool):
            found[f.name] = bool(rng.integers(2))
        elif rng.random() < 0.3 and isinstance(f.default, float):
            low, high = (f.metadata.get(side) for side in ("low", "high"))
            edge = [value for value in (low, high) if value is not None]
            found[f.name] = float(edge[int(rng.integers(len(edge)))]) if edge else f.default
    return found


def run(store, sources, case, seed=0):
    """Carry out one configuration as a worker does; returns how it ended and the configuration."""
    rng = np.random.default_rng([seed, case])
    method = list(METHODS)[case % len(METHODS)]
    try:
        config = RunConfig(random_scan(rng, sources), method, random_params(rng, method))
        refused = refusal(config, store)
    except ValueError as error:
        return "refused", str(error)
    if refused:
        return "refused", refused
    run_id = store.create(config)
    events = []
    torch.manual_seed(0)
    prior = PatchPrior(Precond(CONDITIONAL)) if METHODS[method].needs_prior else None
    execute(store, run_id, lambda **event: events.append(event), lambda: None, lambda name: prior)
    state = store.run(run_id)
    if state.status == "done":
        volume = store.result(run_id).volume.data
        assert torch.isfinite(volume).all(), config
        assert volume.shape == config.scan.grid
        store.delete(run_id)
        return "done", ""
    assert state.status == events[-1]["status"] == "failed", config
    store.delete(run_id)
    return "failed", state.message


def all_cases(store, sources, cases):
    ended = Counter()
    for case in cases:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                how, message = run(store, sources, case)
        except Exception as error:
            raise AssertionError(f"case {case}: {type(error).__name__}: {error}") from error
        ended[how] += 1
        if how != "done":
            assert message, f"case {case}: no word"
            assert not RAW.search(message), f"case {case}: {message}"
            assert message.rstrip().endswith("."), f"case {case}: {message}"
    return ended


@pytest.fixture
def store(tmp_path):
    return RunStore(tmp_path / "store")


@pytest.fixture
def sources(store):
    """Phantoms, and stored volumes with voxels of very different sizes."""
    data = torch.rand(5, 9, 7) * 0.04
    sizes = ((0.0005, 0.0005, 0.0005), (2.0, 1.0, 1.0), (20.0, 20.0, 20.0), (5.0, 0.1, 30.0))
    stored = [store.add_volume(Volume(data, VolumeGeometry((5, 9, 7), size))) for size in sizes]
    return [*(f"phantom:{name}" for name in PHANTOMS), *(f"volume:{digest}" for digest in stored)]


def test_random_runs_end_in_a_finite_result_or_a_sentence(store, sources, one_thread):
    ended = all_cases(store, sources, range(24))
    assert ended["done"] > 4
    assert ended["refused"] + ended["failed"] > 2


@pytest.mark.slow
def test_hundreds_of_random_runs_end_in_a_finite_result_or_a_sentence(store, sources, one_thread):
    ended = all_cases(store, sources, range(24, 624))
    print(dict(ended))
    assert sum(ended.values()) == 600
    assert ended["done"] > 200


@pytest.mark.parametrize("case", [131])
def test_faults_that_random_runs_found(store, sources, case, one_thread):
    """A misfit so small that its square is 0: the correction of the diffusion methods divided by it."""
    how, message = run(store, sources, case)
    assert how == "done", message
