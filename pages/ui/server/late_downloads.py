"""Correction to Streamlit's storage of downloads: a late click still finds its file.

A download button refers to its file by an id that changes with every run of the page. After the run of any
session, Streamlit (1.67) deletes all files to which no page refers. This includes the file of a button that
the browser has not redrawn yet, and a file that was created for a click but not fetched yet. On a busy server
such clicks ended in "Deferred file … not found". With this correction unreferenced downloads are kept for a
grace period. Upstream: streamlit/streamlit#8932, closed.
"""

from __future__ import annotations

import time

from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.media_file_storage import MediaFileKind

GRACE = 60.0  # seconds that an unreferenced download is kept

_remove = MediaFileManager.remove_orphaned_files


def install() -> None:
    """Replace Streamlit's method; repeated calls do nothing."""
    MediaFileManager.remove_orphaned_files = remove_orphaned_files  # type: ignore[assignment, method-assign]


def remove_orphaned_files(manager: MediaFileManager) -> None:
    """Delete unreferenced pictures at once and unreferenced downloads after the grace period."""
    now = time.monotonic()
    with manager._lock:
        used = {id for ids in manager._files_by_session_and_coord.values() for id in ids.values()}
        since: dict[str, float] = manager.__dict__.setdefault("_orphaned_since", {})
        there = {*manager._file_metadata, *manager._deferred_callables}
        orphaned = {id: since.get(id, now) for id in there - used}
        for id, began in orphaned.items():
            if now - began < GRACE and not _is_picture(manager, id):
                continue
            if id in manager._deferred_callables:
                manager._drop_deferred_id(id)
            else:
                manager._delete_file(id)
        since.clear()
        since.update((id, began) for id, began in orphaned.items() if now - began < GRACE)


def _is_picture(manager: MediaFileManager, id: str) -> bool:
    return id in manager._file_metadata and manager._file_metadata[id].kind == MediaFileKind.MEDIA
