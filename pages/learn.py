"""Learn: short lessons that drive the app, and a challenge."""

import streamlit as st

from pages.ui.learn import challenge_view, contrast_view, lesson_view
from pages.ui.session import shell

shell.require_app()
shell.heading("Learn", "Short lessons. Each step opens the right page and runs a real computation.")

chosen, shown = st.columns([1, 2.6], gap="large")
with chosen, st.container(key="lesson_list"):  # page.css limits its height on a phone
    name = lesson_view.choose()
with shown:
    if name == lesson_view.CHALLENGE:
        challenge_view.view()
    elif name == lesson_view.CONTRAST:
        contrast_view.view()
    else:
        lesson_view.lesson(name)
