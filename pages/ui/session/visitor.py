"""The visitor of this session: an anonymous id and administrator rights."""

from __future__ import annotations

import hashlib

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from pages.ui.server.middleware import VISITOR

_ADMINISTRATOR = "_administrator"


def visitor_id() -> str:
    """Return a hash of the browser's cookie, or of the session where there is no cookie.

    `pages.ui.server.middleware` sets the cookie. Neither it nor the session can be recovered from the hash.
    """
    context = get_script_run_ctx(suppress_warning=True)
    if context is None:
        return ""
    cookie = st.context.cookies.get(VISITOR)
    secret = cookie if cookie and isinstance(cookie, str) else context.session_id
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


def is_administrator() -> bool:
    """Whether this session entered the administrator's password."""
    if get_script_run_ctx(suppress_warning=True) is None:
        return False
    return bool(st.session_state.get(_ADMINISTRATOR, False))


def set_administrator() -> None:
    st.session_state[_ADMINISTRATOR] = True
