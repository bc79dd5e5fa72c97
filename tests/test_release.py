"""The version has one source, and the files that repeat it agree."""

import re
from pathlib import Path

import tomopatch

ROOT = Path(__file__).resolve().parents[1]


def test_the_citation_and_the_changelog_have_the_version_of_the_package():
    newest = re.search(
        r"^## \[(.+)\] - (\d{4}-\d{2}-\d{2})$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M
    )
    assert newest is not None
    version, date = newest.groups()
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert version == tomopatch.__version__
    assert f"\nversion: {version}\n" in citation
    assert f"\ndate-released: {date}\n" in citation
