"""Exit of the command if its output pipe is closed, and if it is interrupted during imports."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tomopatch.cli.main import main

ROOT = Path(__file__).parents[2]
SOURCES = os.pathsep.join(map(str, (ROOT / "core", ROOT)))
COMMAND = "import sys\nfrom tomopatch.cli.main import main\nsys.exit(main())\n"


@pytest.fixture
def script(tmp_path):
    """The installed command."""
    path = tmp_path / "tomopatch"
    path.write_text(COMMAND)
    return [sys.executable, str(path)]


def environment(**more):
    return {**os.environ, "PYTHONPATH": SOURCES, **more}


@pytest.mark.skipif(not hasattr(signal, "SIGPIPE"), reason="no such signal here")
@pytest.mark.parametrize("json", [True, False])
def test_a_broken_pipe_ends_it_like_any_program(script, tmp_path, json):
    read, write = os.pipe()
    os.close(read)
    out = tmp_path / "out"
    arguments = ["compare", "phantom:spheres", "--grid", "4x16x16", "--methods", "fbp", "--out", str(out)]
    done = subprocess.run(
        [*script, *arguments, *["--json"] * json],
        stdout=write,
        stderr=subprocess.PIPE,
        env=environment(),
        timeout=300,
    )
    os.close(write)
    assert done.returncode == -signal.SIGPIPE
    assert b"Traceback" not in done.stderr
    assert b"Broken" not in done.stderr
    assert (out / "compare.json").exists()


def interrupted(tmp_path, module, command):
    """Run a command with Ctrl-C at the import of this module."""
    (tmp_path / "sitecustomize.py").write_text(
        f"""
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job inherits that it is ignored
class Stop:
    def find_spec(self, name, *rest):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Stop())
"""
    )
    where = os.pathsep.join([str(tmp_path), SOURCES])
    return subprocess.run(
        command, capture_output=True, text=True, env=environment(PYTHONPATH=where), timeout=300
    )


@pytest.mark.parametrize("module", ["torch", "tomopatch.training"])
def test_ctrl_c_during_imports_shows_no_traceback(script, tmp_path, module):
    done = interrupted(tmp_path, module, [*script, "compare", "--help"])
    assert done.returncode == 130
    assert done.stderr == "tomopatch: stopped; nothing more was written.\n"


def test_any_other_program_decides_for_itself_about_ctrl_c(tmp_path):
    program = [sys.executable, "-c", "from tomopatch import Projector"]
    assert "KeyboardInterrupt" in interrupted(tmp_path, "torch", program).stderr


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ValueError("a bad grid."), 2, "tomopatch: a bad grid.\n"),
        (ZeroDivisionError("division by zero"), 2, "tomopatch: division by zero\n"),
        (FileNotFoundError(2, "No such file", "scan.nii"), 2, "No such file"),
        (MemoryError(), 2, "needs more memory than there is; use a smaller --grid"),
        (RuntimeError("CUDA out of memory"), 2, "needs more memory than there is"),
        (BrokenPipeError(32, "Broken pipe"), 2, "Broken pipe"),  # of a worker: the output is open
        (KeyboardInterrupt(), 130, "tomopatch: stopped; nothing more was written.\n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_each_kind_of_failure_ends_with_its_code_and_one_sentence(monkeypatch, capsys, error, code, words):
    def fail(arguments):
        raise error

    monkeypatch.setattr("tomopatch.cli.app.run", fail)
    assert main(["app"]) == code
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_fault_of_the_program_is_not_hidden(monkeypatch):
    def fail(arguments):
        raise RuntimeError("an index is wrong")

    monkeypatch.setattr("tomopatch.cli.app.run", fail)
    with pytest.raises(RuntimeError, match="an index is wrong"):
        main(["app"])
