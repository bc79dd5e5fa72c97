"""Learn: short lessons that drive the app, and a challenge."""

import streamlit as st

from pages.ui import challenge, learn_view, shell

shell.guard()
shell.heading(
    "Learn", "Short lessons. Each step opens the app where the thing can be seen, and computes it for real."
)

chosen, shown = st.columns([1, 2.6], gap="large")
with chosen:
    name = learn_view.choose()
with shown:
    if name == learn_view.CHALLENGE:
        challenge.view()
    else:
        learn_view.lesson(name)
