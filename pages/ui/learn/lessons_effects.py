"""Lessons about real scans: what differs from an ideal scan, and how it is corrected."""

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
        "An X-ray tube sends photons of many energies. Soft ones are absorbed first, so the beam becomes "
        "harder "
        "on its way, and a long path seems to absorb less than it does.",
        (
            compare(
                "A head at one energy, at 120 kV, and at 120 kV with a correction for water. Without the "
                "correction the middle of the brain is too dark (**cupping**). The correction knows how much "
                "water gives each measured value.",
                "Compare one energy, 120 kV and the correction",
                run(HEAD, "fbp"),
                run(HEAD, "fbp", _with(HARD)),
                run(HEAD, "fbp", _with(HARD, hardening=True)),
            ),
            compare(
                "Two steel rods in an abdomen. Hardly any photon passes both, so the band between them is "
                "dark, and streaks leave each rod. Metal artefact reduction replaces the rays through metal "
                "by values from both sides of its shadow (LI). NMAR first divides by the sinogram of a "
                "simple image, so that the replaced values follow the bones.",
                "Compare steel without and with reduction",
                run(ABDOMEN, "fbp", _with(METAL)),
                run(ABDOMEN, "fbp", _with(METAL, hardening=True, metal="LI")),
                run(ABDOMEN, "fbp", _with(METAL, hardening=True, metal="NMAR")),
            ),
            Step(
                "The scan with the rods on Acquire. Under *Effects of a real scan*, choose titanium, or move "
                "a rod, and watch its shadow in the sinogram.",
                "Open the rods on Acquire",
                routes.ACQUIRE,
                replace(ABDOMEN, effects=METAL),
            ),
        ),
        (
            "Raise the aluminium filter to 10 mm. The cupping becomes smaller. What does it cost?",
            "Choose a photon-counting detector. It weights soft photons more than an integrating one.",
        ),
        "Why does the correction for water leave dark bands between bones?",
        "Bone hardens the beam more than water does for the same measured value. A curve for water alone "
        "cannot "
        "distinguish the two.",
    ),
    "rings": Lesson(
        "Rings",
        4,
        "A detector pixel with a wrong gain measures the same error in every view. The reconstruction "
        "makes a "
        "ring of it.",
        (
            compare(
                "An ideal detector, and one whose pixels differ by 2 %. In the sinogram the errors are "
                "vertical stripes, because a pixel keeps its place while the object turns.",
                "Compare an ideal and an uneven detector",
                run(CHEST, "fbp"),
                run(CHEST, "fbp", _with(Effects(faults=DetectorFaults(gain=0.02)))),
            ),
            compare(
                "The filter sorts each column of the sinogram by value, smooths across the columns, and "
                "sorts "
                "back. A stripe shifts a whole column, so sorting makes it easy to see. Dead pixels are "
                "interpolated.",
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
            "Reconstruct the uneven detector with total variation. Does it remove the rings?",
        ),
        "Why are rings near the axis stronger than far from it?",
        "The same error is spread over the circumference of its ring, which is short near the axis.",
    ),
    "motion": Lesson(
        "Motion",
        4,
        "A scan takes time. If the object moves meanwhile, the views do not belong to one object.",
        (
            compare(
                "A chest at rest, during three breaths, and after a sudden shift by 10 mm in the middle of "
                "the "
                "scan. Edges become double or blurred, with streaks along the rays of the views at which the "
                "object moved.",
                "Compare rest, breathing and a jump",
                run(CHEST, "fbp"),
                run(CHEST, "fbp", _with(Effects(motion=Motion("breathing", (15.0, 0.0, 0.0))))),
                run(CHEST, "fbp", _with(Effects(motion=Motion("jump", (0.0, 0.0, 10.0))))),
                plane="coronal",
            ),
            compare(
                "The remedy is a faster scan: during a tenth of a breath, the object hardly moves. A "
                "scanner that "
                "cannot turn faster can use the views of one phase of the breath alone, which are few: then "
                "a prior is needed.",
                "Compare three breaths with a tenth of one",
                run(CHEST, "fbp", _with(Effects(motion=Motion("breathing", (15.0, 0.0, 0.0))))),
                run(CHEST, "fbp", _with(Effects(motion=Motion("breathing", (15.0, 0.0, 0.0), cycles=0.1)))),
                plane="coronal",
            ),
        ),
        (
            "On Acquire, choose *Drift* and watch the sinogram: its first and last row do not fit together.",
            "Does total variation or the prior correct motion? Compare them with FBP.",
        ),
        "Why does a slow drift over half a turn give a *C* instead of a double edge?",
        "Opposite views see the object at the two ends of the drift. Each view draws its edge at another "
        "place, "
        "and together these places form an arc.",
    ),
    "misalignment": Lesson(
        "A badly aligned scanner",
        4,
        "The reconstruction must know where the rotation axis is. An error of a few pixels doubles all "
        "edges.",
        (
            compare(
                "A perfect scanner, and one whose axis lies 8 mm beside the assumed place. Small objects "
                "become arcs. The axis is estimated from the projections: the centre of mass of each view "
                "follows a sine curve about it.",
                "Compare aligned, misaligned and corrected",
                run(CHEST, "fbp"),
                run(CHEST, "fbp", _with(Effects(misalignment=Misalignment(axis_offset=8.0)))),
                run(CHEST, "fbp", _with(Effects(misalignment=Misalignment(axis_offset=8.0)), axis=True)),
            ),
            compare(
                "A detector that is rolled by 2 degrees. The axis lies at another column in every row, so "
                "that the slices at the top and at the bottom show opposite errors.",
                "Compare aligned and rolled",
                run(CHEST, "fbp"),
                run(CHEST, "fbp", _with(Effects(misalignment=Misalignment(roll=2.0)))),
                plane="coronal",
            ),
        ),
        (
            "Set *Axis offset* to half a pixel. Can you still see it? Look at *Difference* on Compare.",
            "Use a cone beam over a full turn. The error then looks different, because opposite rays no "
            "longer coincide.",
        ),
        "Why does an axis offset double edges in a full turn, but bend them in half a turn?",
        "Over a full turn the object is drawn once shifted to each side. Over half a turn only one of the "
        "two "
        "halves of the arc is drawn.",
    ),
    "scatter": Lesson(
        "Scatter",
        4,
        "Photons change their direction in the object and reach wrong pixels. They add a smooth haze to each "
        "view.",
        (
            compare(
                "An abdomen without scatter, with as much scatter as 40 % of the direct signal, and with a "
                "correction. The haze is small where the beam is strong, and large in the deep shadow of the "
                "body. So the densest paths seem to absorb less, and the middle becomes dark.",
                "Compare without, with and corrected",
                run(ABDOMEN, "fbp"),
                run(ABDOMEN, "fbp", _with(Effects(scatter=Scatter(0.4)))),
                run(ABDOMEN, "fbp", _with(Effects(scatter=Scatter(0.4)), scatter=True)),
            ),
        ),
        (
            "On What if or Acquire, change *Scatter / primary* from 0.05 to 1. Where is the error largest?",
            "Add photon noise (10\u202f000 a ray). The correction removes the haze, but not its noise.",
        ),
        "Why can no correction bring back the contrast-to-noise ratio?",
        "The scattered photons have noise of their own. Their mean can be subtracted; their noise stays.",
    ),
    "truncation": Lesson(
        "A detector that is too small",
        4,
        "If the object is wider than the detector, the outer rays are missing in every view.",
        (
            compare(
                "A chest with a detector of its full width, with half of it, and with half of it and "
                "extrapolated projections. The ramp filter takes the abrupt end of a row for an edge: a "
                "bright "
                "rim. Extrapolation lets each row end as a cylinder of water would.",
                "Compare full, truncated and extrapolated",
                run(CHEST, "fbp"),
                run(CHEST, "fbp", {"det_shape": (48, 60), "pixel_size": (6.5, 4.2)}),
                run(CHEST, "fbp", {"det_shape": (48, 60), "pixel_size": (6.5, 4.2)}, extrapolate=True),
            ),
            Step(
                "The dashed circle in *Object* is the field of view, which every view contains. Only the "
                "region inside it can be reconstructed.",
                "See the field of view on Acquire",
                routes.ACQUIRE,
                replace(CHEST, det_shape=(48, 60), pixel_size=(6.5, 4.2)),
            ),
        ),
        (
            "On Acquire, set *Shift across* to a third of the detector's width and choose a full turn: each "
            "side of the body is then seen in half of the views.",
            "Reconstruct the truncated scan with SIRT. Where does it put the mass outside the field of view?",
        ),
        "Is the inside of the field of view then exact?",
        "No. Local detail is right, but the level depends on what lies outside, which was measured only in "
        "part. "
        "The extrapolation assumes it.",
    ),
}
