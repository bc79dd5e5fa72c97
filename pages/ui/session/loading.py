"""Import of the engine by a single thread: concurrent imports would see partly initialised modules."""

from __future__ import annotations

import threading

_lock = threading.Lock()


def engine() -> None:
    """Import the engine, or wait until another session has; takes seconds the first time only."""
    with _lock:
        import pages.ui.session.engine
        import pages.ui.session.volume_cache  # noqa: F401
