"""The code of the tutorials runs, and its results are what the text says.

The documentation site executes it again and shows its output.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import torch

from tomopatch import quality

TUTORIALS = sorted((Path(__file__).parents[1] / "docs" / "tutorials").glob("*.md"))
CELL = re.compile(r"^```\{code-cell\}.*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"^:[\w-]+:.*\n", re.MULTILINE)
IMAGE = "from IPython.display import Image\n"


def outer_discs(names: dict[str, Any], volume: str) -> float:
    """Mean attenuation [1/mm] of the outer quarters of a volume where the Defrise phantom is dense."""
    reference, data = names["volume"].data, names[volume].data
    outer = [slice(0, len(data) // 4), slice(-(len(data) // 4), None)]
    dense = reference > 0.5 * reference.max()
    return float(torch.cat([data[part][dense[part]] for part in outer]).mean())


def sparse_views(names: dict[str, Any]) -> None:
    psnr = {n: quality(names["volume"], v).psnr for n, v in names["results"].items()}
    assert psnr[360] > psnr[60] > psnr[20]
    assert quality(names["volume"], names["tv"]).psnr > psnr[360]


def limited_angle(names: dict[str, Any]) -> None:
    psnr = [quality(names["volume"], names["results"][degrees]).psnr for degrees in (180, 120, 60)]
    assert psnr == sorted(psnr, reverse=True)


def dose(names: dict[str, Any]) -> None:
    noise = names["noise"]
    assert 10**0.5 < noise[1e5] / noise[1e6] < 4
    assert noise[1e4] / noise[1e5] > 6
    assert quality(names["volume"], names["ideal"]).rmse_hu == pytest.approx(30, abs=3)


def cone_beam(names: dict[str, Any]) -> None:
    dense = float(names["volume"].data.max())
    assert outer_discs(names, "fdk") < outer_discs(names, "sirt") < 0.95 * dense


def prior(names: dict[str, Any]) -> None:
    tv, restored, sample = (
        quality(names["volume"], names[name].volume).psnr for name in ("tv", "restored", "sample")
    )
    assert restored > sample > tv
    assert any("lower" in remark or "undid" in remark for remark in names["sample"].plan.remarks)


def uncertainty(names: dict[str, Any]) -> None:
    error, deviation = names["error"], names["deviation"]
    assert 0.68 < float((error <= deviation).float().mean()) < 0.9
    bone = names["volume"].hu > 300
    assert float(error[bone].mean()) > float(deviation[bone].mean())
    assert names["result"].plan.remarks == ()


def measured_scan(names: dict[str, Any]) -> None:
    assert names["prepared"].record["axis"]["method"] == "mass"
    stripes = names["prepared"].record["stripes"]
    assert stripes["after"] < 0.5 * stripes["before"]


CLAIMS = {
    "sparse-views": sparse_views,
    "limited-angle": limited_angle,
    "dose": dose,
    "cone-beam": cone_beam,
    "prior": prior,
    "uncertainty": uncertainty,
    "measured-scan": measured_scan,
}
"""Checks of the statements in each tutorial."""

PAGES = [
    pytest.param(page, id=page.stem, marks=[] if page.stem == "own-method" else pytest.mark.slow)
    for page in TUTORIALS
    if page.stem != "index"
]


@pytest.mark.parametrize("page", PAGES)
def test_the_code_of_a_tutorial_runs(page, tmp_path, monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.chdir(tmp_path)
    cells = [OPTION.sub("", cell) for cell in CELL.findall(page.read_text("utf-8"))]
    assert cells[0].startswith(IMAGE)
    assert len(cells) > 2
    shown: list[bytes] = []
    names: dict[str, Any] = {"Image": shown.append}  # only the documentation has IPython
    for cell in cells:
        exec(compile(cell.removeprefix(IMAGE), page.name, "exec"), names)
    assert all(picture.startswith(b"\x89PNG") for picture in shown)
    CLAIMS.get(page.stem, lambda names: None)(names)
