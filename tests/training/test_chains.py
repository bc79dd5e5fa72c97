"""Reconstructions by the network in training, and their loss after data consistency."""

from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
import torch

from tests.conftest import TINY
from tomopatch import ConeBeam, ParallelBeam, Projector, Volume, phantom, simulate
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.precond import Precond
from tomopatch.reconstruct.diffusion.consistency import posterior_consistency, restoration_consistency
from tomopatch.training.chains import Chains
from tomopatch.training.data_config import DataConfig
from tomopatch.training.pairs import (
    TrainingVolume,
    VoxelRanges,
    make_pairs,
    read_pair,
    simulate_pair,
    write_pair,
)
from tomopatch.training.train_config import TrainConfig
from tomopatch.training.trainer import Trainer

CONDITIONAL = replace(TINY, conditional=True, least_squares=True)
VOXELS = VoxelRanges((6.0, 7.0), (6.0, 8.0))

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def volumes():
    body = phantom("thorax", (16, 48, 48))
    return [TrainingVolume("thorax", body.hu.numpy().astype(np.int16), body.geometry.voxel_size)]


@pytest.fixture(scope="module")
def pairs(volumes):
    return [simulate_pair(volumes, VOXELS, np.random.default_rng(seed)) for seed in range(3)]


def chains(pairs, network=CONDITIONAL, **changes):
    """Chains of a fresh network, which is total variation."""
    torch.manual_seed(0)
    prior = PatchPrior(Precond(network), bf16=False)
    made = Chains(prior, replace(DataConfig(), **changes))
    for pair in pairs:
        made.add(pair)
    return made


@pytest.mark.parametrize("kind", ["restoration", "posterior"])
def test_gradients_pass_data_consistency_backwards(kind, generator):
    """<C'(D) d, g> = <d, pull_back(g)>: C is affine. Conjugate gradients that stop early are nearly so."""
    volume = phantom("spheres", (8, 24, 24))
    A = Projector(volume.geometry, ParallelBeam.circular(volume.geometry, num_views=9))
    measurement = simulate(volume, A)
    y = measurement.projections
    if kind == "restoration":
        consistency = restoration_consistency(A, y, None, 0.9 * volume.data)
    else:
        consistency = posterior_consistency(A, y, None, spread=0.1)
    consistency.max_iterations, consistency.tolerance = 60, 1e-6
    D, d, g = (torch.rand(volume.shape, generator=generator) for _ in range(3))
    difference = consistency(D + d, 0.1) - consistency(D, 0.1)
    forward, backward = float((difference * g).sum()), float((d * consistency.pull_back(g, 0.1)).sum())
    assert forward == pytest.approx(backward, rel=1e-3)
    assert abs(forward) < 0.9 * float((d * g).sum())  # part of the change is taken back


@pytest.mark.parametrize(
    "shares",
    [
        {"unconditional": 0.0, "samples": 0.0},
        {"unconditional": 0.0, "samples": 1.0},
        {"unconditional": 1.0},
    ],
)
@pytest.mark.parametrize("network", [TINY, CONDITIONAL])
def test_each_step_is_a_pass_with_gradients(pairs, network, shares):
    made = chains(pairs, network, **shares)
    # without a condition a pass also computes the tiles of air, which takes longer
    for _ in range(3 if made.config.unconditional else 8):
        step = made.step()
        # relative to the error of the initial reconstruction; without one a fresh network blurs noise
        assert 0 < step.loss < (100 if made.config.unconditional else 3)
        assert step.tiles >= 1
        gradients = [w.grad for w in made.prior.model.parameters() if w.grad is not None]
        assert all(bool(torch.isfinite(g).all()) for g in gradients)
        assert any(float(g.abs().max()) > 0 for g in gradients)
        made.prior.model.zero_grad()


@pytest.mark.parametrize("kept", [0, 24])
def test_gradients_are_those_of_the_loss(pairs, monkeypatch, kept):
    """A small step against the gradient lowers the loss of the same pass as far as the gradient says."""

    monkeypatch.setattr("tomopatch.training.chains.KEPT_TILES", kept)

    def first_pass(change=None):
        made = chains(pairs[:1], unconditional=0.0, samples=0.0)
        model = made.prior.model
        if change is not None:
            with torch.no_grad():
                for weight, shift in zip(model.parameters(), change, strict=True):
                    weight.add_(shift)
        loss = made.step().loss
        return loss, [torch.zeros_like(w) if w.grad is None else w.grad for w in model.parameters()]

    loss, gradient = first_pass()
    squared = sum(float(g.square().sum()) for g in gradient)
    rate = 0.001 * loss / squared
    lower, _ = first_pass([-rate * g for g in gradient])
    assert (loss - lower) / (rate * squared) == pytest.approx(1, abs=0.05)  # the step is not infinitesimal


def test_training_by_chains_improves_restorations(tmp_path, volumes, pairs):
    data = DataConfig(
        voxel_xy=(6.0, 7.0), voxel_z=(6.0, 8.0), chains=1.0, unconditional=0.0, samples=0.0, body=0.0, pool=2
    )
    config = TrainConfig(
        network=CONDITIONAL, data=data, num_steps=36, volumes=2, learning_rate=0.03, warmup=2, cooldown=12,
        ema=0.9,
    )  # fmt: skip
    trainer = Trainer(tmp_path / "run", config, volumes, pairs=pairs[:1])
    losses = []
    trainer.run(log_every=1, validate_every=36, callback=lambda step: losses.append(step.chain_loss))
    assert fmean(losses[-12:]) < 0.93 * fmean(losses[:12])  # 0.84 for three seeds


@pytest.mark.parametrize("beam", [ParallelBeam, ConeBeam])
def test_a_stored_pair_keeps_its_scan(tmp_path, volumes, beam):
    rngs = (np.random.default_rng(seed) for seed in range(40))
    pair = next(p for p in (simulate_pair(volumes, VOXELS, r) for r in rngs) if isinstance(p.geometry, beam))
    write_pair(tmp_path / "a.npz", pair)
    again = read_pair(tmp_path / "a.npz")
    assert again.geometry == pair.geometry
    reference = Volume.from_hu(torch.from_numpy(again.clean), again.grid)
    projected = Projector(again.grid, again.geometry)(reference.data)
    # the scan was made on a finer grid, some of them with photon noise
    assert np.corrcoef(projected.numpy().ravel(), again.projections.ravel())[0, 1] > 0.98


def test_pairs_without_a_scan_are_refused_in_a_sentence(tmp_path, pairs):
    path = tmp_path / "pair-0-00000.npz"
    write_pair(path, pairs[0])
    with np.load(path) as file:
        kept = {name: file[name] for name in file if name not in ("geometry", "projections")}
    np.savez(path, **kept)
    with pytest.raises(ValueError, match="an earlier version made it"):
        make_pairs([], 1, tmp_path, VOXELS)
