"""TomoPatch in the browser: `streamlit run app.py`.

The server imports this file for its checks of every request; each visit runs it as a script.
"""

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

if get_script_run_ctx(suppress_warning=True) is None:
    from pages.ui.session import server

    app = st.App(__file__, middleware=server.middleware())
else:
    from pages.ui.session import shell, state

    st.set_page_config("TomoPatch", page_icon="🩻", layout="wide")
    page = shell.navigation()
    state.enter()
    shell.show(page)
    shell.close()
