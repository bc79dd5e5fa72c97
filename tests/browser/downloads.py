"""Downloads by mouse."""

from __future__ import annotations

from typing import Any

from tests.browser.visits import press


def download(page: Any, button: str) -> Any:
    """Return the download of a button; fail with the app's message if it reports an error."""
    files: list[Any] = []
    page.once("download", lambda file: files.append(file))  # a built-in is not taken
    press(page.get_by_role("button", name=button))
    refused = page.get_by_test_id("stDownloadButtonError")
    for _ in range(600):
        assert refused.count() == 0, refused.first.inner_text()
        if files:
            return files[0]
        page.wait_for_timeout(200)
    raise AssertionError(f"no file came of {button!r}, and no word")
