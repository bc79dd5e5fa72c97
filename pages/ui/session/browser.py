"""Behaviour in the browser that is the same on all pages; see `browser.js`."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import streamlit as st

_LABEL = "Copy link"
_BUTTON = f"""<button type="button" class="copy" data-label="{_LABEL}"
 title="Copy the address of this page: scan, runs, settings and slice">{_LABEL}</button>"""
_STYLE = """.copy { font: inherit; font-size: .875rem; padding: .3rem .7rem; min-height: 2.2rem;
  cursor: pointer;
  color: var(--st-text-color); background: var(--st-background-color); border-radius: 8px;
  border: 1px solid var(--st-border-color); }
.copy:hover { border-color: var(--st-primary-color); }
.copy:focus-visible { outline: 2px solid var(--st-primary-color); outline-offset: 1px; }"""


def install() -> None:
    """Give the browser one history entry per user action, and close the menu of a phone after a choice."""
    _component("tomopatch_page", "<i hidden></i>")(key="page_behaviour")


def copy_link_button() -> None:
    """Show the button that copies the address of the page."""
    _component("tomopatch_copy_link", _BUTTON)(key="copy_link")


@cache
def _component(name: str, html: str) -> Any:
    script = (Path(__file__).parent / "browser.js").read_text("utf-8")
    return st.components.v2.component(name, html=html, css=_STYLE, js=script)
