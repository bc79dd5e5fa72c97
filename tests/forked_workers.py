"""Worker processes forked from one process that has imported the engine, so that they start at once.

A worker is otherwise a separate program (`start_worker`), and takes seconds to import the engine and
to load its kernels. What runs in it is the same. Linux only.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[1]


class ForkedWorker:
    """The part of `subprocess.Popen` that the queue uses."""

    def __init__(self, factory: socket.socket, store: Path) -> None:
        stdin, stdout, status = os.pipe(), os.pipe(), os.pipe()
        theirs = [stdin[0], stdout[1], status[1]]
        message = json.dumps({"store": str(store), "environment": dict(os.environ)})
        socket.send_fds(factory, [message.encode()], theirs)
        for end in theirs:
            os.close(end)
        self.stdin, self.stdout = os.fdopen(stdin[1], "w"), os.fdopen(stdout[0])
        self._status, self._lock = os.fdopen(status[0]), threading.Lock()
        self.pid = int(self._status.readline())
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        if self._lock.acquire(timeout=-1 if timeout is None else timeout):
            try:
                if self.returncode is None and select.select([self._status], [], [], timeout)[0]:
                    self.returncode = int(self._status.readline())
            finally:
                self._lock.release()
        if self.returncode is None:
            raise subprocess.TimeoutExpired("worker", timeout or 0)
        return self.returncode

    def poll(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


class Factory:
    """The process that forks the workers; it starts with the first and ends with the tests."""

    def __init__(self) -> None:
        self._ours: socket.socket | None = None
        self._lock = threading.Lock()

    def launch(self, store: Path) -> ForkedWorker:
        with self._lock:
            if self._ours is None:
                self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                environment = os.environ | {
                    "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "core", ROOT))),
                    "TOMOPATCH_THREADS": "1",  # a process with threads cannot be forked safely
                    "OMP_NUM_THREADS": "1",
                }
                subprocess.Popen(
                    [sys.executable, "-m", "tests.forked_workers", str(theirs.fileno())],
                    pass_fds=[theirs.fileno()], env=environment, cwd=ROOT,
                )  # fmt: skip
                theirs.close()
            return ForkedWorker(self._ours, store)


def main() -> None:
    from tomopatch.execution import worker

    for _ in worker.warm_up():
        pass
    requests = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nothing waits for the minders
    while True:
        message, ends, *_ = socket.recv_fds(requests, 2**20, 3)
        if not message:
            return
        if os.fork() == 0:
            requests.close()
            _mind(json.loads(message), *ends)
        for end in ends:
            os.close(end)


def _mind(message: dict, stdin: int, stdout: int, status: int) -> NoReturn:
    """Fork the worker, and report its number and its exit code."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid == 0:
        os.close(status)
        _work(message, stdin, stdout)
    os.close(stdin)
    os.close(stdout)
    os.write(status, f"{pid}\n".encode())
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with contextlib.suppress(BrokenPipeError):
        os.write(status, f"{code}\n".encode())
    os._exit(0)


def _work(message: dict, stdin: int, stdout: int) -> NoReturn:
    from tomopatch import kernels
    from tomopatch.execution import worker

    os.environ.clear()
    os.environ.update(message["environment"])
    kernels.set_num_threads(int(os.environ.get("TOMOPATCH_THREADS", 0)) or len(os.sched_getaffinity(0)))
    os.dup2(stdin, 0)
    os.dup2(stdout, 1)
    sys.stdin, sys.stdout = os.fdopen(0), os.fdopen(1, "w")
    sys.argv = ["worker", message["store"]]
    code = 0
    try:
        worker.main()
        sys.stdout.flush()
    except BaseException:  # noqa: BLE001  reported, and the end of this process
        traceback.print_exc()
        code = 1
    os._exit(code)


if __name__ == "__main__":
    main()
