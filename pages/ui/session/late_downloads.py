"""A mend of Streamlit's keeping of downloads: a click that comes late finds its file.

A download button names its file by an id that is new at every run of the page. Streamlit (1.67) drops what no page
refers to whenever any session has run: the id of a button that the browser has not yet drawn anew, or whose page is just
being run again, and a file that was made for a click but is not yet fetched. On a busy server the click then ended in
"Deferred file … not found". Here both stay for a while.
"""

from __future__ import annotations

import time

from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.media_file_storage import MediaFileKind

GRACE = 60.0  # seconds that what is not referred to any more stays

_remove = MediaFileManager.remove_orphaned_files


def mend() -> None:
    """Once in a process is enough, more does no harm."""
    MediaFileManager.remove_orphaned_files = remove_orphaned_files  # type: ignore[assignment, method-assign]


def remove_orphaned_files(manager: MediaFileManager) -> None:
    """Pictures of a page at once, downloads when nothing has referred to them for a while."""
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
