"""CPU projector against RTK's Joseph projector: time and accuracy, in one run.

    .venv/bin/pip install -e '.[bench]' && .venv/bin/python -m tests.bench.projectors

Prints a row per volume and beam: seconds of both (best of `REPEATS`), their ratio, and the relative error of
both against the exact line integrals of spheres.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch

from tomopatch import ConeBeam, ParallelBeam, Projector, VolumeGeometry
from tomopatch.phantoms.catalogue import SPHERES, phantom, sphere_line_integrals

REPEATS = 3
SHAPES = ((128, 128, 128), (128, 256, 256))
NUM_VIEWS = 60


def best(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


class Rtk:
    """RTK's Joseph projector for the same scan.

    Its y axis is our z, and it rotates in the opposite direction.
    """

    def __init__(self, vg: VolumeGeometry, pg: ParallelBeam | ConeBeam, rtk, itk) -> None:
        self.rtk, self.itk, self.vg, self.pg = rtk, itk, vg, pg
        self.geometry = rtk.ThreeDCircularProjectionGeometry.New()
        cone = isinstance(pg, ConeBeam)
        sid = pg.src_orig_dist if cone else 1000.0
        sdd = pg.src_det_dist if cone else 0.0  # 0: parallel
        for angle in pg.angles:
            self.geometry.AddProjection(sid, sdd, math.degrees(angle))

    def image(self, data: np.ndarray, spacing: tuple, origin: tuple):
        image = self.itk.image_from_array(np.ascontiguousarray(data, np.float32))
        image.SetSpacing(spacing)
        image.SetOrigin(origin)
        return image

    def volume(self, x: np.ndarray):
        """Our (z, y, x) as RTK's (x, z, -y): its beam runs along its z axis at angle 0."""
        data = x.transpose(1, 0, 2)[::-1]  # [depth = -y, height = z, width = x]
        s, n = self.vg.voxel_size, self.vg.shape
        spacing = (s[2], s[0], s[1])
        origin = tuple(-(m - 1) / 2 * p for m, p in zip((n[2], n[0], n[1]), spacing, strict=True))
        return self.image(data, spacing, origin)

    def projections(self, y: np.ndarray):
        v, u = self.pg.det_shape
        spacing = (self.pg.pixel_size[1], self.pg.pixel_size[0], 1.0)
        origin = (-(u - 1) / 2 * spacing[0], -(v - 1) / 2 * spacing[1], 0.0)
        return self.image(y.transpose(1, 0, 2), spacing, origin)

    def forward(self, x: np.ndarray) -> np.ndarray:
        v, u = self.pg.det_shape
        kind = self.itk.Image[self.itk.F, 3]
        f = self.rtk.JosephForwardProjectionImageFilter[kind, kind].New()
        f.SetInput(0, self.projections(np.zeros((v, self.pg.num_views, u), np.float32)))
        f.SetInput(1, self.volume(x))
        f.SetGeometry(self.geometry)
        f.Update()
        return self.itk.array_from_image(f.GetOutput()).transpose(1, 0, 2)

    def transpose(self, y: np.ndarray) -> np.ndarray:
        kind = self.itk.Image[self.itk.F, 3]
        f = self.rtk.JosephBackProjectionImageFilter[kind, kind].New()
        f.SetInput(0, self.volume(np.zeros(self.vg.shape, np.float32)))
        f.SetInput(1, self.projections(y))
        f.SetGeometry(self.geometry)
        f.Update()
        return self.itk.array_from_image(f.GetOutput())


def main() -> None:
    try:
        import itk
        from itk import RTK as rtk
    except ImportError:
        raise SystemExit("RTK is not installed: pip install -e '.[bench]'") from None
    print(
        f"{'volume':<14}{'beam':<10}{'':<5}{'ours s':>9}{'RTK s':>9}{'ratio':>7}"
        f"{'our error':>11}{'RTK error':>11}"
    )
    for shape in SHAPES:
        volume = phantom("spheres", shape)
        vg = volume.geometry
        for pg in (
            ParallelBeam.circular(vg, num_views=NUM_VIEWS),
            ConeBeam.circular(vg, num_views=NUM_VIEWS, src_orig_dist=800.0, src_det_dist=1200.0),
        ):
            A, theirs = Projector(vg, pg, "joseph"), Rtk(vg, pg, rtk, itk)
            x, exact = volume.data, sphere_line_integrals(SPHERES, pg.views())
            y = A(x)
            y_rtk = torch.from_numpy(theirs.forward(x.numpy()).copy())
            errors = [float((p - exact).norm() / exact.norm()) for p in (y, y_rtk)]
            name = f"{'x'.join(map(str, shape)):<14}{'cone' if isinstance(pg, ConeBeam) else 'parallel':<10}"
            rows = [
                ("A", best(lambda A=A, x=x: A(x)), best(lambda t=theirs, x=x: t.forward(x.numpy()))),
                ("A.T", best(lambda A=A, y=y: A.T(y)), best(lambda t=theirs, y=y: t.transpose(y.numpy()))),
            ]
            for what, ours, rtks in rows:
                print(
                    f"{name}{what:<5}{ours:>9.3f}{rtks:>9.3f}{rtks / ours:>7.1f}"
                    f"{errors[0]:>11.5f}{errors[1]:>11.5f}"
                )


if __name__ == "__main__":
    main()
