"""The whole way in one click: a scan and three reconstructions of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui.session import loading, routes, state

if TYPE_CHECKING:
    from tomopatch.runs.config import ScanConfig

METHODS = ("fbp", "tv", "diffusion")
"""As they stand side by side."""

QUEUED = ("fbp", "diffusion", "tv")
"""As they are computed: the contrast that the demo is about comes first."""


def prepare() -> None:
    """Load the engine, start the workers and scan the demo's volume, all while the first page is read."""
    from pages.ui.session import engine

    engine.expect(_scan())


def start() -> None:
    """Queue the demo's runs and go to where they are compared."""
    loading.engine()
    from pages.ui.session import engine
    from tomopatch.runs.config import RunConfig

    scan = _scan()
    state.set_scan(scan)
    engine.reference(scan)
    runs = {method: engine.queue().submit(RunConfig(scan, method)) for method in QUEUED}
    state.set_compared([runs[method] for method in METHODS])
    state.set_run(runs["diffusion"])
    st.switch_page(routes.COMPARE)


def _scan() -> ScanConfig:
    from tomopatch.runs.config import ScanConfig

    # as fine as lets all of it be done within a minute or two on two slow cores
    return ScanConfig("phantom:thorax:0", grid=(64, 96, 96), num_views=20, photons=1e5)
