"""Comparison of the CUDA projectors: time, adjointness, agreement.

    python -m tests.bench.gpu

For each size and beam: milliseconds of A and A.T (median of repeats, first calls excluded), |<Ax, y> - <x,
A.T y>| / (|Ax| |y|) for noise x, y, and the largest difference of Ax and A.T A x from those of the first
projector, relative to the largest value. For the smooth x used here, the projectors differ by interpolation
alone.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from tomopatch import ConeBeam, ParallelBeam, Projector, VolumeGeometry
from tomopatch.projector import cuda, triton_joseph

SIZES = {"S": ((64, 128, 128), 20), "M": ((128, 256, 256), 60), "L": ((256, 512, 512), 60)}
BEAMS = {"parallel": ParallelBeam, "cone": ConeBeam}
BACKENDS = {"tomosipo": cuda.why_not, "triton": triton_joseph.why_not}
SECONDS, REPEATS = 1.0, 20  # of one measurement, at most


def milliseconds(f: Callable[[], Tensor]) -> float:
    for _ in range(2):
        f()
    times: list[float] = []
    while len(times) < REPEATS and sum(times) < SECONDS:
        torch.cuda.synchronize()
        started = time.perf_counter()
        f()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


def dot(a: Tensor, b: Tensor) -> float:
    return float(torch.dot(a.flatten().double(), b.flatten().double()))


def main() -> None:
    reasons = {name: why_not() for name, why_not in BACKENDS.items()}
    for name, reason in reasons.items():
        if reason is not None:
            print(f"{name} is left out: {reason}")
    backends = [name for name, reason in reasons.items() if reason is None]
    if not backends:
        return
    print(torch.cuda.get_device_name())
    print(
        f"{'':<3}{'beam':<10}{'backend':<10}{'A ms':>9}{'A.T ms':>9}{'adjoint':>10}"
        f"{'Ax off':>10}{'ATAx off':>10}"
    )
    for size, (shape, num_views) in SIZES.items():
        for beam, make in BEAMS.items():
            vg = VolumeGeometry(shape)
            pg = make.circular(vg, num_views=num_views)
            generator = torch.Generator("cuda").manual_seed(0)
            x = torch.rand(shape, device="cuda", generator=generator)
            r2 = [(4 * vg.axis(i).cuda() / n - i / 4) ** 2 for i, n in enumerate(shape)]
            ball = torch.exp(-(r2[0][:, None, None] + r2[1][:, None] + r2[2])).float()
            first: tuple[Tensor, Tensor] | None = None
            for name in backends:
                A = Projector(vg, pg, name)
                y = torch.rand(A.range_shape, device="cuda", generator=generator)
                ms = milliseconds(lambda A=A, x=x: A(x)), milliseconds(lambda A=A, y=y: A.T(y))
                Ax, ATy = A(x), A.T(y)
                adjoint = abs(dot(Ax, y) - dot(x, ATy)) / (dot(Ax, Ax) * dot(y, y)) ** 0.5
                both = (projected := A(ball)), A.T(projected if first is None else first[0])
                first = first or both
                off = [float((a - b).abs().max() / b.abs().max()) for a, b in zip(both, first, strict=True)]
                print(
                    f"{size:<3}{beam:<10}{name:<10}{ms[0]:>9.2f}{ms[1]:>9.2f}{adjoint:>10.1e}{off[0]:>10.1e}{off[1]:>10.1e}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
