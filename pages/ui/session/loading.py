"""The engine is imported once, by one thread: pages that import it at the same time would find half of it."""

from __future__ import annotations

import threading

_alone = threading.Lock()


def engine() -> None:
    """Import it, or wait until another session has; takes seconds the first time and nothing later."""
    with _alone:
        import pages.ui.session.engine  # noqa: F401
