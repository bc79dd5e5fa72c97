"""What if: the same object scanned in many ways, and what each method makes of it."""

import streamlit as st

from pages.ui.forms import sweep_form
from pages.ui.runs import sweep_view
from pages.ui.session import shell

shell.guard()
shell.heading(
    "What if",
    "What if there were only 10 views, or a tenth of the dose? Scan the same volume in many ways and see.",
)

scan = shell.needed_scan()
sweep_form.fill(scan)
controls, pictures = st.columns([1, 3], gap="large")
with controls:
    sweep = sweep_form.choose(scan)
    if sweep is not None:
        sweep_view.start(sweep)
with pictures:
    if sweep is None:
        sweep_view.nothing()
    else:
        sweep_view.view(sweep)
