"""PSNR of an ideal scan, with an effect, and corrected: `python -m tests.bench.effects` prints a table.

The scans are those of the lessons on effects. `--artefacts` prints cupping, streaks, stripes and the axis
before and after the correction; `--speed` prints how many times as long as an ideal scan a polychromatic one
takes.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

import torch

from pages.ui.learn.lessons_effects import ABDOMEN, CHEST, HARD, HEAD, METAL
from tomopatch.analysis.metrics import quality
from tomopatch.physics.corrections.settings import Corrections, correct
from tomopatch.physics.effects import DetectorFaults, Effects, Misalignment, Motion, Scatter, Tube
from tomopatch.physics.measurement import simulate
from tomopatch.projector import Projector
from tomopatch.reconstruct.run import reconstruct
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import prepare, source_volume
from tomopatch.volume import MU_WATER, Volume, VolumeGeometry

RADIUS = 80.0
"""Radius of the water cylinder [mm]."""
FAULTS = Effects(faults=DetectorFaults(gain=0.02, dead_columns=1))
BREATHING = Motion("breathing", (15.0, 0.0, 0.0))
ROWS: tuple[tuple[str, ScanConfig, Effects, Corrections | None], ...] = (
    ("head, 120 kV; `hardening`", HEAD, HARD, Corrections(hardening=True)),
    ("abdomen, two steel rods, 120 kV; `hardening LI`", ABDOMEN, METAL,
     Corrections(hardening=True, metal="LI")),
    ("the same; `hardening NMAR`", ABDOMEN, METAL, Corrections(hardening=True, metal="NMAR")),
    ("chest, gain errors of 2 %, a dead column; `pixels stripes`", CHEST, FAULTS,
     Corrections(pixels=True, stripes=True)),
    ("chest, axis off by 8 mm; `axis`", CHEST, Effects(misalignment=Misalignment(axis_offset=8.0)),
     Corrections(axis=True)),
    ("abdomen, scatter 0.4; `scatter`", ABDOMEN, Effects(scatter=Scatter(0.4)), Corrections(scatter=True)),
    ("chest, three breaths of 15 mm", CHEST, Effects(motion=BREATHING), None),
)  # fmt: skip


def psnr(scan: ScanConfig) -> float:
    prepared = prepare(scan)
    result = reconstruct("fbp", prepared.A, prepared.measurement, callback=lambda step: None)
    return quality(prepared.reference, result.volume).psnr


def cupping(scan: ScanConfig) -> float:
    """Mean of the middle of a water cylinder minus that of its rim [HU]; FBP."""
    volume, A = water(scan)
    measurement = simulate(volume, A, effects=scan.effects)
    if scan.corrections != Corrections():
        measurement = correct(measurement, A, scan.corrections, scan.effects, lambda A, m: volume).measurement
    hu = reconstruct("fbp", A, measurement, callback=lambda step: None).volume.hu[0]
    radius = torch.hypot(*torch.meshgrid(volume.geometry.axis(1), volume.geometry.axis(2), indexing="ij"))
    return float(
        hu[radius < 0.2 * RADIUS].mean() - hu[(radius > 0.75 * RADIUS) & (radius < 0.9 * RADIUS)].mean()
    )


def water(scan: ScanConfig) -> tuple[Volume, Projector]:
    """A water cylinder about the axis, and the projector of a parallel scan of it."""
    vg = VolumeGeometry((1, 160, 160), (2.0, 1.5, 1.5))
    radius = torch.hypot(*torch.meshgrid(vg.axis(1), vg.axis(2), indexing="ij"))
    share = (0.5 - (radius - RADIUS) / vg.voxel_size[2]).clamp(0, 1)
    volume = Volume((MU_WATER * share)[None].float(), vg)
    return volume, Projector(vg, scan.geometry(vg))


def streaks(scan: ScanConfig) -> float:
    """RMS error [HU] of FBP within the body, at least five voxels from the metal."""
    prepared = prepare(scan)
    volume = reconstruct("fbp", prepared.A, prepared.measurement, callback=lambda step: None).volume
    reference = prepared.reference.hu
    metal = torch.nn.functional.max_pool3d((reference > 2500).float()[None], 11, 1, 5)[0] > 0
    inside = (reference > -300) & ~metal
    return float((volume.hu - reference)[inside].square().mean().sqrt())


def artefacts() -> None:
    """Each row: quantity, ideal scan, with the effect, corrected."""
    cylinder = ScanConfig("phantom:spheres", num_views=180)
    hard = replace(cylinder, effects=HARD)
    row = [cupping(s) for s in (cylinder, hard, replace(hard, corrections=Corrections(hardening=True)))]
    print(
        "| cupping of a water cylinder of 160 mm, 120 kV [HU] | " + " | ".join(f"{v:.1f}" for v in row) + " |"
    )
    metal = replace(ABDOMEN, effects=METAL)
    nmar = replace(metal, corrections=Corrections(hardening=True, metal="NMAR"))
    row = [streaks(s) for s in (ABDOMEN, metal, nmar)]
    print("| streaks of two steel rods, RMS [HU] | " + " | ".join(f"{v:.0f}" for v in row) + " |")
    found = prepare(
        replace(CHEST, effects=FAULTS, corrections=Corrections(pixels=True, stripes=True))
    ).figures
    print(f"| stripes of the sinogram | - | {found['stripes_before']:.4f} | {found['stripes_after']:.4f} |")
    shifted = replace(CHEST, effects=Effects(misalignment=Misalignment(axis_offset=8.0)))
    found = prepare(replace(shifted, corrections=Corrections(axis=True))).figures
    print(f"| axis offset [mm] | 0 | 8 | {8 - abs(found['axis_offset_mm']):.2f} left |")


def seconds(volume: Volume, A: Projector, effects: Effects | None) -> float:
    """Shortest time of five simulated scans."""
    times = []
    for _ in range(5):
        began = time.perf_counter()
        simulate(volume, A, effects=effects)
        times.append(time.perf_counter() - began)
    return min(times)


def speed() -> None:
    """Ideal and polychromatic scans of 40 views, 20 bins, two materials, alternating in one run."""
    for beam in ("parallel", "cone"):
        for source in ("phantom:thorax", "phantom:head"):
            turn = 180.0 if beam == "parallel" else 360.0
            scan = ScanConfig(source, (64, 128, 128), beam=beam, num_views=40, angle_range=turn)
            volume = source_volume(scan)
            vg = volume.geometry.with_shape(scan.grid)
            A = Projector(vg, scan.geometry(vg))
            ideal, tube = seconds(volume, A, None), seconds(volume, A, Effects(tube=Tube()))
            print(f"| {source}, {beam} | {ideal:.2f} s | {tube / ideal:.2f} |", flush=True)


def main() -> None:
    if "--speed" in sys.argv[1:]:
        speed()
        return
    if "--artefacts" in sys.argv[1:]:
        artefacts()
        return
    for name, scan, effects, corrections in ROWS:
        ideal, degraded = psnr(scan), psnr(replace(scan, effects=effects))
        fixed = "-"
        if corrections is not None:
            fixed = f"{psnr(replace(scan, effects=effects, corrections=corrections)):.2f}"
        print(f"| {name} | {ideal:.2f} | {degraded:.2f} | {fixed} |", flush=True)


if __name__ == "__main__":
    main()
