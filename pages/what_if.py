"""The page What if: one volume, many acquisitions, and the quality of each reconstruction."""

import streamlit as st

from pages.ui.forms import sweep_form
from pages.ui.runs import sweep_view
from pages.ui.session import shell, state

shell.require_app()
current = state.scan()
shell.heading(
    "What if",
    "What if the scanner had measured fewer views? Leave views out of the scan and compare."
    if current is not None and current.source.startswith("scan:")
    else "What if there were only 10 views, or a tenth of the dose? Scan a volume in many ways and compare.",
)

scan = shell.require_scan()
sweep_form.fill(scan)
controls, pictures = st.columns([1, 3], gap="large")
with controls:
    sweep = sweep_form.choose(scan)
    if sweep is not None:
        sweep_view.start_button(sweep)
with pictures:
    if sweep is None:
        sweep_view.show_empty()
    else:
        sweep_view.view(sweep)
