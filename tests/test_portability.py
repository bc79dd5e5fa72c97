"""Windows and macOS: what they lack is guarded, and text is UTF-8 whatever the locale."""

import ast
import errno
import io
import os
import select
import shutil
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from tests.test_imports import SOURCES
from tomopatch import kernels
from tomopatch.cli import main as command
from tomopatch.execution import worker_queue
from tomopatch.io import writing
from tomopatch.quiet import closed_pipe_ignored, output_is_closed

POSIX_MODULES = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios"}
POSIX_NAMES = {
    "os": {"fork", "forkpty", "getloadavg", "getpgid", "getuid", "geteuid", "killpg", "mkfifo", "nice"}
    | {
        "sched_getaffinity",
        "sched_setaffinity",
        "setpriority",
        "setsid",
        "statvfs",
        "sysconf",
        "uname",
        "wait",
    },
    "select": {"poll", "epoll"},
    "signal": {
        "SIGALRM",
        "SIGCONT",
        "SIGHUP",
        "SIGKILL",
        "SIGPIPE",
        "SIGSTOP",
        "SIGUSR1",
        "SIGUSR2",
        "alarm",
    },
    "time": {"tzset"},
}
"""What Windows lacks; macOS lacks sched_getaffinity and epoll."""


# ---- the sources -------------------------------------------------------------------------------


def unnamed_encodings(tree: ast.AST) -> list[int]:
    """Lines that read or write text in the encoding of the locale."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        keywords = {k.arg: k.value for k in call.keywords}
        position = {"read_text": 0, "write_text": 1}.get(name)
        if name == "open":
            module = getattr(getattr(call.func, "value", None), "id", "")
            if module in ("os", "gzip", "bz2", "webbrowser", "Image"):
                continue
            bare = isinstance(call.func, ast.Name)
            mode = keywords.get("mode") or next(iter(call.args[1:] if bare else call.args), None)
            text = isinstance(mode, ast.Constant) and isinstance(mode.value, str) and "b" not in mode.value
            if not (text or (bare and mode is None)):
                continue
        elif position is not None:
            if len(call.args) > position:
                continue
        elif not isinstance(keywords.get("text"), ast.Constant) or keywords["text"].value is not True:
            continue
        if "encoding" not in keywords:
            found.append(call.lineno)
    return found


def unguarded(tree: ast.Module) -> list[int]:
    """Lines that use what a system lacks without asking for it: `hasattr(os, ...)`, or an import in `try`."""
    allowed: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Try):
            allowed.update(child for part in node.body for child in ast.walk(part))
        if isinstance(node, ast.If | ast.IfExp) and "hasattr" in ast.unparse(node.test):
            allowed.update(ast.walk(node))
    # a function that returns first where the attribute is absent
    for function in (n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)):
        for k, line in enumerate(function.body):
            if isinstance(line, ast.If) and "not hasattr" in ast.unparse(line.test):
                allowed.update(child for later in function.body[k:] for child in ast.walk(later))
    return [node.lineno for node in set(ast.walk(tree)) - allowed if _is_of_posix(node)]


def _is_of_posix(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return bool(POSIX_MODULES & {alias.name for alias in node.names})
    return isinstance(node, ast.Attribute) and node.attr in POSIX_NAMES.get(ast.unparse(node.value), ())


@pytest.mark.parametrize("check", [unnamed_encodings, unguarded])
def test_the_sources_name_encodings_and_guard_what_a_system_lacks(check):
    wrong = [f"{path}:{line}" for path in SOURCES for line in check(ast.parse(path.read_text("utf-8")))]
    assert wrong == []


def test_the_checks_of_the_sources_find_what_they_look_for():
    code = (
        "open(p)\nopen(p, 'rb')\np.open('w')\np.open('rb')\np.read_text()\np.read_text('utf-8')\n"
        "p.write_text(t)\np.write_text(t, 'utf-8')\nrun(c, text=True)\nopen(p, encoding='utf-8')"
    )
    assert unnamed_encodings(ast.parse(code)) == [1, 3, 5, 7, 9]
    code = "import fcntl\nos.nice(1)\nif hasattr(os, 'nice'): os.nice(1)\ntry:\n    import pwd\nfinally: f()"
    assert sorted(unguarded(ast.parse(code))) == [1, 2]


# ---- a system without locks, cores or signals ---------------------------------------------------


def test_files_are_written_without_locks(monkeypatch, tmp_path):
    monkeypatch.setattr(writing, "fcntl", None)
    monkeypatch.setattr(writing, "RECENT", -1.0)
    with writing.alone(tmp_path / "lock"):
        writing.write_bytes(tmp_path / "a", b"first")
        writing.write_bytes(tmp_path / "a", b"second")
    assert (tmp_path / "a").read_bytes() == b"second"
    assert {p.name for p in tmp_path.iterdir()} == {"a", "lock"}
    with writing.in_use(tmp_path / "a"):
        assert not writing.is_abandoned(tmp_path / "a")
    assert not writing.is_abandoned(tmp_path / "a"), "it may be in use: there are no locks"
    yesterday = time.time() - 25 * 3600
    os.utime(tmp_path / "a", (yesterday, yesterday))
    assert writing.is_abandoned(tmp_path / "a")
    assert not writing.is_abandoned(tmp_path / "b")


def test_the_lock_of_windows_is_waited_for(monkeypatch, tmp_path):
    calls = []

    def locking(handle, mode, count):
        calls.append((mode, count))
        if len(calls) < 3:  # after ten seconds each
            raise OSError(errno.EDEADLK, "another process has the lock")

    monkeypatch.setattr(writing, "fcntl", None)
    monkeypatch.setattr(writing, "msvcrt", types.SimpleNamespace(locking=locking, LK_LOCK=1))
    with writing.alone(tmp_path / "lock"):
        assert calls == [(1, 1)] * 3


def test_a_file_that_a_reader_has_open_is_replaced_when_it_is_closed(monkeypatch):
    monkeypatch.setattr(writing, "WINDOWS", True)
    monkeypatch.setattr(writing, "PAUSES", (0.0, 0.0))
    attempts = []

    def rename(failures):
        attempts.append(1)
        if len(attempts) <= failures:
            raise PermissionError

    writing.patiently(lambda: rename(2))
    assert len(attempts) == 3
    attempts.clear()
    with pytest.raises(PermissionError):  # for ever in use
        writing.patiently(lambda: rename(9))
    monkeypatch.setattr(writing, "WINDOWS", False)
    attempts.clear()
    with pytest.raises(PermissionError):  # elsewhere it means what it says
        writing.patiently(lambda: rename(1))
    assert len(attempts) == 1


def test_cores_are_counted_without_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert kernels.num_cores() == 6
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert kernels.num_cores() == 1


def test_without_poll_a_broken_pipe_counts_as_the_output(monkeypatch):
    monkeypatch.delattr(select, "poll", raising=False)
    assert output_is_closed()


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EINVAL])
def test_both_errors_of_a_closed_pipe_are_ignored_and_no_other(number):
    with closed_pipe_ignored():
        raise OSError(number, "closed")
    with pytest.raises(OSError, match="disk"), closed_pipe_ignored():
        raise OSError(errno.ENOSPC, "disk")


@pytest.mark.parametrize(("flag", "first"), [(0x4000, sys.executable), (0, "nice")])
def test_a_worker_starts_with_a_lower_priority_on_each_system(
    real_workers, monkeypatch, tmp_path, flag, first
):
    started = {}
    monkeypatch.setattr(worker_queue, "LOWER_PRIORITY", flag)
    monkeypatch.setattr(shutil, "which", lambda name: name)  # on Windows, the nice of another system
    monkeypatch.setattr(subprocess, "Popen", lambda command, **how: started.update(how, command=command))
    worker_queue.start_worker("heavy", tmp_path)
    assert started["command"][0] == first
    assert started["creationflags"] == flag
    assert started["encoding"] == "utf-8"


# ---- a terminal with few characters -------------------------------------------------------------


def test_the_command_prints_names_that_the_terminal_lacks(monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(
        command, "adder", lambda name: lambda sub: sub.set_defaults(run=lambda a: print("Kopf 90°"))
    )
    assert command.main(["bench"]) == 0
    assert out.buffer.getvalue().decode("ascii").split() == ["Kopf", "90?"]


def test_an_ascii_locale_does_not_change_how_sources_are_read():
    """Style sheets and scripts of the app hold more than ASCII."""
    program = (
        f"import sys; sys.path[:0] = {sys.path!r}; import tomopatch.store.folders, pages.ui.session.shell"
    )
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    subprocess.run([sys.executable, "-c", program], env=environment, timeout=120, check=True)


def test_sources_are_found():
    assert len(SOURCES) > 200
    assert Path(writing.__file__) in SOURCES
