"""A progress bar for notebooks."""

from __future__ import annotations

import html
import sys
import time

from tomopatch.progress import Callback, Step

REDRAW = 0.2  # seconds between two states of a progress bar


def notebook_progress(label: str) -> Callback | None:
    """A progress bar in a notebook; None elsewhere.

    Plain HTML that is redrawn a few times a second: it needs no widgets, and a saved notebook keeps its last
    state.
    """
    shell = sys.modules.get("IPython")
    session = shell.get_ipython() if shell is not None else None
    if session is None or not hasattr(session, "kernel"):
        return None
    from IPython.display import HTML, display

    handle = display(HTML(bar_html(label)), display_id=True)
    began = drawn = time.perf_counter()

    def show(step: Step) -> None:
        nonlocal drawn
        now = time.perf_counter()
        if now - drawn >= REDRAW or step.i == step.total:
            drawn = now
            handle.update(HTML(bar_html(label, step, now - began)))

    return show


def bar_html(label: str, step: Step | None = None, seconds: float = 0.0) -> str:
    """The bar after a step, or before the first."""
    words, share = "begins", ""
    if step is not None:
        words = f"{'initial, ' if step.stage else ''}{step.i} of {step.total}, {seconds:.1f} s"
        words += "" if step.residual is None else f", residual {step.residual:.3g}"
        share = f" value='{step.i / step.total:.4f}'"
    return f"<div>{html.escape(label)} <progress max='1'{share}></progress> {words}</div>"
