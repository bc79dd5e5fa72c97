"""What every page shares: the page table, the sidebar, headings, and what to say where something is missing.

The engine takes seconds to load. It is imported within functions here, so that the first page is on the screen first.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import streamlit as st
from streamlit.errors import StreamlitAPIException

from pages.ui.session import late_downloads, loading, message_queue, routes, state

if TYPE_CHECKING:
    from tomopatch.runs.config import ScanConfig

FIRST_FRAME = 0.03
"""Seconds between the heading of another page and the rest, for which the browser takes a tenth of a second: by then it has
drawn the heading, and who pressed sees at once that it was heard."""


def navigation() -> Any:
    """The chosen page. The app's looks come first: a page must not move once it is drawn."""
    message_queue.mend()
    late_downloads.mend()
    here = Path(__file__).parent
    st.html(f"<style>{(here / 'page.css').read_text('utf-8')}</style>")
    st.logo(str(here / "logo.svg"), size="large")
    return st.navigation(
        [st.Page(path, title=title, default=path == routes.HOME) for path, title in routes.TABLE.items()]
    )


def show(page: Any) -> None:
    """Run the page; what is wrong with the disk is said in a sentence."""
    if page.title != routes.TABLE[routes.HOME]:
        loading.engine()
    _way_back(page.title)
    try:
        page.run()
    except OSError as error:
        _disk_trouble(error)


def _way_back(title: str) -> None:
    """The step of a lesson that is looked at; before the page, so that on Learn it is gone at once, however long that takes."""
    with st.sidebar.container(key="way_back", gap="xsmall"):
        number = state.step()
        if number and title != routes.TABLE[routes.LEARN]:
            from pages.ui.learn import lesson_view

            lesson_view.beside(number)


def _disk_trouble(error: OSError) -> None:
    """What is wrong with the disk; without a store there is nothing else to be shown."""
    from pages.ui.session import words
    from tomopatch.io.writing import disk_sentence
    from tomopatch.store.store import StoreError

    st.error(words.sentence(disk_sentence(error)))
    if isinstance(error, StoreError):
        state.leave()
        st.stop()


def guard() -> None:
    """First line of every page: a deep link may run the page alone, without app.py; start over through it.

    Streamlit takes a `pages` folder beside the app for pages of its own until `st.navigation` was called once.
    """
    if state.inside():
        return
    try:
        navigation()
    except StreamlitAPIException:
        return  # the page was started as a script of its own
    st.rerun()


def heading(title: str, lead: str) -> None:
    """The page's title and, in a sentence, what it is for."""
    st.title(title, anchor=False)
    st.caption(lead)
    if state.turned_to(title):
        time.sleep(FIRST_FRAME)


def missing(text: str, page: str, *, with_demo: bool = False) -> NoReturn:
    """An empty state: what is missing and where to get it, or the demo, which brings all of it. Ends the page."""
    with st.container(border=True, gap="small"):
        st.markdown(text)
        st.page_link(page, label=f"Go to {routes.TABLE[page]}", icon=":material/arrow_forward:")
        if with_demo:
            demo_button("secondary")
    stop()


def demo_button(type: Literal["primary", "secondary"]) -> None:
    """The button that does the whole way in one click."""
    from pages.ui.runs import demo

    hint = "Scans a chest from 20 directions and reconstructs it three ways, side by side."
    if st.button("Run the demo", type=type, key=f"demo.{type}", help=hint):
        demo.start()


def close() -> None:
    """What follows each page: the address and the sidebar tell what it has chosen."""
    state.write_url()
    try:
        _sidebar()
        state.leave()
        from pages.ui.runs import demo
        from pages.ui.session import engine  # last: all of the page is there by now

        if state.scan() is None:
            demo.prepare()
        engine.settle()
    except OSError as error:
        _disk_trouble(error)


def stop() -> NoReturn:
    """End the page here; after `st.stop` nothing more could be drawn."""
    close()
    st.stop()


def needed_scan() -> ScanConfig:
    """The current scan and that its volume is there; else the page ends with a word."""
    from pages.ui.session import engine, words

    scan = state.scan()
    if scan is None and (state.run_id() or state.compared()):
        missing(f"{words.gone(1)} Choose another on Runs, or design a scan on Acquire.", routes.RUNS)
    if scan is None:
        missing(
            "**There is no scan yet.** Design one first, or run the demo.", routes.ACQUIRE, with_demo=True
        )
    try:
        scan.geometry(engine.geometry(scan))
        engine.check(scan)
    except ValueError as error:
        missing(
            f"**This scan cannot be used.** {words.plain(error)} Choose another volume or scan on Acquire.",
            routes.ACQUIRE,
        )
    return scan


def _sidebar() -> None:
    """The current volume, scan and run, on every page."""
    with st.sidebar, st.container(gap="xsmall"):
        scan = state.scan()
        if scan is None:
            st.caption("No scan yet. Start the demo on Home, or design a scan on Acquire.")
        else:
            from pages.ui.session import engine, words

            names = (
                {v.digest: v.name for v in engine.store().volumes()}
                if scan.source.startswith("volume:")
                else {}
            )
            volume = words.source_words(scan.source, names)
            lines = [
                _line("Volume", _escape(volume) + (f", {words.times(scan.grid)}" if scan.grid else "")),
                _line("Scan", _sentence(words.scan_words(scan))),
            ]
            run = engine.known_run(state.run_id())
            if run is not None:
                done = (
                    f"{run.metrics.psnr:.1f} dB, {words.seconds(run.seconds)}"
                    if run.metrics
                    else _state(run.status)
                )
                lines.append(_line("Run", f"{words.method_label(run.config.method)}, {done}"))
            st.markdown("\n\n".join(lines))
        st.caption(
            "**Not for diagnosis.** Scans here are simulated; reconstructions can show what is not there "
            "and hide "
            "what is. For teaching and research."
        )


def _state(status: str) -> str:
    """The sidebar is not redrawn while a run works: it does not say what will have changed in a moment."""
    return "in progress" if status in ("queued", "running") else status


def _line(what: str, text: str) -> str:
    return f":gray[:small[{what}]]  \n:small[{text}]"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _escape(text: str) -> str:
    """A volume's name comes from a file: it must not become markup."""
    return "".join(f"\\{c}" if c in "\\`*_{}[]()<>#+-.!|~$:" else c for c in text)
