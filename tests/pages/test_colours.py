"""Colours of plots: distinct for all kinds of vision, visible on both backgrounds, with one meaning each."""

import itertools
import tomllib
from pathlib import Path

import numpy as np
import pytest

from pages.ui.charts.colours import COLOURS, DASHES, REFERENCE, of_runs
from tomopatch.reconstruct.methods import METHODS

THEME = tomllib.loads((Path(__file__).parents[2] / ".streamlit" / "config.toml").read_text())["theme"]
# what eyes without red or green cones see: Machado, Oliveira, Fernandes 2009, severity 1, on linear RGB
EYES = {
    "usual": np.eye(3),
    "protanopia": [[0.1523, 1.0526, -0.2049], [0.1145, 0.7863, 0.0992], [-0.0039, -0.0481, 1.0520]],
    "deuteranopia": [[0.3673, 0.8606, -0.2280], [0.2801, 0.6725, 0.0474], [-0.0118, 0.0429, 0.9689]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def linear(colour):
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    x = XYZ @ rgb / XYZ.sum(1)
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(a, b):
    """Return the contrast ratio of WCAG 2."""
    low, high = sorted(float(XYZ[1] @ linear(c)) for c in (a, b))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("eye", EYES)
def test_colours_are_distinct_for_all_kinds_of_vision(eye):
    seen = [lab(np.clip(np.array(EYES[eye]) @ linear(c), 0, 1)) for c in (*COLOURS, REFERENCE)]
    # a CIE76 difference of 2 is just noticed; of thin lines it takes several times as much
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2)) > 15


@pytest.mark.parametrize("ground", ["light", "dark"])
def test_lines_and_text_have_enough_contrast(ground):
    theme = THEME[ground]
    for colour in (*COLOURS, REFERENCE):
        assert contrast(colour, theme["backgroundColor"]) >= 3  # WCAG 1.4.11: what is not text
    for words in ("textColor", "linkColor", "primaryColor"):
        for behind in ("backgroundColor", "secondaryBackgroundColor"):
            assert contrast(theme[words], theme[behind]) >= 4.5


def test_a_method_has_the_same_colour_in_all_plots():
    alone = {method: of_runs([method])[0] for method in METHODS}
    assert len(set(alone.values())) == len(METHODS)
    assert of_runs(["tv", "fbp"]) == [alone["tv"], alone["fbp"]]
    assert of_runs(["fbp", "fbp", "tv"])[::2] == [alone["fbp"], alone["tv"]]


@pytest.mark.parametrize(
    "methods", [["fbp"] * 7, ["fbp", "fbp", "tv", "fbp", "sirt", "tv", "fbp"], list(METHODS)]
)
def test_few_runs_have_distinct_colours(methods):
    assert len({line.colour for line in of_runs(methods)}) == len(methods)
    assert {line.dash for line in of_runs(methods)} == {"solid"}


@pytest.mark.parametrize("methods", [["fbp"] * 20, [*METHODS, *METHODS, *METHODS]])
def test_more_runs_than_colours_differ_by_their_dashes(methods):
    assert len(set(of_runs(methods))) == len(methods)


def test_lines_repeat_after_all_combinations():
    most = len(COLOURS) * len(DASHES)
    assert len(of_runs(["fbp"] * (most + 5))) == most + 5
