"""The lessons about methods: iteration, the learned prior, and how sure its volumes are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pages.ui.learn.lesson_parts import LIGHT, MIDDLE, SMALL, THORAX, Lesson, Step, compare, run
from pages.ui.session import routes
from tomopatch.phantoms.scene import Lesion

NODULE = Lesion((10.0, 0.0, -70.0), 6.0, 40.0)
TWENTY: dict[str, Any] = {"grid": SMALL, "num_views": 20, "photons": 1e5}
TWELVE: dict[str, Any] = {"grid": SMALL, "num_views": 12, "photons": 1e5}
EIGHT: dict[str, Any] = {"grid": MIDDLE, "num_views": 8, "photons": 1e5, "lesions": (NODULE,)}

ABOUT_METHODS: dict[str, Lesson] = {
    "iterative": Lesson(
        "What iterative methods add",
        5,
        "Instead of a formula: guess a volume, project it, compare with the measurement, correct, again and again.",
        (
            compare(
                "20 views. FBP takes what is missing for zero. SIRT corrects until the projections fit and allows nothing "
                "below vacuum, CGLS needs fewer corrections but has no such limit, and total variation also asks for even "
                "regions with sharp edges.",
                "Compare four methods",
                *(run(THORAX, m, {"grid": LIGHT, "num_views": 20, "photons": 1e5}) for m in ("fbp", "sirt", "cgls", "tv")),
            ),
            Step(
                "CGLS with 100 iterations on a noisy scan: watch *PSNR*. It rises, and then falls, while the residual only "
                "ever falls: first the object is fitted, then the noise.",
                "Watch CGLS go too far",
                routes.RECONSTRUCT,
                replace(THORAX, num_views=60, photons=1e4),
                (run(THORAX, "cgls", {"num_views": 60, "photons": 1e4}, num_iterations=100),),
            ),
        ),
        (
            "Raise *Smoothness* of total variation tenfold: what vanishes first?",
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
            compare(
                "20 views of a digital patient that the prior has never seen. In each pass the prior removes what does not "
                "look like CT, and the measurement pulls the volume back to what was measured.",
                "Compare total variation and diffusion",
                run(THORAX, "fbp", TWENTY),
                run(THORAX, "tv", TWENTY, num_iterations=150),
                run(THORAX, "diffusion", TWENTY, num_steps=2),
            ),
            compare(
                "Now a nodule of 12 mm is planted in the right lung (left in the picture), and there are only 8 views. Turn "
                "the wheel a slice or two towards the head and find it in the reference first, then look for it in the "
                "others, and for spots that look like it and are not in the reference. (The small prior, for it is quicker.)",
                "Look for the nodule",
                run(THORAX, "tv", EIGHT),
                run(THORAX, "diffusion", EIGHT, prior="small", num_steps=3),
            ),
        ),
        (
            "On Acquire, make the nodule smaller or fainter until it is lost. With how many views does it come back?",
            "On Prior, generate a volume from noise: all of it is invented.",
            "On Reconstruct, press *Watch it form*: the same scan, sampled from pure noise.",
        ),
        "A reconstruction by diffusion looks sharper than one by total variation. Is it more reliable?",
        "Not by that alone. Sharpness can come from the measurement or from the prior, and the picture does not say which. "
        "Compare with the residual, with several samples, and with fewer assumptions before believing a detail.",
    ),
    "uncertainty": Lesson(
        "How sure is it?",
        5,
        "Make several volumes that fit the scan and look like CT. Where they differ, the scan did not decide.",
        (
            Step(
                "Four samples from 12 views, by the small prior, which is quicker. Their mean is the estimate, and the map "
                "beside it is their deviation: it is large at edges and where streaks cross.",
                "Draw four samples",
                routes.RECONSTRUCT,
                replace(THORAX, **TWELVE),
                (run(THORAX, "diffusion", TWELVE, prior="small", num_steps=3, num_samples=4),),
            ),
            compare(
                "Is the error large where the deviation is? Choose *Difference* and compare the two maps.",
                "Compare with the truth",
                run(THORAX, "diffusion", TWELVE, prior="small", num_steps=3, num_samples=4),
                run(THORAX, "tv", TWELVE),
            ),
        ),
        (
            "Take 60 views: the deviation shrinks. Does the error shrink as much?",
            "Choose *base* for the prior, which takes three times as long: is the estimate closer, and the deviation smaller?",
            "Look for a place with a small deviation and a large error. There the prior is sure and wrong.",
        ),
        "Can the deviation be smaller than the error?",
        "Yes. All samples share what the prior believes and what the initial reconstruction got wrong, so they differ less "
        "than they are wrong. The deviation that you see was calibrated on scans with known truth. That makes it right "
        "on average, not in every place.",
    ),
}  # fmt: skip
