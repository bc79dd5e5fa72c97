"""The demo: a scan and three reconstructions with one click."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from pages.ui.session import engine, loading, routes, state, volume_cache

if TYPE_CHECKING:
    from tomopatch.runs.config import ScanConfig

METHODS = ("fbp", "tv", "diffusion")
"""Order in the comparison."""

QUEUED = ("fbp", "tv", "diffusion")
"""Order of computation: the slowest method comes last, so that no picture stays empty for long."""


def prepare() -> None:
    """Load the engine, start the workers and prepare the demo's scan while the user reads the first page."""

    volume_cache.prepare_worker(_scan())


def start() -> None:
    """Queue the demo's runs and open Compare."""
    loading.engine()
    from tomopatch.runs.config import RunConfig

    scan = _scan()
    state.set_scan(scan)
    volume_cache.reference(scan)
    runs = {method: engine.queue().submit(RunConfig(scan, method)) for method in QUEUED}
    state.set_compared([runs[method] for method in METHODS])
    state.set_run(runs["diffusion"])
    st.switch_page(routes.COMPARE)


def _scan() -> ScanConfig:
    from tomopatch.runs.config import ScanConfig

    # the finest grid with which the demo takes one to two minutes on two slow cores
    return ScanConfig("phantom:thorax:0", grid=(64, 96, 96), num_views=20, photons=1e5)
