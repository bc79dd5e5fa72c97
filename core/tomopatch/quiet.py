"""Regular endings: Ctrl-C in the `tomopatch` command, and a reader that closes the output of a process."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

STOPPED = "tomopatch: stopped; nothing more was written."


@contextlib.contextmanager
def quiet_imports() -> Iterator[None]:
    """Import with Ctrl-C ending the command in a sentence; other programs get their KeyboardInterrupt."""
    try:
        yield
    except KeyboardInterrupt:
        if "tomopatch" not in (Path(sys.argv[0]).stem, Path(sys.argv[0]).parent.name):
            raise
        sys.stderr.write(f"{STOPPED}\n")
        raise SystemExit(130) from None


@contextlib.contextmanager
def closed_pipe_ignored() -> Iterator[None]:
    """Ignore that the process at the other end of a pipe is gone.

    Windows reports it as an invalid argument (Python issue 19612).
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EINVAL):
            raise


def output_is_closed() -> bool:
    """Whether the reader has closed the output, as `head` does after its last line."""
    if not hasattr(select, "poll"):  # Windows
        return True
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # not a file
            poll = select.poll()
            poll.register(stream.fileno(), select.POLLOUT)
            if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
                return True
    return False


def end_by_broken_pipe() -> int:
    """End this process by SIGPIPE, like any Unix program that writes to a closed pipe.

    Return the exit code on systems without such a signal.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):  # otherwise the interpreter complains at exit
        with contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere, stream.fileno())
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGPIPE)
    return 1
