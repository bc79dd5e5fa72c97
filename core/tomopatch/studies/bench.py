"""Times of projectors and methods on this machine, on a phantom."""

from __future__ import annotations

import time
from typing import Any

from tomopatch.reconstruct.methods import available
from tomopatch.reconstruct.run import reconstruct
from tomopatch.runs.config import Beam, ScanConfig
from tomopatch.runs.prepare import prepare
from tomopatch.volume import Shape


def bench(grid: Shape, num_views: int) -> list[dict[str, Any]]:
    """Time A, A.T (best of three) and every method without a prior, for a parallel and a cone beam [s]."""
    rows = []
    beams: tuple[tuple[Beam, float], ...] = (("parallel", 180.0), ("cone", 360.0))
    for beam, angle_range in beams:
        scan = ScanConfig("phantom:thorax", grid, beam, num_views, angle_range, same_grid=True)
        prepared = prepare(scan)
        A, m = prepared.A, prepared.measurement
        x, y = prepared.reference.data, m.projections
        rows.append({"beam": beam, "what": "A", "seconds": _best(lambda A=A, x=x: A(x))})
        rows.append({"beam": beam, "what": "A.T", "seconds": _best(lambda A=A, y=y: A.T(y))})
        for name, method in available(A.pg).items():
            if not method.needs_prior:
                rows.append({"beam": beam, "what": name, "seconds": reconstruct(name, A, m).seconds})
    return [row | {"grid": list(grid), "views": num_views, "device": str(A.device)} for row in rows]


def format_bench(rows: list[dict[str, Any]]) -> str:
    first = rows[0]
    head = f"{'x'.join(map(str, first['grid']))}, {first['views']} views, {first['device']}"
    return "\n".join([head, *(f"{r['beam']:<10}{r['what']:<10}{r['seconds']:>9.3f} s" for r in rows)])


def _best(call: Any) -> float:
    call()
    times = []
    for _ in range(3):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)
