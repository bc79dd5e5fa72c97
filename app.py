"""TomoPatch in the browser: `streamlit run app.py`."""

import streamlit as st

from pages.ui.session import shell, state

st.set_page_config("TomoPatch", page_icon="🩻", layout="wide")
page = shell.navigation()
state.enter()
shell.show(page)
shell.close()
