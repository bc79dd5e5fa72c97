"""Continuing after a step: the method's state, written to a file and read again, gives what the whole run
gives.
"""

import sys
from functools import partial

import pytest
import torch

from tomopatch import ConeBeam, ParallelBeam, Projector, Volume, VolumeGeometry, reconstruct, simulate
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.generation import generate
from tomopatch.prior.network import NetworkConfig
from tomopatch.prior.precond import Precond
from tomopatch.reconstruct.diffusion import tuned
from tomopatch.reconstruct.diffusion.method import diffusion
from tomopatch.reconstruct.methods import METHODS
from tomopatch.store.checkpoint import Checkpoint, read_checkpoint, write_checkpoint

ITERATIVE = [name for name, method in METHODS.items() if hasattr(method.params, "num_iterations")]
CONFIG = NetworkConfig(
    patch_size=8, channels=(8, 8), blocks=(1, 1), embed=8, fine_channels=4, fine_blocks=1, smoothings=(),
    conditional=True, least_squares=True,
)  # fmt: skip


@pytest.fixture
def tiny():
    """A network of random weights: what it makes of a volume hangs on every voxel and on the tiling."""
    torch.manual_seed(0)
    precond = Precond(CONFIG)
    with torch.no_grad():
        for weights in precond.parameters():
            weights.add_(0.05 * torch.randn(weights.shape))
    return PatchPrior(precond)


@pytest.fixture
def small():
    """Random voxels on a grid of a few tiles."""
    vg = VolumeGeometry((8, 24, 24), (2.0, 1.0, 1.0))
    return Volume(0.02 * torch.rand(vg.shape, generator=torch.Generator().manual_seed(4)), vg)


@pytest.fixture(autouse=True)
def short_initial_reconstructions(monkeypatch, one_thread):
    """Six iterations make the initial reconstruction, two of them on a finer grid."""
    monkeypatch.setattr(
        sys.modules["tomopatch.reconstruct.methods"], "diffusion", partial(diffusion, initial_iterations=6)
    )


def kept_at(stage, i, folder):
    """A callback that writes the state after step i of the stage and stops there."""

    def callback(step):
        if step.stage == stage and step.i == i:
            write_checkpoint(folder, Checkpoint("digest", step.state, [], 0))
            raise StopIteration

    return callback


@pytest.mark.parametrize("beam", [ParallelBeam, ConeBeam])
@pytest.mark.parametrize("method", ITERATIVE)
@pytest.mark.parametrize("photons", [None, 1e4])
def test_iterative_methods_go_on_bit_by_bit(small, tmp_path, method, beam, photons):
    A = Projector(small.geometry, beam.circular(small.geometry, num_views=8))
    m = simulate(small, A, photon_count=photons, generator=torch.Generator().manual_seed(1))
    whole = reconstruct(method, A, m, num_iterations=12)
    for i in (1, 7):
        cut = reconstruct(method, A, m, num_iterations=12, callback=kept_at("", i, tmp_path))
        assert cut.status == "stopped"
        state = read_checkpoint(tmp_path, "digest").state
        received = []
        again = reconstruct(
            method,
            A,
            m,
            num_iterations=12,
            state=state,
            callback=lambda step, received=received: received.append(step.i),
        )
        assert received == list(range(i + 1, 13))
        assert torch.equal(again.volume.data, whole.volume.data)
        assert again.residuals == whole.residuals
        assert not torch.equal(cut.volume.data, whole.volume.data)


@pytest.mark.parametrize(
    ("options", "stage", "i"),
    [
        ({}, "initial", 5),
        ({}, "", 1),
        ({}, "", 3),
        ({"mode": "posterior", "eta": 0.5}, "", 2),
        ({"mode": "posterior", "num_steps": 9}, "", 1),
        ({"mode": "posterior", "num_steps": 9}, "", 2),
        ({"num_samples": 2}, "", 2),
        ({"num_samples": 2}, "", 4),  # between two samples
        ({"num_samples": 2}, "", 6),
        ({"initial": "sirt"}, "initial", 5),
        ({"sigma_max": 0.1}, "", 2),
        ({"mode": "posterior", "condition": "none"}, "", 2),
    ],
)
def test_diffusion_goes_on_bit_by_bit(small, tiny, tmp_path, options, stage, i):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=16))
    m = simulate(small, A, photon_count=1e4, generator=torch.Generator().manual_seed(1))
    common = {"num_steps": 4, "seed": 3} | options
    whole = reconstruct("diffusion", A, m, prior=tiny, **common)
    reconstruct("diffusion", A, m, prior=tiny, callback=kept_at(stage, i, tmp_path), **common)
    state = read_checkpoint(tmp_path, "digest").state
    received = []
    again = reconstruct("diffusion", A, m, prior=tiny, state=state, callback=received.append, **common)
    assert all(type(step.i) is int for step in received)  # which is written into files
    assert torch.equal(again.volume.data, whole.volume.data)
    assert again.residuals == whole.residuals
    if whole.std is not None:
        assert torch.equal(again.std.data, whole.std.data)
    assert again.plan.sigmas == whole.plan.sigmas
    assert again.plan.remarks == whole.plan.remarks
    other = reconstruct("diffusion", A, m, prior=tiny, **(common | {"seed": 4}))
    assert not torch.equal(other.volume.data, whole.volume.data)


@pytest.mark.parametrize("mode", ["restore", "posterior"])
@pytest.mark.parametrize("number", [2, 8, 11, 13, 15])
def test_coarse_to_fine_goes_on_at_any_stage(small, tiny, tmp_path, number, mode, monkeypatch):
    """On the coarser grid, in its start and in its passes, then in the start and the passes of the finer
    one.
    """
    monkeypatch.setattr(tuned, "COARSEST", 12)
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=8))
    m = simulate(small, A)
    steps = []

    def keep(step):
        steps.append(step)
        if len(steps) == number:
            write_checkpoint(tmp_path, Checkpoint("digest", step.state, [], 0))

    common = {"num_steps": 4, "seed": 3, "mode": mode, "prior": tiny}
    whole = reconstruct("diffusion", A, m, callback=keep, **common)
    received = []
    again = reconstruct(
        "diffusion", A, m, state=read_checkpoint(tmp_path, "digest").state,
        callback=received.append, **common,
    )  # fmt: skip
    assert [(s.stage, s.i) for s in received] == [(s.stage, s.i) for s in steps[number:]]
    assert torch.equal(again.volume.data, whole.volume.data)
    assert again.plan == whole.plan
    assert again.plan.coarse is not None


def test_generation_goes_on_bit_by_bit(tiny, tmp_path):
    vg = VolumeGeometry((8, 16, 16), (4.0, 4.0, 4.0))
    whole = generate(tiny, vg, num_steps=6, seed=2)
    generate(tiny, vg, num_steps=6, seed=2, callback=kept_at("", 3, tmp_path))
    again = generate(tiny, vg, num_steps=6, seed=2, state=read_checkpoint(tmp_path, "digest").state)
    assert torch.equal(again.data, whole.data)


def test_only_the_run_that_left_it_takes_a_checkpoint(tmp_path):
    state = {"x": torch.arange(6.0).reshape(1, 2, 3), "i": 4, "power": 0.1}
    write_checkpoint(tmp_path, Checkpoint("digest", state, [], 2))
    found = read_checkpoint(tmp_path, "digest")
    assert torch.equal(found.state["x"], state["x"])
    assert (found.state["i"], found.state["power"], found.frames) == (4, 0.1, 2)
    assert type(found.state["i"]) is int
    assert read_checkpoint(tmp_path, "of other weights") is None
    path = tmp_path / "checkpoint.npz"
    whole = path.read_bytes()
    for corrupted in (whole[:-40], whole[:100] + bytes(8) + whole[108:], b""):
        path.write_bytes(corrupted)
        assert read_checkpoint(tmp_path, "digest") is None  # it begins anew
