"""Results that are checked against held-out views."""

from __future__ import annotations

import pytest
import torch

from tomopatch.geometry.beams import ParallelBeam
from tomopatch.physics.measurement import simulate
from tomopatch.projector import Projector
from tomopatch.reconstruct.diffusion.plan import Plan
from tomopatch.reconstruct.held_out import prediction_error, supported, supported_share
from tomopatch.reconstruct.run import Result
from tomopatch.volume import Volume


@pytest.fixture
def held_out(small):
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=4, start=0.3))
    return simulate(small, A)


def result(initial, data):
    plan = Plan("restore", "scan", initial.shape, (1, 1, 1), (1.0, 0.0), 0.0, None, None, ("first",))
    volume = Volume(data, initial.geometry)
    return Result(volume, "diffusion", {}, "done", 1.0, 1.0, initial=initial, plan=plan)


def volumes(small):
    """An initial reconstruction with an error, and what corrects it."""
    generator = torch.Generator().manual_seed(5)
    error = 0.002 * torch.randn(small.shape, generator=generator)
    return Volume(small.data + error, small.geometry), -error


def test_a_change_that_the_views_confirm_is_kept(small, held_out):
    initial, correction = volumes(small)
    given = result(initial, initial.data + correction)
    assert supported(given, held_out) is given


def test_a_change_that_goes_too_far_is_taken_back_as_far_as_the_views_say(small, held_out):
    initial, correction = volumes(small)
    given = result(initial, initial.data + 2 * correction)
    kept = supported(given, held_out)
    assert supported_share(initial, given.volume, held_out) == pytest.approx(0.5, abs=1e-3)
    # the rounding of float32 projections remains
    assert torch.allclose(kept.volume.data, small.data, atol=1e-5)
    assert kept.plan.remarks[0] == "first"
    assert "support 50 %" in kept.plan.remarks[1]


def test_a_change_against_the_views_is_dropped(small, held_out):
    initial, correction = volumes(small)
    kept = supported(result(initial, initial.data - correction), held_out)
    assert torch.equal(kept.volume.data, initial.data)


def test_the_result_never_predicts_the_views_worse_than_the_initial_reconstruction(small, held_out):
    initial, _ = volumes(small)
    before = prediction_error(initial, held_out)[0]
    for seed in range(5):
        change = 0.003 * torch.randn(small.shape, generator=torch.Generator().manual_seed(seed))
        kept = supported(result(initial, initial.data + change), held_out)
        assert prediction_error(kept.volume, held_out)[0] <= before * (1 + 1e-5)


def test_other_methods_and_scans_without_held_out_views_are_left_alone(small, held_out):
    initial, correction = volumes(small)
    given = result(initial, initial.data - correction)
    assert supported(given, None) is given
    plain = Result(small, "tv", {}, "done", 1.0, 1.0)
    assert supported(plain, held_out) is plain
