"""The code of the tutorials runs; the documentation site executes it again and shows its output."""

import re
from pathlib import Path

import pytest

TUTORIALS = sorted((Path(__file__).parents[1] / "docs" / "tutorials").glob("*.md"))
CELL = re.compile(r"^```\{code-cell\}.*?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
OPTION = re.compile(r"^:[\w-]+:.*\n", re.MULTILINE)
IMAGE = "from IPython.display import Image\n"


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
    names: dict[str, object] = {"Image": shown.append}  # only the documentation has IPython
    for cell in cells:
        exec(compile(cell.removeprefix(IMAGE), page.name, "exec"), names)
    assert all(picture.startswith(b"\x89PNG") for picture in shown)
