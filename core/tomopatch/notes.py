"""Notes for the user about anything that was repaired, left out or assumed during reading.

A note is a Python warning, unless the caller collects notes: the command prints them and keeps them with its
result, and the app shows them on the page.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_taker: ContextVar[Callable[[str], None] | None] = ContextVar("taker", default=None)


class Note(UserWarning):
    """A note that was not collected."""


def note(text: str, *, stacklevel: int = 2) -> None:
    """Hand over a sentence for the user; `stacklevel` as in `warnings.warn`."""
    take = _taker.get()
    if take is None:
        warnings.warn(text, Note, stacklevel=stacklevel + 1)
    else:
        take(text)


@contextmanager
def collected(show: Callable[[str], None] = lambda text: None) -> Iterator[list[str]]:
    """Collect the notes of this block, each once; `show` gets every new one immediately.

    Unlike `warnings.catch_warnings`, this affects only the current thread.
    """
    notes: list[str] = []

    def take(text: str) -> None:
        if text not in notes:
            notes.append(text)
            show(text)

    token = _taker.set(take)
    try:
        yield notes
    finally:
        _taker.reset(token)
