"""PSNR of an ideal scan, with an effect, and corrected: `python -m tests.bench.effects` prints a table.

The scans are those of the lessons on effects. `python -m tests.bench.effects --speed` prints how many times
as long as an ideal scan a polychromatic one takes.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace

from pages.ui.learn.lessons_effects import ABDOMEN, CHEST, HARD, HEAD, METAL
from tomopatch.analysis.metrics import quality
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.physics.effects import DetectorFaults, Effects, Misalignment, Motion, Scatter, Tube
from tomopatch.physics.measurement import simulate
from tomopatch.projector import Projector
from tomopatch.reconstruct.run import reconstruct
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import prepare, source_volume
from tomopatch.volume import Volume

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
    for name, scan, effects, corrections in ROWS:
        ideal, degraded = psnr(scan), psnr(replace(scan, effects=effects))
        fixed = "-"
        if corrections is not None:
            fixed = f"{psnr(replace(scan, effects=effects, corrections=corrections)):.2f}"
        print(f"| {name} | {ideal:.2f} | {degraded:.2f} | {fixed} |", flush=True)


if __name__ == "__main__":
    main()
