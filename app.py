"""TomoPatch in the browser: `streamlit run app.py`.

The server imports this file for its checks of every request; each visit runs it as a script.
"""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

if get_script_run_ctx(suppress_warning=True) is None:
    from pages.ui.server import middleware

    app = st.App(__file__, middleware=middleware.middleware())
else:
    from pages.ui.session import address, shell, state

    st.set_page_config("TomoPatch", page_icon="🩻", layout="wide")
    page = shell.navigation()
    state.begin_script()
    address.restore()
    shell.run_page(page)
    shell.finish_page()
