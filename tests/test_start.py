"""Start-up: the package and the command's help load no heavy library, and every public name is found."""

import ast
import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import tomopatch

SOURCES = os.environ | {"PYTHONPATH": str(Path(tomopatch.__file__).parents[1])}
HEAVY = ("torch", "numba", "scipy", "numpy", "streamlit", "plotly", "matplotlib", "pydantic")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["--version"], ["app", "--help"]], ids=" ".join)
def test_the_command_loads_no_heavy_library_for_its_help_and_the_app(arguments):
    program = (
        "import contextlib, json, sys, tomopatch.cli.main\n"
        "with contextlib.suppress(SystemExit), contextlib.redirect_stdout(sys.stderr):\n"
        "    if sys.argv[1:]: tomopatch.cli.main.main()\n"
        "print(json.dumps(sorted(sys.modules)))"
    )
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=SOURCES)
    loaded = json.loads(done.stdout)
    assert "tomopatch.cli.main" in loaded
    assert not set(HEAVY) & set(loaded)


def test_the_engine_of_a_server_loads_no_solver_that_few_runs_need():
    program = (
        "import sys, tomopatch.execution.queue, tomopatch.studies.compare\n"
        "assert 'scipy.ndimage' in sys.modules\n"
        "few = {'scipy.optimize', 'scipy.interpolate', 'scipy.stats', 'matplotlib.pyplot'}\n"
        "assert not few & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], timeout=120, check=True, env=SOURCES)


def test_every_public_name_is_the_one_of_its_module():
    """The table that is read at run time has the imports that a type checker reads."""
    listed = [name for names in tomopatch._MODULES.values() for name in names]
    assert sorted(listed) == sorted(tomopatch.__all__)
    assert set(tomopatch.__all__) <= set(dir(tomopatch))
    for module, names in tomopatch._MODULES.items():
        for name in names:
            assert getattr(tomopatch, name) is getattr(import_module(f"tomopatch.{module}"), name)
    tree = ast.parse(Path(tomopatch.__file__).read_text("utf-8"))
    (typed,) = (
        n for n in tree.body if isinstance(n, ast.If) and getattr(n.test, "id", "") == "TYPE_CHECKING"
    )
    imports = {
        n.module.removeprefix("tomopatch."): tuple(a.name for a in n.names)
        for n in typed.body
        if isinstance(n, ast.ImportFrom) and n.module
    }
    assert imports == tomopatch._MODULES


def test_a_function_is_not_hidden_by_the_subpackage_of_its_name():
    program = (
        "import tomopatch.reconstruct.methods\n"
        "from tomopatch import reconstruct\n"
        "assert callable(reconstruct) and callable(tomopatch.reconstruct)"
    )
    subprocess.run([sys.executable, "-c", program], timeout=120, check=True, env=SOURCES)


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = tomopatch.nothing
