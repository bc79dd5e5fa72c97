"""Frame of every page: navigation, heading, sidebar and empty states.

The engine takes seconds to import. Functions here import it late, so that the first page appears before.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import streamlit as st
from streamlit.errors import StreamlitAPIException

from pages.ui.server import late_downloads, message_queue
from pages.ui.session import address, browser, loading, routes, state

if TYPE_CHECKING:
    from tomopatch.runs.config import Scan

HEADING_DELAY = 0.03
"""Seconds between the heading of a newly opened page and its content.

Without the delay the browser draws both at once, a tenth of a second later: the click seems to have no effect
until then.
"""


def navigation() -> Any:
    """Return the chosen page. Styles are set first, so that nothing moves once it is drawn."""
    message_queue.install()
    late_downloads.install()
    here = Path(__file__).parent
    st.html(f"<style>{(here / 'page.css').read_text('utf-8')}</style>")
    st.logo(str(here / "logo.svg"), size="large")
    browser.install()
    return st.navigation(
        [st.Page(path, title=title, default=path == routes.HOME) for path, title in routes.TITLES.items()]
    )


def run_page(page: Any) -> None:
    """Run the page and report errors of the disk in a sentence."""
    if page.title != routes.TITLES[routes.HOME]:
        loading.engine()
    _lesson_in_sidebar(page.title)
    try:
        page.run()
    except OSError as error:
        _show_disk_error(error)


def _lesson_in_sidebar(title: str) -> None:
    """Show the open step of a lesson.

    It is drawn before the page, so that it disappears from Learn at once.
    """
    with st.sidebar.container(key="way_back", gap="xsmall"):
        number = state.step()
        if number and title != routes.TITLES[routes.LEARN]:
            from pages.ui.learn import lesson_view

            lesson_view.step_text(number, "sidebar")
    # above the page as well: a phone hides the sidebar, and page.css shows this part there alone
    with st.container(key="step_on_phone", gap="xsmall", border=True):
        if number and title != routes.TITLES[routes.LEARN]:
            lesson_view.step_text(number, "page")


def _show_disk_error(error: OSError) -> None:
    """Report an error of the disk; without a usable store the page ends here."""
    from pages.ui.texts import formatting
    from tomopatch.io.writing import disk_sentence
    from tomopatch.store.folders import StoreError

    st.error(formatting.sentence(disk_sentence(error)))
    if isinstance(error, StoreError):
        state.end_script()
        st.stop()


def require_app() -> None:
    """Start over through app.py if a deep link runs the page alone. This is the first line of every page.

    Streamlit runs files of a `pages` folder as pages of their own until `st.navigation` has been called once.
    """
    if state.in_app():
        return
    try:
        navigation()
    except StreamlitAPIException:
        return  # the page runs as a separate script
    st.rerun()


def heading(title: str, lead: str) -> None:
    """Show the page's title and its purpose in one sentence."""
    st.title(title, anchor=False)
    st.caption(lead)
    if state.page_changed(title):
        time.sleep(HEADING_DELAY)


def show_missing(text: str, page: str, *, with_demo: bool = False) -> NoReturn:
    """Show what is missing, a link to the page that provides it, and optionally the demo; end the page."""
    with st.container(border=True, gap="small"):
        st.markdown(text)
        st.page_link(page, label=f"Go to {routes.TITLES[page]}", icon=":material/arrow_forward:")
        if with_demo:
            demo_button("secondary")
    stop_page()


def demo_button(type: Literal["primary", "secondary"]) -> None:
    """Show the button that runs the demo."""
    from pages.ui.runs import demo

    hint = "Scan a chest phantom from 20 directions and reconstruct it with three methods, side by side."
    if st.button("Run the demo", type=type, key=f"demo.{type}", help=hint):
        demo.start()


def finish_page() -> None:
    """Write the address and draw the sidebar after a page."""
    address.write()
    try:
        _sidebar()
        state.end_script()
        from pages.ui.runs import demo
        from pages.ui.session import engine  # the whole page is drawn by now

        if state.scan() is None:
            demo.prepare()
        engine.freeze_imports()
    except OSError as error:
        _show_disk_error(error)


def stop_page() -> NoReturn:
    """End the page here; `st.stop` alone would leave out the sidebar."""
    finish_page()
    st.stop()


def require_scan() -> Scan:
    """Return the current scan if its volume exists; otherwise explain and end the page."""
    from pages.ui.session import volume_cache
    from pages.ui.texts import messages

    scan = state.scan()
    named = len({run for run in (state.run_id(), *state.compared()) if run})
    if scan is None and named:
        show_missing(
            f"{messages.missing_runs(named)} Choose another on Runs, or design a scan on Acquire.",
            routes.RUNS,
        )
    if scan is None:
        show_missing(
            "**There is no scan yet.** Design one on Acquire, or run the demo.",
            routes.ACQUIRE,
            with_demo=True,
        )
    try:
        volume_cache.scan_geometry(scan)
        volume_cache.check_memory(scan)
    except ValueError as error:
        show_missing(
            f"**This scan cannot be used.** {messages.error_sentence(error)} Choose another volume or scan "
            "geometry on Acquire.",
            routes.ACQUIRE,
        )
    return scan


def _sidebar() -> None:
    """Show the current volume, scan and run."""
    with st.sidebar, st.container(gap="xsmall"):
        scan = state.scan()
        measured = scan is not None and scan.source.startswith("scan:")
        kind = "simulated, except for measured scans" if measured else "simulated"
        if scan is None:
            st.caption("No scan yet. Run the demo on Home, or design a scan on Acquire.")
        else:
            st.markdown("\n\n".join(_sidebar_lines(scan)))
            browser.copy_link_button()
        st.caption(
            f"**Not for diagnosis.** Measurements are {kind}. Reconstructions can show structures that do "
            "not exist and hide others. For teaching and research."
        )


def _sidebar_lines(scan: Scan) -> list[str]:
    from pages.ui.session import engine
    from pages.ui.texts import formatting, labels

    names = {} if scan.source.startswith("phantom:") else engine.source_names()
    volume = labels.source_label(scan.source, names)
    grid = f", {formatting.times(scan.grid)}" if scan.grid else ""
    lines = [
        _line(
            "Measured scan" if scan.source.startswith("scan:") else "Volume",
            formatting.plain(volume, 80) + grid,
        ),
        _line("Scan", formatting.sentence(labels.scan_summary(scan))),
    ]
    run = engine.known_run(state.run_id())
    if run is not None:
        note = labels.quality_note(run)
        done = f"{note}, {formatting.seconds(run.seconds)}" if note else _status(run.status)
        lines.append(_line("Run", f"{labels.method_label(run.config.method)}, {done}"))
    return lines


def _status(status: str) -> str:
    """Return a status that stays true while the run works: the sidebar is not redrawn meanwhile."""
    return "in progress" if status in ("queued", "running") else status


def _line(label: str, text: str) -> str:
    return f":gray[:small[{label}]]  \n:small[{text}]"
