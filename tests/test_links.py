"""Relative links of the documentation: their files exist, and so do the headings that they name."""

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    ROOT / "pretrained" / "README.md",
    *sorted(p for p in (ROOT / "docs").rglob("*.md") if "api" not in p.parts),
]
CODE = re.compile(r"^(```+|~~~+).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)>\s]+)>?(?:\s+\"[^\"]*\")?\)")
HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)


def text_of(page: Path) -> str:
    """The page without its code, in which brackets mean something else."""
    return CODE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """Names of the headings, as GitHub and the documentation site make them."""
    names = set[str]()
    for heading in HEADING.findall(re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        names.add(next(n for n in (name, *(f"{name}-{k}" for k in range(1, 99))) if n not in names))
    return names


def links(page: Path) -> list[str]:
    return [unquote(link) for link in LINK.findall(text_of(page))]


def missing(page: Path) -> list[str]:
    """The relative links of a page that lead nowhere."""
    wrong = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue  # external: the link check of the documentation visits them
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        found = target.exists() and target.is_relative_to(ROOT)
        if not found or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files_and_headings(page):
    assert missing(page) == []


def test_a_wrong_link_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(
        "# A `title`, twice\n# A title twice\n"
        "[a](#a-title-twice) [b](#a-title-twice-1) [c](#other) [d](no.md) [e](page.md#a-title-twice)"
        " ![f](no.png) [g](https://example.org) [h](../outside.md) `[i](j.md)`\n```\n[k](l.md)\n```\n"
    )
    (tmp_path.parent / "outside.md").touch()
    assert missing(page) == ["#other", "no.md", "no.png", "../outside.md"]


def test_the_pages_have_links():
    assert sum(len(links(page)) for page in PAGES) > 40
