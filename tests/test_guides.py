"""The code of the guides works: a method, a phantom, a reader and a lesson are added as they describe."""

import ast
import io
import re
import sys
import types
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from pages.ui.learn import lessons_scans
from pages.ui.learn.lessons import LESSONS
from tests.pages import test_learn
from tomopatch.library import kind_of
from tomopatch.phantoms import catalogue
from tomopatch.reconstruct import methods, params

GUIDES = Path(__file__).resolve().parents[1] / "docs" / "guides"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(guide: str) -> list[str]:
    """The Python code of a guide."""
    return BLOCK.findall((GUIDES / f"{guide}.md").read_text("utf-8"))


def module(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """Import this code as a new module."""
    made = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, made)
    exec(compile(code, name, "exec"), vars(made))
    return made


def entry(code: str, names: dict[str, Any]) -> dict[str, Any]:
    """Return a dictionary with the lines of one that the guide adds."""
    return eval(f"{{{code}}}", names)


def run_tests(folder: Path, name: str, code: str) -> None:
    """Run the test file of a guide; its name must be one of its own in this process."""
    file = folder / f"test_guide_{name}.py"
    file.write_text(code, "utf-8")
    options = ["-q", "--import-mode=importlib", "-p", "no:cacheprovider", "-p", "no:xdist"]
    assert pytest.main([str(file), *options]) == pytest.ExitCode.OK


def test_a_method_is_added_as_described(monkeypatch, tmp_path):
    landweber, dataclass_code, added, tests = blocks("add-a-method")
    made = module("tomopatch.reconstruct.classical.landweber", landweber, monkeypatch)
    names = dict(vars(params))
    exec(compile(dataclass_code, "params", "exec"), names)
    names = {**vars(methods), **vars(made), "LandweberParams": names["LandweberParams"]}
    for name, method in entry(added, names).items():
        monkeypatch.setitem(methods.METHODS, name, method)
    run_tests(tmp_path, "landweber", tests)


def test_a_phantom_is_added_as_described(monkeypatch, tmp_path):
    scene, added, tests = blocks("add-a-phantom")
    made = module("tomopatch.phantoms.rods", scene, monkeypatch)
    for name, row in entry(added, {**vars(catalogue), **vars(made)}).items():
        monkeypatch.setitem(catalogue._TABLE, name, row)
    run_tests(tmp_path, "rods", tests)


def test_a_reader_is_added_as_described(monkeypatch, tmp_path):
    reader, recognised, read, tests = blocks("add-a-reader")
    made = module("tomopatch.io.metaimage", reader, monkeypatch)
    run_tests(tmp_path, "metaimage", tests)
    # the call: its lines are valid where the guide puts them, and the content belongs to no other format
    ast.parse("def f(kind, head):\n" + recognised)
    ast.parse("def f(kind, path):\n    if True:\n" + read)
    assert kind_of(io.BytesIO(made.MAGIC + b"\nNDims = 3\n"), "scan") is None


def test_a_lesson_is_added_as_described(monkeypatch):
    (added,) = blocks("add-a-lesson")
    for name, lesson in entry(dedent(added), dict(vars(lessons_scans))).items():
        monkeypatch.setitem(LESSONS, name, lesson)
        test_learn.test_lessons_are_complete(name)
        test_learn.test_labels_in_lessons_exist_in_the_app(name)
        for k in range(len(lesson.steps)):
            test_learn.test_steps_are_valid(name, k)


def test_the_code_of_the_gpu_guide_runs_with_and_without_a_gpu(capsys):
    check, reconstruction = blocks("gpu")
    names: dict[str, Any] = {}
    exec(compile(check, "gpu", "exec"), names)
    exec(compile(reconstruction, "gpu", "exec"), names)
    available, backend, *devices = capsys.readouterr().out.split()
    assert devices == (["cuda:0"] if available == "True" else ["cpu"]) * 3 or backend == "joseph"
    assert float(names["result"].volume.hu.max()) > 0
