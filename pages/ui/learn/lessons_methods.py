"""Lessons about methods: iteration, the learned prior, and uncertainty."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pages.ui.learn.lesson_parts import LIGHT, SMALL, SPHERES, THORAX, Lesson, Step, compare, run
from pages.ui.session import routes
from tomopatch.phantoms.scene import Lesion

NODULE = Lesion((-20.0, 0.0, -128.0), 6.0, 40.0)
"""In the periphery of the right lung, where the phantom has no vessels that look like it."""
TWENTY: dict[str, Any] = {"grid": SMALL, "num_views": 20, "photons": 1e5}
TWELVE: dict[str, Any] = {"grid": SMALL, "num_views": 12, "photons": 1e5}
EIGHT: dict[str, Any] = {"grid": SMALL, "num_views": 8, "photons": 1e5, "lesions": (NODULE,)}
SAMPLED: dict[str, Any] = {"prior": "small", "mode": "posterior"}
BALLS: dict[str, Any] = {"grid": SMALL, "num_views": 8, "photons": 1e5}

ABOUT_METHODS: dict[str, Lesson] = {
    "iterative": Lesson(
        "What iterative methods add",
        5,
        "An iterative method guesses a volume, projects it, compares with the measurement, corrects it, and "
        "repeats.",
        (
            compare(
                "A scan with 20 views. FBP treats missing data as zero. SIRT corrects the volume until its "
                "projections fit, and clips negative values to zero. CGLS needs fewer iterations, but does "
                "not clip. Total variation also prefers piecewise constant volumes: uniform regions with "
                "sharp edges.",
                "Compare four methods",
                *(
                    run(THORAX, m, {"grid": LIGHT, "num_views": 20, "photons": 1e5})
                    for m in ("fbp", "sirt", "cgls", "tv")
                ),
            ),
            Step(
                "CGLS with 100 iterations on a noisy scan. Watch *PSNR*: it rises and then falls, while the "
                "residual always falls. The first iterations fit the object, the later ones fit the noise.",
                "Watch CGLS fit the noise",
                routes.RECONSTRUCT,
                replace(THORAX, num_views=60, photons=1e4),
                (run(THORAX, "cgls", {"num_views": 60, "photons": 1e4}, num_iterations=100),),
            ),
        ),
        (
            "Raise *Smoothness* of total variation tenfold. What vanishes first?",
            "Press *Finish now* at the best PSNR. Without a reference, how would you know when to stop?",
        ),
        "If the residual is nearly zero, is the volume correct?",
        "No. With few views, many volumes have the same projections. With noise, the correct one does not "
        "fit exactly. A prior helps to choose: which of the volumes that fit is likely?",
    ),
    "prior": Lesson(
        "What a learned prior adds, and where it invents",
        8,
        "A network trained on CT volumes can tell likely volumes from unlikely ones. It can also be wrong.",
        (
            compare(
                "20 views of a phantom that the prior has never seen. In each pass the prior removes "
                "structures that do not look like CT, and the data-consistency step pulls the volume back to "
                "the measurement.",
                "Compare total variation and diffusion",
                run(THORAX, "fbp", TWENTY),
                run(THORAX, "tv", TWENTY, num_iterations=150),
                run(THORAX, "diffusion", TWENTY, num_steps=2),
            ),
            compare(
                "Now a nodule of 12 mm is planted at the edge of the right lung (left in the picture), and "
                "there are only 8 views. The page opens at the nodule; *Go to lesion* returns to it. It "
                "is bright in the reference. The reconstructions have nearly lost it. The three diffusion "
                "volumes fit the same measurement and differ only in their seed. Compare the vessels next to "
                "the heart: a branch that is sharp in one volume and missing in another is invented. (This "
                "step samples from noise with the small, faster prior.)",
                "Look for the nodule",
                run(THORAX, "tv", EIGHT),
                *(
                    run(THORAX, "diffusion", EIGHT, **SAMPLED, num_steps=6, seed=seed)
                    for seed in (0, 1, 2)
                ),
            ),
            compare(
                "An object unlike a body: uniform balls, again with 8 views. Total variation expects uniform "
                "regions and is nearly right. The first diffusion volume stays close to it, because the "
                "measurement contradicts the prior's changes, as the note below the table says. "
                "The other two are sampled without images of the scan. They show a mottled texture that "
                "differs from seed to seed and is not in the reference, and the fainter ball is lost.",
                "Reconstruct uniform balls",
                run(SPHERES, "tv", BALLS),
                run(SPHERES, "diffusion", BALLS, **SAMPLED, num_steps=6),
                *(
                    run(SPHERES, "diffusion", BALLS, **SAMPLED, condition="none", num_steps=10, seed=seed)
                    for seed in (0, 1)
                ),
            ),
        ),
        (
            "On Acquire, make the nodule smaller or fainter until it is lost. How many views bring it back?",
            "On Prior, generate a volume from noise. All of it is invented.",
            "On Reconstruct, press *Watch it form* to sample this scan from pure noise.",
        ),
        "A diffusion reconstruction looks sharper than one with total variation. Is it more reliable?",
        "Not for that reason alone. Sharpness can come from the measurement or from the prior, and the "
        "picture does not say which. Before you trust a detail, check the residual, several samples, and "
        "methods with weaker assumptions.",
    ),
    "uncertainty": Lesson(
        "How certain is the result?",
        5,
        "Sample several volumes that fit the measurement and look like CT. Where they differ, the result is "
        "uncertain.",
        (
            Step(
                "Four samples from 12 views with the small, faster prior. Their mean is the estimate. The "
                "map next to it is their deviation, which is large at edges and where streaks cross.",
                "Compute four samples",
                routes.RECONSTRUCT,
                replace(THORAX, **TWELVE),
                (run(THORAX, "diffusion", TWELVE, prior="small", num_steps=3, num_samples=4),),
            ),
            compare(
                "Is the error large where the deviation is large? Choose *Difference* and compare the two "
                "maps.",
                "Compare with the reference",
                run(THORAX, "diffusion", TWELVE, prior="small", num_steps=3, num_samples=4),
                run(THORAX, "tv", TWELVE),
            ),
        ),
        (
            "Use 60 views. The deviation shrinks. Does the error shrink as much?",
            "Choose *base* as the prior, which takes three times as long. Are the error and the deviation "
            "smaller?",
            "Look for a place with a small deviation and a large error. There the result is overconfident.",
        ),
        "Can the deviation be smaller than the error?",
        "Yes. All samples share the errors of the prior and of the initial reconstruction, so they differ "
        "less from each other than from the reference. The map is scaled to match real errors on test scans. "
        "It is therefore right on average, but not in every place.",
    ),
}  # fmt: skip
