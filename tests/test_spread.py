"""A prior whose tiles are denoised by other processes: the same volume, and a word where that cannot be."""

import multiprocessing
import os
from concurrent.futures import Executor, Future, ProcessPoolExecutor

import pytest
import torch

from core import ParallelBeam, Projector, load_prior, phantom, reconstruct, simulate
from core.prior.denoiser import Precond
from core.prior.files import save_prior
from core.prior.spread import SpreadPrior, denoise_apart
from core.reconstruct.methods import make_params
from tests.conftest import TINY

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def path(tmp_path):
    torch.manual_seed(0)
    save_prior(tmp_path / "tiny.safetensors", Precond(TINY))
    return tmp_path / "tiny.safetensors"


@pytest.fixture(scope="module")
def workers():
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


class Counting(Executor):
    """Runs tasks as they come and notes how many were handed out before the first result was asked for."""

    def __init__(self):
        self.tasks, self.floats = 0, 0

    def submit(self, fn, /, *args, **kwargs):
        self.tasks += 1
        self.floats += args[1].size
        done = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def test_workers_denoise_the_same_volume(path, workers, generator):
    here, apart = load_prior(path).at((4.0, 2.0, 2.0)), SpreadPrior(path, workers, tile_batch=8, ahead=3)
    here.tile_batch = 8
    x = torch.rand((20, 30, 26), generator=generator)  # not a multiple of the tile: padded, and it wraps
    keep = torch.zeros(x.shape, dtype=torch.bool)
    keep[:, 10:] = True
    results = [
        prior(x, 0.2, keep=keep, generator=torch.Generator().manual_seed(3))
        for prior in (here, apart.at((4.0, 2.0, 2.0)))
    ]
    # the same tiles by the same code; other processes may use other kernels, which round differently
    torch.testing.assert_close(*results, rtol=0, atol=1e-5)
    pids = {workers.submit(os.getpid).result() for _ in range(8)}
    assert os.getpid() not in pids


def test_a_whole_reconstruction_is_the_same(path, workers):
    volume = phantom("thorax", (16, 32, 32))
    A = Projector(volume.geometry, ParallelBeam.circular(volume.geometry, num_views=8))
    measurement = simulate(volume, A)
    params = make_params("diffusion", {"num_steps": 2, "warm_start": "fbp"})
    results = [
        reconstruct("diffusion", A, measurement, params=params, prior=prior)
        for prior in (load_prior(path), SpreadPrior(path, workers))
    ]
    a, b = (result.volume.data for result in results)
    torch.testing.assert_close(a, b, rtol=0, atol=1e-5 * float(a.abs().max()))


def test_what_travels_is_a_tile_and_its_surround(path):
    """Two volumes' worth of voxels out, however many tasks: what the plan for large volumes counts with."""
    counting = Counting()
    prior = SpreadPrior(path, counting, tile_batch=4)
    x = torch.rand((16, 32, 24))
    prior(x, 0.3)
    assert counting.floats == 2 * x.numel()
    assert counting.tasks == x.numel() // TINY.patch_size**3 // 4


def test_other_weights_at_a_worker_are_refused(path):
    parts, whole = torch.zeros((1, 2, 8, 8, 8)).numpy(), torch.zeros((8, 8, 8)).numpy()
    with pytest.raises(ValueError, match="another prior"):
        denoise_apart(str(path), parts, [(0, 0, 0)], "0123", whole, (8, 8, 8), (1.0, 1.0, 1.0), 0.1, 1.0)


def test_inputs_are_switched_off_here_only(path):
    with pytest.raises(ValueError, match="load_prior"):
        SpreadPrior(path, Counting()).without(context=True)
