"""Plots as files."""

import io

import pytest
from PIL import Image

from pages.ui.charts import figures
from pages.ui.charts.figure_files import figure_bytes


def rows(method, key, values):
    return [{"method": method, key: v, "psnr": 20.0 + k, "run": str(k)} for k, v in enumerate(values)]


@pytest.mark.parametrize(("key", "values"), [("num_views", [5, 20, 80]), ("photons", [1e3, 1e5, None])])
def test_a_sweep_is_saved_with_its_axes_and_names(key, values):
    figure = figures.sweep({"FBP": rows("fbp", key, values), "TV": rows("tv", key, values)}, key, "psnr")
    with Image.open(io.BytesIO(figure_bytes(figure, "png"))) as picture:
        assert picture.width >= 1920
    # text is drawn as outlines; the comments name it
    svg = figure_bytes(figure, "svg", "Thorax phantom").decode()
    for text in ("FBP", "TV", "Thorax phantom", figure.layout.yaxis.title.text):
        assert f"<!-- {text} -->" in svg


def test_other_formats_are_refused():
    with pytest.raises(ValueError, match="png or svg"):
        figure_bytes(figures.sweep({"FBP": rows("fbp", "num_views", [5])}, "num_views", "psnr"), "pdf")
