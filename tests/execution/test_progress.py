"""The time left of a run, from the figures of its steps."""

import math

import pytest

from tomopatch.execution.progress import STORING, Progress, with_point
from tomopatch.store.history import Point


def follow(points):
    """Progress after each of these points."""
    known, out = Progress("running"), []
    for point in points:
        known = Progress("running", **with_point(known, point, {}))
        out.append(known)
    return out


def test_preparations_before_the_first_step_are_not_expected_again():
    """Equal steps after ten seconds of preparation: compiled code, norms of the projector."""
    points = [Point(i, 50, seconds=10 + 0.1 * i) for i in range(1, 51)]
    for now in follow(points)[1:]:
        assert now.eta == pytest.approx(0.1 * (50 - now.i) + STORING, abs=1e-6)


def test_each_stage_has_a_speed_of_its_own():
    """An initial reconstruction that was faster than expected, then passes with known shares of the work."""
    initial = [Point(i, 20, "initial", seconds=0.1 * i, work=0.5 * i / 20) for i in range(1, 21)]
    passes = [Point(i, 4, seconds=2 + 7.0 * i, work=0.5 + 0.125 * i) for i in range(1, 5)]
    for now in follow([*initial, *passes])[20:]:
        assert now.eta == pytest.approx(7.0 * (4 - now.i) + STORING, abs=1e-6)


def test_the_time_left_falls_within_a_step():
    (now,) = follow([Point(1, 4, seconds=7.0)])
    assert now.counted_down(now.estimated + 5).eta == pytest.approx(now.eta - 5)
    assert now.counted_down(now.estimated + 500).eta == 0
    assert math.isnan(Progress("queued").counted_down(1e6).eta)
