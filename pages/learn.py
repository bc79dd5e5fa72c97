"""Learn: short lessons that drive the app, and a challenge."""

import streamlit as st

from pages.ui.learn import challenge, lesson_view
from pages.ui.session import shell

shell.guard()
shell.heading(
    "Learn", "Short lessons. Each step opens the app where the thing can be seen, and computes it for real."
)

chosen, shown = st.columns([1, 2.6], gap="large")
with chosen:
    name = lesson_view.choose()
with shown:
    if name == lesson_view.CHALLENGE:
        challenge.view()
    else:
        lesson_view.lesson(name)
