"""Batches of tiles on several CPU threads.

If all threads share each operation of one batch, they wait for each other after every operation. While other
processes are busy, such a pass takes several times as long. Here each thread has its own batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

from tomopatch import kernels

T = TypeVar("T")
R = TypeVar("R")

MOST_THREADS = 4
"""Batches in flight at most: each one needs memory. Further threads share the operations of a batch."""


def for_each(work: Callable[[T], R], batches: Iterable[T], device: torch.device) -> Iterator[R]:
    """Yield work(batch) for each batch, in order; on a CPU several are computed at once.

    If the caller closes the generator or an error occurs, the batches in flight are finished and no other is
    begun.
    """
    count = min(kernels.NUM_THREADS, MOST_THREADS)
    if device.type != "cpu" or count == 1:
        yield from map(work, batches)
        return
    share, before = kernels.NUM_THREADS // count, torch.get_num_threads()
    left = iter(batches)
    ahead: deque[Future[R]] = deque()
    with ThreadPoolExecutor(count, "tiles", torch.set_num_threads, (share,)) as pool:
        try:
            ahead.extend(pool.submit(work, batch) for batch in islice(left, count))
            while ahead:
                done = ahead.popleft().result()
                ahead.extend(pool.submit(work, batch) for batch in islice(left, 1))
                yield done
        finally:
            for future in ahead:
                future.cancel()
            torch.set_num_threads(before)  # threads that start later inherit this number
