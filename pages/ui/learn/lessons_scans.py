"""Lessons about scans: the measurement, and its missing data and noise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pages.ui.learn.lesson_parts import LIGHT, SPHERES, THIN, THORAX, Lesson, Step, compare, run
from pages.ui.session import routes
from tomopatch.runs.config import ScanConfig

DISCS = ScanConfig(
    "phantom:defrise",
    LIGHT,
    beam="cone",
    num_views=120,
    angle_range=360.0,
    src_orig_dist=300.0,
    src_det_dist=600.0,
)

NINETY_DEGREES: dict[str, Any] = {"num_views": 60, "angle_range": 90.0}

ABOUT_SCANS: dict[str, Lesson] = {
    "projections": Lesson(
        "What a scanner measures",
        4,
        "An X-ray picture adds up the attenuation along each ray. A scan takes such pictures from many "
        "directions.",
        (
            Step(
                "A large ball with five small ones inside is scanned from 180 directions. The **sinogram** "
                "shows one row of the detector, with a line for each direction. Click a small ball in "
                "*Object* (two lie in this slice; turn the wheel to find the others). As the scanner turns, "
                "the ball's shadow moves from side to side and draws a sine curve. Then click in the "
                "sinogram to see that ray in the object.",
                "Open the balls on Acquire",
                routes.ACQUIRE,
                SPHERES,
            ),
            Step(
                "The same for a chest. Each voxel draws such a curve, and the sinogram is the sum of all "
                "curves. Reconstruction finds the volume whose curves add up to the measurement.",
                "Open a chest on Acquire",
                routes.ACQUIRE,
                THORAX,
            ),
        ),
        (
            "Set *Views* to 3. How many pictures do you need to locate the balls?",
            "Choose *Cone* as the *Beam*. The shadow of a ball grows when the ball is closer to the source.",
            "Under *Detector and orbit*, switch off *Fit the detector to the volume* and raise *Shift "
            "across* until the field of view no longer contains the object.",
        ),
        "Where is a ball whose shadow draws a straight line instead of a curve?",
        "On the axis of rotation. For any other ball, its distance from the axis sets the curve's amplitude, "
        "its direction the phase.",
    ),
    "filter": Lesson(
        "Why filtered",
        4,
        "Backprojection smears each picture back along its rays. The result is blurred, and a filter "
        "corrects this exactly.",
        (
            compare(
                "180 views without noise. **Without the filter** the volume is hazy: the smears of all "
                "directions add up at each point and still overlap around it, which surrounds the point with "
                "a glow. The ramp filter makes each smear negative next to its centre, so that the glow "
                "cancels. The narrow window shows the faint balls in the haze; press 5 in a picture for the "
                "full range.",
                "Compare with and without the filter",
                run(SPHERES, "fbp", filter="none"),
                run(SPHERES, "fbp"),
                window=(-420, 80),
            ),
            compare(
                "The ramp amplifies fine detail, including noise. Compare the pure ramp (Ram-Lak) with one "
                "that suppresses high frequencies (Hann), at 10\u202f000 photons per ray.",
                "Compare two filters on a noisy scan",
                run(THORAX, "fbp", {"photons": 1e4}),
                run(THORAX, "fbp", {"photons": 1e4}, filter="hann"),
            ),
        ),
        (
            "On Reconstruct, try all filters on the noisy scan. FBP updates automatically.",
            "Look at *Values along a line*. Which filter keeps the edge of the lung sharpest?",
        ),
        "Why does the glow in the unfiltered picture fall as one over the distance?",
        "All smears pass through the point and through each circle around it. The circle's length 2πr grows "
        "with the distance r, so the same amount is spread more thinly. In frequencies this is a division by "
        "|f|; the ramp multiplies by |f|.",
    ),
    "views": Lesson(
        "Too few views",
        5,
        "Each view costs dose and time. With too few views, streaks show the directions of the pictures.",
        (
            compare(
                "A chest from 180, 60, 20 and 10 directions, reconstructed with filtered backprojection. The "
                "streaks run along the rays of the views. Nothing was measured between them.",
                "Compare four numbers of views",
                *(run(THORAX, "fbp", {"num_views": n}) for n in (180, 60, 20, 10)),
            ),
            Step(
                "How fast does the quality drop, and does another method need as many views? Press *Run* on "
                "What if. Each point is a scan with its reconstruction; click a point to see it.",
                "Open the curve on What if",
                routes.WHAT_IF,
                replace(THORAX, grid=THIN),
                sweep={"num_views": "8, 20, 40, 100", "angle_range": "", "photons": "", "methods": "fbp,tv"},
            ),
        ),
        (
            "On Compare, choose *Difference*. Streaks show no anatomy.",
            "On Acquire, move *Views* and watch *Frequencies*. Inside the dashed circle there are enough "
            "views.",
            "Add SIRT on What if. How much better than FBP is it with 8 views, and with 100?",
        ),
        "How many views does filtered backprojection need for 64 voxels across, as in the curve?",
        "About π/2 times 64, or 100. Then the samples at the edge of the frequency disc are as dense as "
        "those along the detector. With a tenth of them the curve on What if is much lower.",
    ),
    "angles": Lesson(
        "Limited angle and the missing wedge",
        5,
        "Some scanners cannot rotate all the way around the object. Edges along the missing directions are "
        "lost.",
        (
            compare(
                "60 views each, spread over 180, 120 and 90 degrees. The number of views is the same, but a "
                "whole wedge of directions is missing.",
                "Compare three angle ranges",
                *(run(THORAX, "fbp", {"num_views": 60, "angle_range": a}) for a in (180.0, 120.0, 90.0)),
            ),
            Step(
                "The scan over 90 degrees. Each view measures one line of *Frequencies* (central slice "
                "theorem). As the scanner turns, the yellow line sweeps over the measured frequencies. It "
                "never reaches the orange wedge. Move *Angle range* and watch the wedge open and close.",
                "See the missing wedge on Acquire",
                routes.ACQUIRE,
                replace(THORAX, **NINETY_DEGREES),
            ),
            compare(
                "Total variation prefers uniform regions with sharp edges. It removes the streaks, but "
                "cannot restore the missing edges.",
                "Compare with total variation",
                *(run(THORAX, m, {"grid": LIGHT, **NINETY_DEGREES}) for m in ("fbp", "tv")),
            ),
        ),
        (
            "Set *First view* under *Detector and orbit* to 90. Now other edges vanish.",
            "Compare 20 views over 180 degrees with 60 views over 60 degrees. Which is worse, and where?",
        ),
        "Which edges are still sharp in the scan over 90 degrees?",
        "Edges parallel to a measured ray. An edge without a ray along it leaves no jump in any picture.",
    ),
    "cone": Lesson(
        "Cone-beam artefacts",
        4,
        "A flat detector measures a whole volume at once. Outside the middle plane, however, the data are "
        "incomplete.",
        (
            compare(
                "A stack of flat discs, seen from the side (the *coronal* plane), scanned with 120 views and "
                "a close source. Feldkamp's formula (FDK) is exact in the middle plane; the outer discs fade "
                "and bend.",
                "Compare FDK with the reference",
                run(DISCS, "fdk"),
                plane="coronal",
            ),
            compare(
                "SIRT only requires that the projections fit. It is better in some places, but cannot "
                "restore data that no ray measured.",
                "Compare FDK and SIRT",
                run(DISCS, "fdk"),
                run(DISCS, "sirt", num_iterations=60),
                plane="coronal",
            ),
        ),
        (
            "On Acquire, move the source away (*Source to axis* 800, *Source to detector* 1200). The cone "
            "becomes narrow and the discs reappear.",
            "Set *Pitch* under *Detector and orbit* to 100, a helical scan. Now the source passes through "
            "the plane of each disc, and SIRT restores them.",
        ),
        "Why do discs suffer more than balls?",
        "A disc's flat faces show only to rays in their plane. Off the middle, the source never enters it "
        "(Tuy's condition). A ball loses only small caps at its poles.",
    ),
    "dose": Lesson(
        "Dose and noise",
        4,
        "X-rays arrive as single photons. Fewer photons mean less dose and more noise.",
        (
            compare(
                "60 views with 1\u202f000, 10\u202f000 and 100\u202f000 photons per ray. Few photons pass "
                "through thick parts. The noise is therefore strongest in the middle, and rays with hardly "
                "any photons cause streaks.",
                "Compare three doses",
                *(
                    run(THORAX, "fbp", {"num_views": 60, "photons": p}, filter="hann")
                    for p in (1e3, 1e4, 1e5)
                ),
            ),
            Step(
                "The same as a curve, with 40 views, for FBP and for total variation, which weights each ray "
                "by its noise. Press *Run* on What if.",
                "Open the curve on What if",
                routes.WHAT_IF,
                replace(THORAX, grid=THIN, num_views=40),
                sweep={
                    "num_views": "",
                    "angle_range": "",
                    "photons": "1e3, 5e3, 2e4, 1e5",
                    "methods": "fbp,tv",
                },
            ),
        ),
        (
            "Compare two scans of equal dose: 20 views at 30\u202f000 photons per ray, and 60 views at "
            "10\u202f000.",
            "Which filter is best at 1\u202f000 photons per ray? And at 100\u202f000?",
        ),
        "By which factor must the dose grow to halve the noise?",
        "By four. The standard deviation of a count of N photons is the square root of N. Relative to the "
        "count it falls as one over the square root of N.",
    ),
}  # fmt: skip
