"""Lessons about real scans: effects and their corrections."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pages.ui.learn.lesson_parts import MIDDLE, Lesson, Step, compare, run
from pages.ui.session import routes
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.physics.effects import (
    DetectorFaults,
    Effects,
    Insert,
    Misalignment,
    Motion,
    Scatter,
    Tube,
)
from tomopatch.runs.config import ScanConfig

ABDOMEN = ScanConfig("phantom:abdomen:0", MIDDLE, num_views=180, photons=1e6)
CHEST = ScanConfig("phantom:thorax:0", MIDDLE, num_views=180, photons=1e6)
HEAD = ScanConfig("phantom:head:0", MIDDLE, num_views=180, photons=1e6)

RODS = (
    Insert("rod", "steel", (0.0, 10.0, -60.0), (14.0, 120.0)),
    Insert("rod", "steel", (0.0, 10.0, 60.0), (14.0, 120.0)),
)
HARD = Effects(tube=Tube(120.0))
METAL = Effects(tube=Tube(120.0), inserts=RODS)


def _with(effects: Effects, **corrections: Any) -> dict[str, Any]:
    return {"effects": effects, "corrections": Corrections(**corrections)}


ABOUT_EFFECTS: dict[str, Lesson] = {
    "hardening": Lesson(
        "Beam hardening and metal",
        6,
        "An X-ray tube emits photons of many energies. Low-energy photons are absorbed first, so the mean "
        "energy of the beam rises along its path. A long path then seems to absorb less than it does.",
        (
            compare(
                "A head at one energy, at 120 kV, and at 120 kV with a correction for water. Without the "
                "correction the middle of the brain is too dark (**cupping**). The correction converts each "
                "measured value to a thickness of water.",
                "Compare one energy, 120 kV and the correction",
                run(HEAD, "fbp"),
                run(HEAD, "fbp", _with(HARD)),
                run(HEAD, "fbp", _with(HARD, hardening=True)),
            ),
            compare(
                "Two steel rods in an abdomen. Hardly any photon passes both, so the band between them is "
                "dark, and streaks start at each rod. Linear interpolation (LI) replaces the rays through "
                "metal by values from both sides of the metal. NMAR first divides the sinogram by that of "
                "an image with air, water and bone, so that the new values follow the bones.",
                "Compare steel without and with reduction",
                run(ABDOMEN, "fbp", _with(METAL)),
                run(ABDOMEN, "fbp", _with(METAL, hardening=True, metal="LI")),
                run(ABDOMEN, "fbp", _with(METAL, hardening=True, metal="NMAR")),
            ),
            Step(
                "This opens the scan with the rods on Acquire. Under *Effects of a real scan*, choose "
                "titanium, or move a rod, and watch its trace in the sinogram.",
                "Open the rods on Acquire",
                routes.ACQUIRE,
                replace(ABDOMEN, effects=METAL),
            ),
        ),
        (
            "Raise the aluminium filter to 10 mm. The cupping becomes smaller. What does it cost?",
            "Choose a photon-counting detector. It weights low-energy photons more than an integrating "
            "detector does.",
        ),
        "Why does the correction for water leave dark bands between bones?",
        "For the same measured value, bone hardens the beam more than water does. A correction curve for "
        "water cannot distinguish the two.",
    ),
    "rings": Lesson(
        "Rings",
        4,
        "A detector pixel with a wrong gain adds the same error to every view. In the reconstruction, the "
        "error becomes a ring.",
        (
            compare(
                "An ideal detector, and a detector whose gains vary by 2 %. In the sinogram the errors are "
                "vertical stripes, because a pixel keeps its place while the object turns.",
                "Compare an ideal and a faulty detector",
                run(CHEST, "fbp"),
                run(CHEST, "fbp", _with(Effects(faults=DetectorFaults(gain=0.02)))),
            ),
            compare(
                "The filter sorts each column of the sinogram by value, smooths across the columns, and "
                "restores the order. A stripe shifts a whole column, so the sorted values differ "
                "clearly from the neighbouring columns. Dead pixels are interpolated.",
                "Compare without and with the filter",
                run(CHEST, "fbp", _with(Effects(faults=DetectorFaults(gain=0.02, dead_columns=1)))),
                run(
                    CHEST,
                    "fbp",
                    _with(
                        Effects(faults=DetectorFaults(gain=0.02, dead_columns=1)), pixels=True, stripes=True
                    ),
                ),
            ),
        ),
        (
            "On Compare, look at *Difference*. Which detail of the body does the filter damage?",
            "Reconstruct the scan of the faulty detector with total variation. Does it remove the rings?",
        ),
        "Why are rings near the axis stronger than rings far from it?",
        "The same error is spread over the circumference of its ring, which is short near the axis.",
    ),
    "motion": Lesson(
        "Motion",
        4,
        "A scan takes time. If the object moves during the scan, the views do not show the same object.",
        (
            compare(
                "A chest at rest, during three breaths, and after a sudden shift by 10 mm in the middle of "
                "the scan. Edges become double or blurred. Streaks run along the rays of the views in which "
                "the object moved.",
                "Compare rest, breathing and a jump",
                run(CHEST, "fbp"),
                run(CHEST, "fbp", _with(Effects(motion=Motion("breathing", (15.0, 0.0, 0.0))))),
                run(CHEST, "fbp", _with(Effects(motion=Motion("jump", (0.0, 0.0, 10.0))))),
                plane="coronal",
            ),
            compare(
                "A faster scan helps: the object hardly moves during a tenth of a breath. A slow scanner can "
                "use only the views of one breathing phase. These are few views, so the reconstruction needs "
                "a prior.",
                "Compare three breaths with a tenth of one",
                run(CHEST, "fbp", _with(Effects(motion=Motion("breathing", (15.0, 0.0, 0.0))))),
                run(CHEST, "fbp", _with(Effects(motion=Motion("breathing", (15.0, 0.0, 0.0), cycles=0.1)))),
                plane="coronal",
            ),
        ),
        (
            "On Acquire, choose *Drift* and watch the sinogram: its first and last row do not match.",
            "Does total variation or the prior correct motion? Compare them with FBP.",
        ),
        "Why does a slow drift over half a turn give a *C* instead of a double edge?",
        "The first and the last views show the object at the two ends of the drift. Each view puts an edge "
        "at a different place, and together these places form an arc.",
    ),
    "misalignment": Lesson(
        "A badly aligned scanner",
        4,
        "The reconstruction must know the position of the rotation axis. An error of a few pixels doubles "
        "all edges.",
        (
            compare(
                "A perfect scanner, and a scanner whose axis is 8 mm away from its assumed position. Small "
                "objects become arcs. The correction estimates the axis from the projections: over the "
                "views, the centre of mass follows a sine curve about the axis.",
                "Compare aligned, misaligned and corrected",
                run(CHEST, "fbp"),
                run(CHEST, "fbp", _with(Effects(misalignment=Misalignment(axis_offset=8.0)))),
                run(CHEST, "fbp", _with(Effects(misalignment=Misalignment(axis_offset=8.0)), axis=True)),
            ),
            compare(
                "A detector with a roll of 2 degrees. The axis is at a different column in each row, so the "
                "slices at the top and at the bottom show opposite errors.",
                "Compare aligned and rolled",
                run(CHEST, "fbp"),
                run(CHEST, "fbp", _with(Effects(misalignment=Misalignment(roll=2.0)))),
                plane="coronal",
            ),
        ),
        (
            "Set *Axis offset* to half a pixel. Can you still see it? Look at *Difference* on Compare.",
            "Use a cone beam over a full turn. The error then looks different, because opposite rays do "
            "not coincide.",
        ),
        "Why does an axis offset double edges in a full turn, but bend them in half a turn?",
        "Over a full turn, opposite views shift an edge in opposite directions, so it appears twice. Over "
        "half a turn, only one of the two arcs appears.",
    ),
    "scatter": Lesson(
        "Scatter",
        4,
        "Some photons scatter in the object and reach wrong pixels. They add a smooth background to each "
        "view.",
        (
            compare(
                "An abdomen without scatter, with a ratio of scatter to primary of 0.4, and with a "
                "correction. Scatter is a small part of the signal where the beam is strong, and a large "
                "part behind the body. So the densest paths seem to absorb less, and the middle becomes "
                "dark.",
                "Compare without, with and corrected",
                run(ABDOMEN, "fbp"),
                run(ABDOMEN, "fbp", _with(Effects(scatter=Scatter(0.4)))),
                run(ABDOMEN, "fbp", _with(Effects(scatter=Scatter(0.4)), scatter=True)),
            ),
        ),
        (
            "On Acquire, set *Scatter-to-primary ratio* to 0.05, then to 1. Where is the error largest?",
            "Add noise (10\u202f000 photons per ray). The correction removes the mean scatter, but not its "
            "noise.",
        ),
        "Why can no correction restore the contrast-to-noise ratio?",
        "Scattered photons add noise. A correction subtracts their mean, but their noise remains.",
    ),
    "truncation": Lesson(
        "A detector that is too small",
        4,
        "If the object is wider than the detector, the outer rays are missing in every view.",
        (
            compare(
                "A chest with a detector of its full width, with half of that width, and with half of it and "
                "extrapolated projections. The ramp filter treats the abrupt end of a row as an edge, which "
                "causes a bright rim. Extrapolation continues each row like the edge of a water cylinder.",
                "Compare full, truncated and extrapolated",
                run(CHEST, "fbp"),
                run(CHEST, "fbp", {"det_shape": (48, 60), "pixel_size": (6.5, 4.2)}),
                run(CHEST, "fbp", {"det_shape": (48, 60), "pixel_size": (6.5, 4.2)}, extrapolate=True),
            ),
            Step(
                "The dashed circle in *Object* is the field of view. Every view measures it completely. "
                "Only this region can be reconstructed.",
                "See the field of view on Acquire",
                routes.ACQUIRE,
                replace(CHEST, det_shape=(48, 60), pixel_size=(6.5, 4.2)),
            ),
        ),
        (
            "On Acquire, set *Shift across* to a third of the detector's width and choose a full turn: half "
            "of the views then measure each side of the body.",
            "Reconstruct the truncated scan with SIRT. Where is the mass from outside the field of view?",
        ),
        "Is the inside of the field of view then exact?",
        "No. Local detail is right, but the mean level depends on the object outside, which was measured "
        "only in part. The extrapolation is an assumption about it.",
    ),
}
