"""Lesson about a measured scan: its steps work with any scan that the user has loaded."""

from __future__ import annotations

from pages.ui.learn.lesson_parts import Lesson, Step
from pages.ui.session import routes

ABOUT_MEASURED: dict[str, Lesson] = {
    "measured": Lesson(
        "A real scan",
        10,
        "So far all scans were simulated. Now use projections of a real scanner. TomoPatch contains no such "
        "data, but open scans can be downloaded, for example the Helsinki Tomography Challenge 2022: "
        "[doi.org/10.5281/zenodo.6984868](https://doi.org/10.5281/zenodo.6984868) (CC BY 4.0). Its .mat "
        "files are read directly. They are fan-beam scans of acrylic discs with holes.",
        (
            Step(
                "Drop the file of the scan under *Measured*. The page shows what the file states. Counts "
                "need a picture without object (flat frame) and one without beam (dark frame); the negative "
                "logarithm of their ratio is the **line integral**. A file with line integrals is used as "
                "it is. Look at the sinogram: straight vertical lines are pixels with a wrong gain.",
                "Open a measured scan on Acquire",
                routes.ACQUIRE,
                None,
            ),
            Step(
                "Every tenth view is **held out**: the reconstruction does not use it. The volume then "
                "predicts these views, and their **held-out error** shows how well. Reconstruct with FBP or "
                "FDK, then with SIRT or TV, and compare the errors.",
                "Reconstruct it",
                routes.RECONSTRUCT,
                None,
            ),
            Step(
                "The file or an estimate gives the column of the **rotation axis**. Note the held-out "
                "error, set *Rotation axis* to *Column*, change it by three pixels, and reconstruct again. "
                "Edges double, and the error rises. In this way you can find the axis of a scan without "
                "metadata.",
                "Change the axis on Acquire",
                routes.ACQUIRE,
                None,
            ),
            Step(
                "How many views does this object need? Each point uses fewer views of the same scan. The "
                "held-out views stay the same, so the errors can be compared.",
                "Vary the number of views on What if",
                routes.WHAT_IF,
                None,
            ),
            Step(
                "There is no reference. The first volume is the reconstruction from all views, a "
                "**stand-in**. It contains noise and the artefacts of its own method, so a difference to it "
                "is not always an error.",
                "Compare with the reconstruction from all views",
                routes.COMPARE,
                None,
            ),
        ),
        (
            "On Acquire, set *Angle range* to 90°. Which edges disappear? Does the held-out error show it?",
            "Reconstruct with 5 and with 200 iterations of CGLS. Which one fits the used views better, "
            "and which one the held-out views?",
            "Use the diffusion prior. It was trained on the human body. Does it help for this object?",
        ),
        "Can a volume with a small held-out error be wrong?",
        "Yes. The error detects a wrong axis, a wrong direction of rotation and fitted noise. It does not "
        "detect errors that no view measures, for example those of a missing range of angles.",
    ),
}
