"""One detector row: the kernels for any geometry against those for many rows, in one run.

    python -m tests.bench.single_row

Prints milliseconds of A and of its transpose with both kernels (best of REPEATS), and their ratio.
"""

from __future__ import annotations

import torch

from tests.bench.projectors import best
from tomopatch import ConeBeam, ParallelBeam, VolumeGeometry
from tomopatch.projector.joseph import JosephOperator

GRID, NUM_VIEWS = (1, 280, 280), 163


def main() -> None:
    print(f"grid {'x'.join(map(str, GRID))}, {NUM_VIEWS} views")
    print("| beam | | for many rows, ms | for any geometry, ms | ratio |\n|---|---|---|---|---|")
    vg = VolumeGeometry(GRID)
    for beam, many in ((ParallelBeam, "parallel"), (ConeBeam, "columns")):
        views = beam.circular(vg, num_views=NUM_VIEWS).views()
        rows, single = (JosephOperator(vg, views, path=path) for path in (many, "general"))
        x = torch.rand(vg.shape)
        y = single.forward(x)
        for name, works in (
            ("A", (lambda: rows.forward(x), lambda: single.forward(x))),  # noqa: B023
            ("transpose", (lambda: rows.transpose(y), lambda: single.transpose(y))),  # noqa: B023
        ):
            slow, fast = (1000 * best(work) for work in works)
            print(f"| {beam.__name__} | {name} | {slow:.0f} | {fast:.0f} | {slow / fast:.1f} |")


if __name__ == "__main__":
    main()
