"""The lessons about scans: what is measured, and what is missing or noisy in it."""

from __future__ import annotations

from dataclasses import replace

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

ABOUT_SCANS: dict[str, Lesson] = {
    "projections": Lesson(
        "What a scanner measures",
        4,
        "An X-ray picture adds up what is in the way of each ray. A scan is many such pictures, one for each direction.",
        (
            Step(
                "Five balls in a larger one are scanned from 180 directions. The **sinogram** shows one row of the "
                "detector: a line for each direction. Click a ball in *Object* (two lie in its slice, the wheel finds the "
                "others): as the scanner turns, its shadow swings from side to side and draws a sine curve. Then click into "
                "the sinogram: the ray that was measured there is drawn through the object.",
                "Open the balls on Acquire",
                routes.ACQUIRE,
                SPHERES,
            ),
            Step(
                "The same for a chest. Every voxel of it draws such a curve; the sinogram is the sum of them all. To "
                "reconstruct is to find the volume whose curves add up to what was measured.",
                "Open a chest on Acquire",
                routes.ACQUIRE,
                THORAX,
            ),
        ),
        (
            "Set *Views* to 3: how many pictures would you need to tell where the balls are?",
            "Choose *Cone* as the *Beam*: the shadows grow when a ball comes nearer to the source.",
            "Under *Detector and orbit* take off *Fit the detector to the volume* and raise *Shift across* until the field "
            "of view no longer holds the object.",
        ),
        "Where is a ball whose shadow draws a straight line instead of a curve?",
        "On the axis of rotation. Its distance from the axis is the height of its sine curve, and the direction in "
        "which it lies is where the curve starts: the sinogram tells both.",
    ),
    "filter": Lesson(
        "Why filtered",
        4,
        "Smearing every picture back along its rays gives a volume, but a blurred one. One filter repairs that exactly.",
        (
            compare(
                "180 views without noise. **Without the filter** everything lies in a haze: where the smears of all "
                "directions meet, they add up, and near it they still overlap, so that each point is surrounded by a glow "
                "that falls with the distance. The ramp filter makes each smear negative beside its middle: the glow cancels.",
                "Compare with and without the filter",
                run(SPHERES, "fbp", filter="none"),
                run(SPHERES, "fbp"),
            ),
            compare(
                "The ramp raises fine detail, and noise is fine detail. Here are 10\u202f000 photons a ray: the pure ramp "
                "(Ram-Lak) and one that gives up at high frequencies (Hann).",
                "Compare two filters on a noisy scan",
                run(THORAX, "fbp", {"photons": 1e4}),
                run(THORAX, "fbp", {"photons": 1e4}, filter="hann"),
            ),
        ),
        (
            "On Reconstruct, go through all filters on the noisy scan: FBP follows at once.",
            "Look at *Values along a line*: which filter keeps the edge of the lung the sharpest?",
        ),
        "Why does the glow of the unfiltered picture fall as one over the distance?",
        "All smears pass through the point, and a circle around it is 2πr long: the same amount is spread over a "
        "line that grows with r. In frequencies that is a division by |f|, and the ramp multiplies by |f|.",
    ),
    "views": Lesson(
        "Too few views",
        5,
        "Each view costs dose and time. Leave most of them out, and the formula shows where the pictures were taken.",
        (
            compare(
                "The same chest from 180, 60, 20 and 10 directions, reconstructed by filtered backprojection. The "
                "streaks run along the rays of the views that are there; between them nothing was measured.",
                "Compare four numbers of views",
                *(run(THORAX, "fbp", {"num_views": n}) for n in (180, 60, 20, 10)),
            ),
            Step(
                "How fast does it get worse, and does another method need as many? Press *Run* there: each point is a scan "
                "and a reconstruction of its own; click one to see it.",
                "Open the curve on What if",
                routes.WHAT_IF,
                replace(THORAX, grid=THIN),
                sweep={"num_views": "8, 20, 40, 100", "angle_range": "", "photons": "", "methods": "fbp,tv"},
            ),
        ),
        (
            "In Compare choose *Difference* against the reference: streaks have no anatomy.",
            "On Acquire move *Views* and watch *Frequencies*: inside the dashed circle there are enough views.",
            "Add SIRT on What if: by how much is it above FBP at 8 views, and by how much at 100?",
        ),
        "How many views does filtered backprojection need for 64 voxels across, as in the curve?",
        "About π/2 times 64, some 100: then the samples at the edge of the frequency disc are as dense as those along "
        "the detector. With a tenth of them the curve on What if is far below.",
    ),
    "angles": Lesson(
        "Limited angle and the missing wedge",
        5,
        "Sometimes the scanner cannot go all the way round. What it never saw from the side, it cannot know.",
        (
            compare(
                "60 views each, spread over 180, 120 and 90 degrees. It is not the number that is missing, but a whole "
                "wedge of directions.",
                "Compare three angle ranges",
                *(run(THORAX, "fbp", {"num_views": 60, "angle_range": a}) for a in (180.0, 120.0, 90.0)),
            ),
            Step(
                "The scan over 90 degrees, as it is taken. Every view measures one line of *Frequencies* (the central slice "
                "theorem); as the scanner turns, the yellow line sweeps over what is measured. The orange wedge is never "
                "reached: move *Angle range* and watch it open and close.",
                "See the missing wedge on Acquire",
                routes.ACQUIRE,
                replace(THORAX, num_views=60, angle_range=90.0),
            ),
            compare(
                "Total variation prefers even regions with sharp edges. It takes the streaks away, but it has not seen "
                "the missing edges either.",
                "Compare with total variation",
                *(run(THORAX, m, {"grid": LIGHT, "num_views": 60, "angle_range": 90.0}) for m in ("fbp", "tv")),
            ),
        ),
        (
            "Set *First view* under *Detector and orbit* to 90: now other edges vanish.",
            "Take 20 views over 180 degrees instead of 60 over 60: which of the two is worse, and where?",
        ),
        "Which edges are still sharp in the scan over 90 degrees?",
        "Those that some ray touched along their length, that is, edges parallel to a measured ray. An edge that no ray "
        "ran along has left no jump in any picture.",
    ),
    "cone": Lesson(
        "Cone-beam artefacts",
        4,
        "A flat panel sees a whole volume at once, at a price: away from the middle plane the data are not complete.",
        (
            compare(
                "A stack of flat discs, seen from the side (the *coronal* plane); 120 views, a source that is near. Feldkamp's "
                "formula (FDK) is exact in the middle and lets the outer discs fade and bend.",
                "Compare FDK with the truth",
                run(DISCS, "fdk"),
                plane="coronal",
            ),
            compare(
                "SIRT asks only that the projections fit. It does better at some places; what no ray tells, it cannot "
                "know either.",
                "Compare FDK and SIRT",
                run(DISCS, "fdk"),
                run(DISCS, "sirt", num_iterations=60),
                plane="coronal",
            ),
        ),
        (
            "Move the source away on Acquire (*Source to axis* 800, *Source to detector* 1200): the cone gets narrow and the "
            "discs come back.",
            "Set *Pitch* under *Detector and orbit* to 100, a helix: then SIRT sees every disc edge-on once.",
        ),
        "Why do discs suffer more than balls?",
        "A disc far from the middle plane shows its edge only to rays that lie in its plane. From a circle the source "
        "never gets into that plane (Tuy's condition), while a ball has edges in every direction.",
    ),
    "dose": Lesson(
        "Dose and noise",
        4,
        "X-rays come as single photons. Fewer of them are less dose, and more noise.",
        (
            compare(
                "60 views with 1\u202f000, 10\u202f000 and 100\u202f000 photons a ray. Behind thick parts few photons are left: the "
                "noise is not even, it is strongest in the middle, and rays that hardly a photon came through draw streaks.",
                "Compare three doses",
                *(run(THORAX, "fbp", {"num_views": 60, "photons": p}, filter="hann") for p in (1e3, 1e4, 1e5)),
            ),
            Step(
                "The same as a curve, with 40 views, for a formula and for a method that knows how sure each ray is. Press *Run* "
                "there.",
                "Open the curve on What if",
                routes.WHAT_IF,
                replace(THORAX, grid=THIN, num_views=40),
                sweep={"num_views": "", "angle_range": "", "photons": "1e3, 5e3, 2e4, 1e5", "methods": "fbp,tv"},
            ),
        ),
        (
            "Same dose, spent otherwise: 20 views at 30\u202f000 photons against 60 at 10\u202f000.",
            "Which filter is best at 1\u202f000 photons? And at 100\u202f000?",
        ),
        "How much more dose halves the noise?",
        "Four times. The count of N photons is uncertain by its square root, so relative to the count it falls as one "
        "over the square root of N.",
    ),
}  # fmt: skip
