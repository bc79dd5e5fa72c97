"""The lessons: short texts whose steps open the app in a state where the thing can be seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from core.runs.config import RunConfig, ScanConfig
from core.scan.scene import Lesion
from pages.ui import shell
from pages.ui.lesson_parts import Lesson, Step

GRID = (64, 128, 128)
LIGHT = (64, 96, 96)
SMALL = (32, 96, 96)
"""For what takes longer: a step of a lesson should be done within half a minute on a laptop."""
THIN = (16, 96, 96)
"""For curves, of which each point is a run: as fine across as the last, in half as many slices."""
THORAX = ScanConfig("phantom:thorax:0", GRID, num_views=180)
SPHERES = ScanConfig("phantom:spheres", GRID, num_views=180)
DISCS = ScanConfig(
    "phantom:defrise",
    LIGHT,
    beam="cone",
    num_views=120,
    angle_range=360.0,
    src_orig_dist=300.0,
    src_det_dist=600.0,
)
NODULE = Lesion((10.0, 0.0, -70.0), 6.0, 40.0)


def _compare(text: str, label: str, *runs: RunConfig, plane: str = "axial") -> Step:
    return Step(text, label, shell.COMPARE, runs[0].scan, runs, plane=plane)


def _run(scan: ScanConfig, method: str, changes: dict[str, Any] | None = None, **params: Any) -> RunConfig:
    return RunConfig(replace(scan, **(changes or {})), method, params)


LESSONS: dict[str, Lesson] = {
    "projections": Lesson(
        "What a scanner measures",
        4,
        "An X-ray picture adds up what is in the way of each ray. A scan is many such pictures, one for each direction.",
        (
            Step(
                "Five balls in a larger one are scanned from 180 directions. The **sinogram** shows one row of the "
                "detector: a line for each direction. Click one of the balls in *Object*: as the scanner turns, its shadow "
                "swings from side to side and draws a sine curve. Then click into the sinogram: the ray that was measured "
                "there is drawn through the object.",
                "Open the balls on Acquire",
                shell.ACQUIRE,
                SPHERES,
            ),
            Step(
                "The same for a chest. Every voxel of it draws such a curve; the sinogram is the sum of them all. To "
                "reconstruct is to find the volume whose curves add up to what was measured.",
                "Open a chest on Acquire",
                shell.ACQUIRE,
                THORAX,
            ),
        ),
        (
            "Set *Views* to 3: how many pictures would you need to tell where the balls are?",
            "Choose a cone beam: the shadows grow when a ball comes nearer to the source.",
            "Shift the detector sideways under *Detector and orbit* until the field of view no longer holds the object.",
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
            _compare(
                "180 views without noise. **Without the filter** everything lies in a haze: where the smears of all "
                "directions meet, they add up, and near it they still overlap, so that each point is surrounded by a glow "
                "that falls with the distance. The ramp filter makes each smear negative beside its middle: the glow cancels.",
                "Compare with and without the filter",
                _run(SPHERES, "fbp", filter="none"),
                _run(SPHERES, "fbp"),
            ),
            _compare(
                "The ramp raises fine detail, and noise is fine detail. Here are 10 000 photons a ray: the pure ramp "
                "(Ram-Lak) and one that gives up at high frequencies (Hann).",
                "Compare two filters on a noisy scan",
                _run(THORAX, "fbp", {"photons": 1e4}),
                _run(THORAX, "fbp", {"photons": 1e4}, filter="hann"),
            ),
        ),
        (
            "On Reconstruct, go through all filters on the noisy scan: FBP follows at once.",
            "Look at *Values along a line*: which filter keeps the edge of the lung the sharpest?",
        ),
        "Why does the glow of the unfiltered picture fall as one over the distance?",
        "All smears pass through the point, and a circle around it is 2 pi r long: the same amount is spread over a "
        "line that grows with r. In frequencies that is a division by |f|, and the ramp multiplies by |f|.",
    ),
    "views": Lesson(
        "Too few views",
        5,
        "Each view costs dose and time. Leave most of them out, and the formula shows where the pictures were taken.",
        (
            _compare(
                "The same chest from 180, 60, 20 and 10 directions, reconstructed by filtered backprojection. The "
                "streaks run along the rays of the views that are there; between them nothing was measured.",
                "Compare four numbers of views",
                *(_run(THORAX, "fbp", {"num_views": n}) for n in (180, 60, 20, 10)),
            ),
            Step(
                "How fast does it get worse, and does another method need as many? Each point is a scan and a "
                "reconstruction of its own; click one to see it.",
                "Open the curve on What if",
                shell.WHAT_IF,
                replace(THORAX, grid=THIN),
                sweep={"num_views": "8, 20, 40, 80, 160", "angle_range": "", "photons": "", "methods": "fbp,tv"},
            ),
        ),
        (
            "In Compare choose *Difference* against the reference: streaks have no anatomy.",
            "On Acquire move *Views* and watch *Frequencies*: within the dashed circle the lines are dense enough.",
            "Add SIRT on What if. At how many views does FBP overtake it?",
        ),
        "How many views does filtered backprojection need for 96 voxels across, as in the curve?",
        "About pi/2 times 96, some 150: then the samples at the edge of the frequency disc are as dense as those along "
        "the detector. With a tenth of them the curve on What if is far below.",
    ),
    "angles": Lesson(
        "Limited angle and the missing wedge",
        5,
        "Sometimes the scanner cannot go all the way round. What it never saw from the side, it cannot know.",
        (
            _compare(
                "60 views each, spread over 180, 120 and 90 degrees. It is not the number that is missing, but a whole "
                "wedge of directions.",
                "Compare three angle ranges",
                *(_run(THORAX, "fbp", {"num_views": 60, "angle_range": a}) for a in (180.0, 120.0, 90.0)),
            ),
            Step(
                "The scan over 90 degrees, as it is taken. Every view measures one line of *Frequencies* (the central slice "
                "theorem); as the scanner turns, the yellow line sweeps over what is measured. The orange wedge is never "
                "reached: move *Angle range* and watch it open and close.",
                "See the missing wedge on Acquire",
                shell.ACQUIRE,
                replace(THORAX, num_views=60, angle_range=90.0),
            ),
            _compare(
                "Total variation prefers even regions with sharp edges. It takes the streaks away, but it has not seen "
                "the missing edges either.",
                "Compare with total variation",
                *(_run(THORAX, m, {"num_views": 60, "angle_range": 90.0}) for m in ("fbp", "tv")),
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
            _compare(
                "A stack of flat discs, seen from the side (the *coronal* plane); 120 views, a source that is near. Feldkamp's "
                "formula (FDK) is exact in the middle and lets the outer discs fade and bend.",
                "Compare FDK with the truth",
                _run(DISCS, "fdk"),
                plane="coronal",
            ),
            _compare(
                "SIRT asks only that the projections fit. It does better at some places; what no ray tells, it cannot "
                "know either.",
                "Compare FDK and SIRT",
                _run(DISCS, "fdk"),
                _run(DISCS, "sirt"),
                plane="coronal",
            ),
        ),
        (
            "Move the source away on Acquire (800 and 1200 mm): the cone gets narrow and the discs come back.",
            "Give the scan a helical pitch: then SIRT sees every disc edge-on once.",
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
            _compare(
                "60 views with 1 000, 10 000 and 100 000 photons a ray. Behind thick parts few photons are left: the "
                "noise is not even, it makes streaks from one shoulder to the other.",
                "Compare three doses",
                *(_run(THORAX, "fbp", {"num_views": 60, "photons": p}, filter="hann") for p in (1e3, 1e4, 1e5)),
            ),
            Step(
                "The same as a curve, for a formula and for a method that knows how sure each ray is.",
                "Open the curve on What if",
                shell.WHAT_IF,
                replace(THORAX, grid=THIN, num_views=60),
                sweep={"num_views": "", "angle_range": "", "photons": "1e3, 3e3, 1e4, 3e4, 1e5", "methods": "fbp,tv"},
            ),
        ),
        (
            "Same dose, spent otherwise: 20 views at 30 000 photons against 60 at 10 000.",
            "Which filter is best at 1 000 photons? And at 100 000?",
        ),
        "How much more dose halves the noise?",
        "Four times. The count of N photons is uncertain by its square root, so relative to the count it falls as one "
        "over the square root of N.",
    ),
    "iterative": Lesson(
        "What iterative methods add",
        5,
        "Instead of a formula: guess a volume, project it, compare with the measurement, correct, again and again.",
        (
            _compare(
                "20 views. FBP takes what is missing for zero. SIRT corrects until the projections fit, CGLS does it "
                "faster, and total variation also asks for even regions with sharp edges.",
                "Compare four methods",
                *(_run(THORAX, m, {"num_views": 20, "photons": 1e5}) for m in ("fbp", "sirt", "cgls", "tv")),
            ),
            Step(
                "CGLS with 100 iterations on a noisy scan: watch *PSNR*. It rises, and then falls, while the residual only "
                "ever falls: first the object is fitted, then the noise.",
                "Watch CGLS go too far",
                shell.RECONSTRUCT,
                replace(THORAX, num_views=60, photons=1e4),
                (_run(THORAX, "cgls", {"num_views": 60, "photons": 1e4}, num_iterations=100),),
            ),
        ),
        (
            "Raise the smoothness of total variation tenfold: what vanishes first?",
            "Press *Finish now* at the best PSNR. Without a reference, how would you know when to stop?",
        ),
        "If the residual is nearly zero, is the volume right?",
        "No. With few views many volumes have the same projections, and with noise the right one does not fit exactly. "
        "That is where a prior comes in: which of the volumes that fit is likely?",
    ),
    "prior": Lesson(
        "What a learned prior adds, and where it invents",
        6,
        "A network that has seen CT volumes can say which of the volumes that fit is likely. It can also be wrong.",
        (
            _compare(
                "20 views of a digital patient that the prior has never seen. It takes off what does not look like CT, "
                "and the measurement pulls it back to what was seen, in turns.",
                "Compare total variation and diffusion",
                *(
                    _run(THORAX, m, {"grid": LIGHT, "num_views": 20, "photons": 1e5})
                    for m in ("fbp", "tv", "diffusion")
                ),
            ),
            _compare(
                "Now a nodule of 12 mm is planted in the lung, and there are only 8 views. Find it in the reference "
                "first, then look for it in the others, and for spots that look like it and are not in the reference.",
                "Look for the nodule",
                *(
                    _run(THORAX, m, {"grid": LIGHT, "num_views": 8, "photons": 1e5, "lesions": (NODULE,)})
                    for m in ("tv", "diffusion")
                ),
            ),
        ),
        (
            "On Acquire, make the nodule smaller or fainter until it is lost. With how many views does it come back?",
            "On Prior, let the prior draw a volume from noise: all of it is invented.",
        ),
        "A reconstruction by diffusion looks sharper than one by total variation. Is it more reliable?",
        "Not by that alone. Sharpness can come from the measurement or from the prior, and the picture does not say which. "
        "Compare with the residual, with several samples, and with fewer assumptions before believing a detail.",
    ),
    "uncertainty": Lesson(
        "How sure is it?",
        5,
        "Draw several volumes that fit the scan and look like CT. Where they differ, the scan did not decide.",
        (
            Step(
                "Four samples from 12 views. Their mean is the estimate, and the map beside it is their deviation: it is "
                "large at edges and where streaks cross.",
                "Draw four samples",
                shell.RECONSTRUCT,
                replace(THORAX, grid=SMALL, num_views=12, photons=1e5),
                (_run(THORAX, "diffusion", {"grid": SMALL, "num_views": 12, "photons": 1e5}, num_samples=4, num_steps=5),),
            ),
            _compare(
                "Is the error large where the deviation is? Choose *Difference* and compare the two maps.",
                "Compare with the truth",
                _run(THORAX, "diffusion", {"grid": SMALL, "num_views": 12, "photons": 1e5}, num_samples=4, num_steps=5),
                _run(THORAX, "tv", {"grid": SMALL, "num_views": 12, "photons": 1e5}),
            ),
        ),
        (
            "Take 60 views: the deviation shrinks. Does the error shrink as much?",
            "Look for a place with a small deviation and a large error. There the prior is sure and wrong.",
        ),
        "Can the deviation be smaller than the error?",
        "Yes. Samples share what the prior believes and what the start got wrong, so that they differ far less than they "
        "are off. What you see has been widened until it fitted the errors of scans whose truth was known; that makes "
        "it right on average, not in every place.",
    ),
}  # fmt: skip
"""In the order in which they build on each other."""
