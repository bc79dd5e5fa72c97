"""Directions of the views as a set on the circle."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

OPEN_GAP = 2.55
"""A gap between views counts as not scanned above this multiple of the usual gap. One missing view is bridged
by its neighbours (a gap of 2); two or more are not. The value is not round, so that no common scan lies
exactly at the limit. Checked on full and short scans of 20 to 720 views.
"""
USUAL_GAP = 0.9
"""The usual gap is this quantile of all gaps. For evenly spaced views with holes it is their step. It is also
large enough for views at random angles, whose gaps differ.
"""
IRREGULAR = 1.5
"""If the usual gap is this much larger than the median gap, the views are irregular. The multiple then grows
with the ratio, so that chance gaps of random angles are bridged.
"""
_SAME = 1e-6  # rad; closer directions count as equal


@dataclass(frozen=True, eq=False)
class Directions:
    """Directions of the views as a set on the circle.

    Their order, full turns and the sense of rotation do not matter.

    Attributes
    ----------
    period : float
        Angle [rad] after which directions repeat: pi for parallel rays, 2 pi for a cone.
    weights : float64 array (views,)
        Arc [rad] that each view represents: half of both gaps to its neighbours. Equal directions share an
        arc.
    starts, lengths : float64 arrays (arcs,)
        The scanned arcs [rad]. Without an open gap: one arc of length `period`.
    step : float
        The usual gap [rad] between neighbouring directions.
    """

    period: float
    weights: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    step: float

    @property
    def full(self) -> bool:
        """Whether the views cover the whole circle."""
        return len(self.lengths) == 1 and bool(self.lengths[0] == self.period)

    def depth(self, angles: np.ndarray) -> np.ndarray:
        """Distance [rad] of each angle to the nearer end of its arc; negative outside all arcs."""
        deepest = np.full(np.shape(angles), -1.0)
        for start, length in zip(self.starts, self.lengths, strict=True):
            inside = (angles - start) % self.period
            deepest = np.maximum(deepest, np.minimum(inside, length - inside))
        return deepest


def directions(angles: Sequence[float] | np.ndarray, period: float) -> Directions:
    """Return the set of directions of views at `angles` [rad], modulo `period` [rad].

    A gap far wider than the usual one (OPEN_GAP, IRREGULAR) counts as not scanned. The view at each end of it
    represents half a gap as wide as the one on its other side. Narrower gaps are bridged. A single direction
    represents the whole period.
    """
    turned = np.asarray(angles, float) % period
    order = np.argsort(turned, kind="stable")
    ordered = turned[order]
    apart = np.diff(ordered, append=ordered[0] + period) > _SAME  # from the next
    group = np.concatenate([[0], np.cumsum(apart[:-1])])
    if not apart[-1]:  # the last directions are the first, a turn later
        group[group == group[-1]] = 0
    count = np.bincount(group)
    which = np.empty_like(group)
    which[order] = group
    if len(count) == 1:
        weights = np.full(len(turned), period / len(turned))
        return Directions(period, weights, ordered[:1], np.array([period]), period)
    distinct = ordered[np.unique(group, return_index=True)[1]]
    after = np.diff(distinct, append=distinct[0] + period)
    before = np.roll(after, 1)
    step, median = (float(np.sort(after)[int(q * (len(after) - 1))]) for q in (USUAL_GAP, 0.5))
    ends = after > max(OPEN_GAP, IRREGULAR * step / median) * step
    begins = np.roll(ends, 1)
    half_after = np.where(ends, np.where(begins, step, before), after) / 2
    half_before = np.where(begins, np.where(ends, step, after), before) / 2
    weights = ((half_before + half_after) / count)[which]
    if not ends.any():
        return Directions(period, weights, distinct[:1], np.array([period]), step)
    starts = (distinct - half_before)[begins]
    stops = (distinct + half_after)[ends]
    if stops[0] < starts[0]:  # the arc that begins last ends a turn later, with the first
        stops = np.roll(stops, -1)
    return Directions(period, weights, starts, (stops - starts) % period, step)
