"""Curves and branching trees in patient space, coordinates (z, y, x) [mm]."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Point = Sequence[float] | np.ndarray


def branches(
    rng: np.random.Generator, root: Point, targets: np.ndarray, tip: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A vessel tree from `root` to every target, as arrays for `Scene.rods`.

    The targets are halved repeatedly; a branch leads towards the middle of each half. Radii follow Murray's
    law: r^3 is the sum of the children's r^3, so that n tips need a trunk of tip * n^(1/3).
    """
    basis = np.linalg.qr(rng.normal(size=(3, 3)))[0]  # split along random axes, not along the grid's
    todo = [(np.asarray(root, dtype=float), np.asarray(targets, dtype=float))]
    rods = []
    while todo:
        start, points = todo.pop()
        radius = tip * len(points) ** (1 / 3)
        if len(points) == 1:
            rods.append((start, points[0], (radius, 0.6 * radius)))
            continue
        middle = points.mean(0)
        way = middle - start
        end = start + rng.uniform(0.4, 0.65) * way + rng.normal(0, 0.06, 3) * math.sqrt(way @ way)
        rods.append((start, end, (radius, 0.93 * radius)))
        along = points @ basis
        order = np.argsort(along[:, np.ptp(along, axis=0).argmax()])
        half = len(points) // 2
        todo += [(end, points[order[:half]]), (end, points[order[half:]])]
    a, b, radii = zip(*rods, strict=True)
    return np.array(a), np.array(b), np.array(radii)


def points_within(rng: np.random.Generator, centre: Point, radii: Point, count: int) -> np.ndarray:
    """`count` points (n, 3), uniformly distributed in an upright ellipsoid."""
    ball = rng.normal(size=(count, 3))
    ball *= rng.uniform(0, 1, (count, 1)) ** (1 / 3) / np.linalg.norm(ball, axis=1, keepdims=True)
    return np.asarray(centre) + ball * np.asarray(radii)


def curve(points: Sequence[Point] | np.ndarray, count: int) -> np.ndarray:
    """A smooth curve (count, 3) through the points (Catmull-Rom)."""
    p = np.asarray(points, dtype=float)
    p = np.concatenate([[2 * p[0] - p[1]], p, [2 * p[-1] - p[-2]]])
    s = np.linspace(0, len(p) - 3 - 1e-9, count)
    k, t = s.astype(int), (s % 1)[:, None]
    a, b, c, d = p[k], p[k + 1], p[k + 2], p[k + 3]
    return b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
