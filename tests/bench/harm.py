"""Do-no-harm test: diffusion against its own initial reconstruction on objects that may not suit the prior.

    python -m tests.bench.harm [--bodies FOLDER] [--objects FOLDER] [--prior NAME] [--mode restore|posterior]
    [--only NAME]

Cases: held-out bodies; phantoms with and without noise; micro-CT volumes of a folder; one head phantom whose
voxels are declared 0.02 to 20 mm large; 4 to 180 views. Grid 64 x 128 x 128 for bodies, 32 x 96 x 96 for the
rest. Measurements are simulated at twice the grid's resolution, or at the volume's own; those of phantoms
also on the grid of the reconstruction. Diffusion must not be
more than 0.1 dB worse; violations are marked. A star stands for each remark of the plan (a clamped number, a
lowered noise level). The initial reconstruction is taken from the run itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tests.bench.prior import VOLUMES
from tomopatch.analysis.metrics import quality
from tomopatch.library import load_volume
from tomopatch.physics.measurement import Measurement, simulate
from tomopatch.prior.denoiser import PatchPrior
from tomopatch.prior.files import default_prior, load_prior
from tomopatch.progress import Step
from tomopatch.projector import Projector
from tomopatch.reconstruct.methods import make_params
from tomopatch.reconstruct.run import reconstruct
from tomopatch.runs.config import ScanConfig
from tomopatch.volume import Shape, Volume, VolumeGeometry, resample

ALLOWED = -0.1  # dB
GRID: Shape = (32, 96, 96)
PHANTOMS = ("shepp-logan", "bars", "defrise", "geometric:1", "geometric:2", "spheres", "head", "abdomen")
VOXELS = (0.02, 0.3, 1.0, 4.0, 20.0)  # in plane [mm]
VIEWS = (4, 8, 20, 60, 180)


@dataclass(frozen=True)
class Case:
    """Test case: name, reference on the grid, projector and measurement."""

    name: str
    reference: Volume
    A: Projector
    measurement: Measurement


def case(name: str, volume: Volume, grid: Shape, **scan: object) -> Case:
    """Return a simulated scan of a volume that is reduced to at most twice the grid."""
    fine = tuple(min(n, 2 * m) for n, m in zip(volume.shape, grid, strict=True))
    volume = resample(volume, (fine[0], fine[1], fine[2]))
    # type: ignore[arg-type]
    reference = resample(volume, tuple(min(n, m) for n, m in zip(volume.shape, grid, strict=True)))
    config = ScanConfig("case", **scan)  # type: ignore[arg-type]
    A = Projector(reference.geometry, config.geometry(reference.geometry))
    generator = torch.Generator().manual_seed(0)
    return Case(name, reference, A, simulate(volume, A, photon_count=config.photons, generator=generator))


def declared(volume: Volume, voxel: float) -> Volume:
    """Return the same values with another voxel size in plane [mm], as from a file with an unusual header."""
    vg = volume.geometry
    z, y, x = (size * voxel / vg.voxel_size[2] for size in vg.voxel_size)
    return Volume(volume.data, VolumeGeometry(vg.shape, (z, y, x)), volume.name)


def cases(bodies: Path | None, objects: Path | None) -> Iterator[Case]:
    for name in PHANTOMS:
        volume = load_volume(f"phantom:{name}", shape=(2 * GRID[0], 2 * GRID[1], 2 * GRID[2]))
        for photons in (None, 1e5):
            noise = "" if photons is None else " at 1e5 photons"
            yield case(f"{name}, 20 views{noise}", volume, GRID, num_views=20, photons=photons)
    for name in (*PHANTOMS, "thorax"):  # total variation is at its best there
        volume = load_volume(f"phantom:{name}", shape=GRID)
        for photons in (None, 1e5):
            noise = "" if photons is None else " at 1e5 photons"
            yield case(f"{name} on the grid, 20 views{noise}", volume, GRID, num_views=20, photons=photons)
    head = load_volume("phantom:head", shape=(2 * GRID[0], 2 * GRID[1], 2 * GRID[2]))
    for voxel in VOXELS:
        yield case(f"head, voxels of {voxel:g} mm, 20 views", declared(head, voxel), GRID, num_views=20)
    thorax = load_volume("phantom:thorax", shape=(2 * GRID[0], 2 * GRID[1], 2 * GRID[2]))
    for views in VIEWS:
        yield case(f"thorax, {views} views", thorax, GRID, num_views=views)
    if objects is not None:
        for path in sorted(objects.glob("*.nii*")):
            volume = load_volume(path)
            for voxel in (volume.geometry.voxel_size[2], 3.0):
                name = f"{path.name.split('.')[0]}, voxels of {voxel:g} mm, 20 views"
                yield case(name, declared(volume, voxel), (64, 128, 128), num_views=20)
    if bodies is not None:
        for name in VOLUMES:
            volume = load_volume(next(bodies.glob(f"{name}.*")))
            for scan in (
                {"num_views": 8},
                {"num_views": 20},
                {"num_views": 20, "photons": 1e4},
                {"num_views": 60, "angle_range": 90.0},
                {"num_views": 20, "beam": "cone", "angle_range": 360.0, "photons": 1e4},
            ):
                words = ", ".join(
                    f"{value:g}" if isinstance(value, float) else str(value) for value in scan.values()
                )
                yield case(f"{name}: {words}", volume, (64, 128, 128), **scan)


def measure(
    found: Case, prior: PatchPrior, mode: str, **settings: object
) -> tuple[float, float, tuple[str, ...]]:
    """Return the PSNR of the initial reconstruction and of diffusion, and the remarks of the plan."""
    initial: list[torch.Tensor] = []

    def keep(step: Step) -> None:
        if step.stage == "initial":
            initial[:] = [step.x.clone()]

    params = make_params("diffusion", {"mode": mode, **settings})
    result = reconstruct("diffusion", found.A, found.measurement, params=params, prior=prior, callback=keep)
    before, after = (
        quality(found.reference, replace(result.volume, data=x)).psnr
        for x in (initial[0], result.volume.data)
    )
    return before, after, () if result.plan is None else result.plan.remarks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bodies", type=Path, help="a folder with the held-out volumes")
    parser.add_argument(
        "--objects", type=Path, help="a folder with NIfTI files of objects that are not bodies"
    )
    parser.add_argument("--prior", help="name or file (default: that of the mode)")
    parser.add_argument("--mode", default="restore", choices=("restore", "posterior"))
    parser.add_argument("--only", default="", help="cases whose name contains this text")
    arguments = parser.parse_args()
    usual = default_prior("restore", sampling=arguments.mode == "posterior")
    prior = load_prior(arguments.prior or usual)
    worst = float("inf")
    print("| case | initial reconstruction | diffusion | gain |\n|---|---|---|---|")
    for found in cases(arguments.bodies, arguments.objects):
        if arguments.only not in found.name:
            continue
        before, after, remarks = measure(found, prior, arguments.mode)
        gain, mark = after - before, "".join("*" for _ in remarks)
        worst = min(worst, gain)
        harm = "" if gain >= ALLOWED else " **harm**"
        print(f"| {found.name}{mark} | {before:.2f} | {after:.2f} | {gain:+.2f}{harm} |", flush=True)
    print(f"\nworst: {worst:+.2f} dB")


if __name__ == "__main__":
    main()
