"""The whole way in one click: a scan and three reconstructions of it."""

from __future__ import annotations

import streamlit as st

from core.runs.config import RunConfig, ScanConfig
from pages.ui import engine, shell, state

SCAN = ScanConfig("phantom:thorax:0", grid=(64, 128, 128), num_views=20, photons=1e5)
METHODS = ("fbp", "sirt", "tv")


def start() -> None:
    """Queue the demo's runs and go to where they are compared."""
    state.set_scan(SCAN)
    engine.reference(SCAN)
    queued = [engine.queue().submit(RunConfig(SCAN, method)) for method in METHODS]
    state.set_compared(queued)
    state.set_run(queued[-1])
    st.switch_page(shell.COMPARE)
