"""Total variation: the data term's filtered step, and the end of the iteration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.progress import last
from tomopatch.projector import Projector
from tomopatch.reconstruct.classical.coarse import tv_coarse_to_fine
from tomopatch.reconstruct.classical.total_variation import Convergence, DataStep, convolved, ramp, tv
from tomopatch.volume import MU_WATER, VolumeGeometry, resample

TINY = VolumeGeometry((3, 10, 10), (2.0, 1.0, 1.0))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(2)


def matrix(f, shape):
    """The matrix of a linear function of volumes or rows."""
    basis = torch.eye(math.prod(shape)).unflatten(1, shape)
    return torch.stack([f(e).flatten() for e in basis], 1).double().numpy()


def test_the_filter_is_a_symmetric_positive_operator_below_its_largest_factor():
    m = matrix(lambda y: convolved(y, ramp(9)), (1, 2, 9))
    assert np.allclose(m, m.T, atol=1e-6)  # rounding of float32 transforms
    values = np.linalg.eigvalsh(m)
    assert values[0] > 0.04  # LOWEST is 0.05; rows are a section of the circulant
    assert values[-1] < 1 + 1e-6


@pytest.mark.parametrize("views", [1, 4, 12])
@pytest.mark.parametrize("beam", [ParallelBeam, ConeBeam])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_norm_of_the_filtered_data_term_is_bounded(views, beam, weighted, generator):
    """Against its singular values, on a grid that is small enough to have a matrix."""
    A = Projector(TINY, beam.circular(TINY, num_views=views))
    y = A(torch.full(TINY.shape, MU_WATER))
    weights = 1e4 * (0.1 + torch.rand(y.shape, generator=generator)) if weighted else None
    data = DataStep(A, y, weights)
    root = matrix(lambda r: convolved(r, data.ramp), y.shape)
    K = matrix(lambda x: data.root * A(x), TINY.shape)
    norm = np.linalg.eigvalsh(K.T @ root @ K)[-1]
    assert norm <= data.filtered_norm() <= 1.25 * norm


def test_without_rays_total_variation_alone_is_left():
    pg = ParallelBeam.circular(TINY, num_views=2, det_offset=(0.0, 1e4))
    A = Projector(TINY, pg)
    x = last(tv(A, torch.zeros(A.range_shape), x_init=torch.rand(TINY.shape), num_iterations=50)).x
    assert bool(torch.isfinite(x).all())


@pytest.fixture
def scan(small):
    coarse = resample(small, (8, 24, 24))
    A = Projector(coarse.geometry, ParallelBeam.circular(coarse.geometry, num_views=12))
    return A, A(coarse.data)


@pytest.mark.parametrize("lam", [0.00025, 0.005])
def test_it_stops_when_it_has_converged(scan, lam):
    A, y = scan
    stopped = last(tv(A, y, lam=lam, num_iterations=1000))
    limit = last(tv(A, y, lam=lam, num_iterations=1000, tolerance=0)).x
    assert stopped.i == stopped.total < 300
    # the estimate of the distance is good to about a factor of two
    assert float((stopped.x - limit).norm() / limit.norm()) < 2 * 0.008


def test_a_tolerance_of_zero_makes_all_iterations(scan):
    A, y = scan
    assert last(tv(A, y, num_iterations=150, tolerance=0)).i == 150


def test_the_number_of_iterations_is_a_limit(scan):
    A, y = scan
    steps = list(tv(A, y, num_iterations=12))
    assert [s.total for s in steps] == [12] * 12


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.97])
def test_the_forecast_of_a_geometric_sequence_is_right(rate):
    """Distance to the limit after i changes rate^i: rate^(i+1) / (1 - rate)."""
    convergence = Convergence(1e-3)
    expected = math.ceil(math.log(1e-3 * (1 - rate)) / math.log(rate) - 1)
    for i in range(1, 400):
        convergence.add(rate**i)
        forecast = convergence.forecast(i)
        if i >= Convergence.LEAST:
            assert forecast == pytest.approx(max(i, expected), abs=1)


def test_growing_changes_have_no_end_in_sight():
    convergence = Convergence(1e-3)
    for i in range(1, 100):
        convergence.add(1.0 + 0.001 * i)
    assert convergence.forecast(99) == Convergence.NEVER


def test_the_share_of_work_grows_to_one_over_all_grids(small):
    vg = small.geometry
    A = Projector(vg, ParallelBeam.circular(vg, num_views=8))
    work = [s.work for s in tv_coarse_to_fine(A, A(small.data), lam=0.00025, num_iterations=250)]
    assert work[0] > 0
    assert min(np.diff(work)) >= 0
    assert work[-1] == 1
