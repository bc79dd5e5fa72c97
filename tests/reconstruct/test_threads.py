"""PyTorch's threads in a reconstruction: one for small volumes, and afterwards as before."""

import pytest
import torch

from tomopatch import ParallelBeam, Projector, reconstruct, simulate
from tomopatch.reconstruct import threads


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("limit", "expected"), [(2**22, 1), (0, 3)])
def test_small_volumes_are_reconstructed_on_one_thread(small, three_threads, monkeypatch, limit, expected):
    monkeypatch.setattr(threads, "SMALL", limit)
    A = Projector(small.geometry, ParallelBeam.circular(small.geometry, num_views=6))
    seen = []

    def count(step):
        seen.append(torch.get_num_threads())
        if len(seen) == 2:
            raise StopIteration

    reconstruct("sirt", A, simulate(small, A), callback=count)
    assert set(seen) == {expected}
    assert torch.get_num_threads() == 3
