"""The forecast of the time of steps that differ in cost."""

from itertools import accumulate

import pytest

from tomopatch.reconstruct.diffusion.pace import Pace


class Clock:
    """A clock that tests advance."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def shares(costs, seconds, *, preparation=0.0, first=1):
    """Shares after each step from `first` on, and the true shares of the time."""
    clock = Clock()
    pace = Pace(clock)
    clock.now += preparation
    pace.begin_step()
    found = []
    for i in range(first, len(costs) + 1):
        clock.now += seconds[i - 1]
        found.append(pace.share(i, costs))
    passed = [preparation + s for s in accumulate(seconds)][first - 1 :]
    return found, [s / passed[-1] for s in passed]


@pytest.mark.parametrize("cheap", [0.03, 0.1, 0.5])
@pytest.mark.parametrize("preparation", [0.0, 20.0])
def test_the_time_left_holds_within_a_third_for_steps_of_different_cost(cheap, preparation):
    """As in sampling from noise: one pass, then steps that reuse it, then passes; the costs are guesses."""
    costs = (1.0, *[0.1] * 12, *[1.0] * 7)
    seconds = [5.0 if cost == 1 else 5.0 * cheap for cost in costs]
    found, true = shares(costs, seconds, preparation=preparation)
    for share, expected in list(zip(found, true, strict=True))[1:-1]:
        assert (1 - share) / share == pytest.approx((1 - expected) / expected, rel=1 / 3)


def test_a_slow_first_step_counts_once():
    """The first pass of a process is slow; after the second one the forecast is right."""
    found, true = shares([1.0] * 8, [20.0] + [2.0] * 7)
    assert found[1:] == pytest.approx(true[1:])


def test_a_resumed_run_continues_at_its_share():
    costs = [1.0] * 10
    found, _ = shares(costs, [3.0] * 10, first=6)
    assert found == pytest.approx([0.6, 0.7, 0.8, 0.9, 1.0])


def test_the_share_never_falls_and_ends_at_one():
    found, _ = shares([1.0] * 5, [1.0, 1.0, 9.0, 9.0, 9.0])
    assert found == sorted(found)
    assert found[-1] == 1
