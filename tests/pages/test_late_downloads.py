"""Downloads stay available while pages run again."""

import pytest
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.media_file_storage import MediaFileStorageError
from streamlit.runtime.memory_media_file_storage import MemoryMediaFileStorage

from pages.ui.server import late_downloads

SESSION = "dontcare"  # Streamlit's own name of the session outside of a page


@pytest.fixture
def manager(monkeypatch):
    late_downloads.install()
    clock = [0.0]
    monkeypatch.setattr(late_downloads.time, "monotonic", lambda: clock[0])
    manager = MediaFileManager(MemoryMediaFileStorage("/media"))
    manager.wait = lambda seconds: clock.__setitem__(0, clock[0] + seconds)
    return manager


def run_page(manager, text=b"1"):
    """Run a page with a download button and return the button's id."""
    manager.clear_session_refs(SESSION)
    button = manager.add_deferred(lambda: text, "text/csv", "0.1", "table.csv")
    manager.remove_orphaned_files()
    return button


def fetch(manager, url):
    return manager.read_file(url.rsplit("/", 1)[1].split(".")[0])


def test_the_file_of_a_button_not_yet_redrawn_is_kept(manager):
    shown = run_page(manager, b"1")
    for _ in range(3):
        run_page(manager, b"2")
    assert fetch(manager, manager.execute_deferred(shown)).content == b"1"


def test_a_file_is_kept_while_its_page_runs_again(manager):
    shown = run_page(manager)
    manager.clear_session_refs(SESSION)
    manager.remove_orphaned_files()
    manager.execute_deferred(shown)


def test_a_created_file_is_kept_until_it_is_fetched(manager):
    url = manager.execute_deferred(run_page(manager))
    for _ in range(5):  # of any session
        manager.remove_orphaned_files()
    assert fetch(manager, url).content == b"1"


def test_files_are_deleted_after_the_grace_period(manager):
    first = run_page(manager)
    url = manager.execute_deferred(first)
    second = run_page(manager)
    manager.wait(late_downloads.GRACE + 1)
    manager.remove_orphaned_files()
    assert fetch(manager, url) is None
    with pytest.raises(MediaFileStorageError, match="not found"):
        manager.execute_deferred(first)
    manager.execute_deferred(second)  # what the page refers to does
    manager.clear_session_refs(SESSION)
    manager.remove_orphaned_files()
    manager.wait(late_downloads.GRACE + 1)
    manager.remove_orphaned_files()
    assert not manager._deferred_callables
    assert not manager._file_metadata
    assert not manager._orphaned_since


def test_unreferenced_pictures_are_deleted_at_once(manager):
    manager.add(b"picture", "image/png", "0.2")
    manager.clear_session_refs(SESSION)
    manager.remove_orphaned_files()
    assert not manager._file_metadata


def test_streamlit_still_requires_the_correction(manager):
    """If this fails, Streamlit no longer requires `pages.ui.server.late_downloads`."""
    shown = run_page(manager)
    run_page(manager)
    late_downloads._remove(manager)
    with pytest.raises(MediaFileStorageError, match="not found"):
        manager.execute_deferred(shown)
