"""PSNR of an ideal scan, with an effect, and corrected: `python -m tests.bench.effects` prints a table.

The scans are those of the lessons on effects.
"""

from __future__ import annotations

from dataclasses import replace

from pages.ui.learn.lessons_effects import ABDOMEN, CHEST, HARD, HEAD, METAL
from tomopatch.analysis.metrics import quality
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.physics.effects import DetectorFaults, Effects, Misalignment, Motion, Scatter
from tomopatch.reconstruct.run import reconstruct
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.prepare import prepare

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


def main() -> None:
    for name, scan, effects, corrections in ROWS:
        ideal, degraded = psnr(scan), psnr(replace(scan, effects=effects))
        fixed = "-"
        if corrections is not None:
            fixed = f"{psnr(replace(scan, effects=effects, corrections=corrections)):.2f}"
        print(f"| {name} | {ideal:.2f} | {degraded:.2f} | {fixed} |", flush=True)


if __name__ == "__main__":
    main()
