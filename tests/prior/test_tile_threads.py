"""Batches of tiles on several threads: each is done once, in order; the caller keeps its own threads."""

import threading
import time

import pytest
import torch

from tomopatch import kernels
from tomopatch.prior.tile_threads import MOST_THREADS, for_each

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def four_threads():
    before = kernels.NUM_THREADS
    kernels.set_num_threads(4)
    yield
    kernels.set_num_threads(before)


def test_batches_come_back_in_order_from_several_threads():
    together = threading.Barrier(2, timeout=30)  # passes only if two threads work at once

    def work(batch):
        if batch < 2:
            together.wait()
        time.sleep(0.01 * (batch % 3))
        return 10 * batch

    assert list(for_each(work, range(11), CPU)) == [10 * batch for batch in range(11)]


def test_a_batch_computes_on_one_thread_and_the_caller_keeps_its_own():
    before = torch.get_num_threads()
    assert set(for_each(lambda _: torch.get_num_threads(), range(8), CPU)) == {1}
    assert torch.get_num_threads() == before
    later = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join(30)
    assert later == [before]


def test_a_caller_that_stops_does_not_start_the_rest():
    begun = []
    results = for_each(lambda batch: begun.append(batch), range(1000), CPU)
    next(results)
    results.close()
    assert len(begun) <= 2 + MOST_THREADS


def test_an_error_reaches_the_caller():
    def work(batch):
        raise ArithmeticError("no")

    with pytest.raises(ArithmeticError, match="no"):
        list(for_each(work, range(8), CPU))
