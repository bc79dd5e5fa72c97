"""Controls of the effects and corrections: labels, limits and help texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pages.ui.forms.detector_form import Number
from pages.ui.session import state
from tomopatch.physics.effect_numbers import EffectNumber, effect_number

MOTIONS = {"breathing": "Breathing", "drift": "Drift", "jump": "Jump"}


@dataclass(frozen=True)
class Choice:
    """A setting with a few named values."""

    name: str
    label: str
    options: dict[Any, str]
    help: str

    def draw(self, column: Any) -> None:
        column.selectbox(
            self.label,
            list(self.options),
            format_func=lambda option: self.options[option],
            key=state.field(self.name),
            help=self.help,
        )


@dataclass(frozen=True)
class OptionalNumber:
    """A number that may be empty."""

    name: str
    step: float
    empty: str
    help: str

    def draw(self, column: Any) -> None:
        number = effect_number(self.name)
        column.number_input(
            number.title,
            *_limits(number, self.step),
            value=None,
            step=self.step,
            format="%g",
            placeholder=self.empty,
            key=state.field(self.name),
            help=self.help,
        )


Control = Number | OptionalNumber | Choice


@dataclass(frozen=True)
class Group:
    """An effect with its help and its controls, which are named GROUP.FIELD in the session."""

    name: str
    help: str
    controls: tuple[Control, ...]


def _limits(number: EffectNumber, step: float) -> tuple[float, float]:
    """Limits of a control; a limit that is itself excluded moves by a hundredth of a step."""
    kind = int if number.whole else float
    return kind(number.low + number.above * step / 100), kind(number.high - number.below * step / 100)


def _number(name: str, step: float, help: str) -> Number:
    """Control of an effect setting, with the label and the limits of its record."""
    number = effect_number(name)
    return Number(name, number.title, *_limits(number, step), step, help)


EFFECTS = (
    Group(
        "tube",
        "The tube emits photons of many energies. Low-energy photons are absorbed first: dark centres, and "
        "dark bands between dense objects.",
        (
            _number("tube.kvp", 10.0, "Highest energy of the photons."),
            OptionalNumber(
                "tube.mas", 0.1, "none", "Per view. Sets the photons per ray, in place of the number above."
            ),
            _number("tube.aluminium", 0.5, "Filter for low-energy photons."),
            _number("tube.copper", 0.1, "Stronger filter than aluminium."),
            _number("tube.tin", 0.1, "Stronger filter than copper, for hard beams."),
            Choice(
                "tube.bowtie",
                "Bowtie filter",
                {False: "None", True: "For half the field of view"},
                "Thicker towards the edges of the beam: it hardens all rays through a water cylinder of half "
                "the field of view equally.",
            ),
            Choice(
                "tube.detector",
                "Detector",
                {"integrating": "Energy-integrating", "counting": "Photon-counting"},
                "An integrating detector adds up photon energies. A counting detector counts photons.",
            ),
        ),
    ),
    Group(
        "scatter",
        "Scattered photons reach the wrong pixels and reduce contrast.",
        (
            _number("scatter.ratio", 0.05, "Total scatter over total primary signal of a view."),
            _number("scatter.width", 0.05, "Standard deviation, as a share of the detector width."),
        ),
    ),
    Group(
        "blur",
        "The detector spreads the signal of each photon, and the focal spot is not a point.",
        (
            _number("blur.detector", 0.5, "Full width at half maximum."),
            _number("blur.focal_spot", 0.5, "Diameter; cone beam only."),
        ),
    ),
    Group(
        "misalignment",
        "The scanner differs from the geometry that the reconstruction assumes.",
        (
            _number("misalignment.axis_offset", 1.0, "Along the rows of the detector."),
            _number("misalignment.vertical_offset", 1.0, "Along the columns of the detector."),
            _number("misalignment.roll", 0.5, "Rotation of the detector in its plane."),
            _number("misalignment.distance", 5.0, "From source to axis."),
            _number("misalignment.jitter", 0.1, "Standard deviation of the errors of the view angles."),
        ),
    ),
    Group(
        "motion",
        "The object moves while it is scanned: double edges and streaks.",
        (
            Choice("motion.kind", "Kind", MOTIONS, "Breathing stretches the object. Drift and jump move it."),
            _number("motion.amplitude.z", 1.0, "Feet to head."),
            _number("motion.amplitude.y", 1.0, "Front to back."),
            _number("motion.amplitude.x", 1.0, "Right to left."),
            _number("motion.cycles", 0.5, "During the scan."),
            _number("motion.time", 0.1, "As a share of the scan."),
        ),
    ),
    Group(
        "faults",
        "Pixels with a wrong gain cause rings. Dead pixels measure nothing.",
        (
            _number("faults.gain", 0.005, "Standard deviation of the pixels' gains, which are 1 on average."),
            _number("faults.dead", 0.001, "Share of all pixels."),
            _number("faults.dead_columns", 1, "Columns that measure nothing."),
            _number("faults.lag", 0.01, "Share of a view's signal that appears in the next view."),
            OptionalNumber(
                "faults.saturation", 0.05, "none", "Largest signal, as a share of the unattenuated beam's."
            ),
        ),
    ),
)


CORRECTIONS = {
    "pixels": ("Interpolate pixels that measure nothing.", "faults"),
    "scatter": ("Estimate the scattered signal and subtract it.", "scatter"),
    "hardening": ("Remove cupping of water for this tube spectrum.", "tube"),
    "stripes": ("Remove stripes from the sinogram with a sorting filter.", "faults"),
    "roll": ("Estimate the detector's roll and rotate the projections back.", "misalignment"),
    "axis": ("Estimate the axis from the projections and use it.", "misalignment"),
}
"""Help of each correction, and the name of its effect."""
METAL = {"none": "Off", "LI": "Interpolated (LI)", "NMAR": "Normalised (NMAR)"}
