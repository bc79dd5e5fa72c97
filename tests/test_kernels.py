"""Threads of the kernels: each part of the work is done once, by several threads, and errors come back."""

import threading
import time

import pytest
import torch

from tomopatch import Projector, kernels


@pytest.fixture
def threads():
    """Set the number of threads."""
    before = kernels.NUM_THREADS
    yield kernels.set_num_threads
    kernels.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_every_part_is_done_once_by_several_threads(threads, count):
    threads(3)
    done, workers = [], set()

    def work(start, stop):
        done.extend(range(start, stop))
        workers.add(threading.get_ident())
        time.sleep(0.01)

    kernels.run_chunks(work, count)
    assert sorted(done) == list(range(count))
    assert len(workers) == min(count, 3)


def test_an_error_of_a_kernel_reaches_the_caller(threads):
    threads(3)

    def fail(start, stop):
        if start > 3:
            raise ArithmeticError("no")

    with pytest.raises(ArithmeticError, match="no"):
        kernels.run_chunks(fail, 20)


def test_several_threads_compute_the_same_as_one(threads, any_scan, vg, generator):
    A = Projector(vg, any_scan(vg), "joseph")
    x, y = torch.rand(A.domain_shape, generator=generator), torch.rand(A.range_shape, generator=generator)
    threads(1)
    alone = A(x), A.T(y)
    threads(4)
    for several, one in zip((A(x), A.T(y)), alone, strict=True):
        assert torch.equal(several, one)  # every element is summed by one thread
