"""Warnings about a scan geometry on the pages that follow Acquire."""

from __future__ import annotations

import streamlit as st

from pages.ui.session import volume_cache
from tomopatch.geometry.remarks import Remark, remarks, unseen
from tomopatch.geometry.views import Views
from tomopatch.runs.config import Scan
from tomopatch.runs.measured_scan import MeasuredScan


def scan_warnings(scan: Scan) -> None:
    """Show the warnings of Acquire about the scan.

    Before the reference exists, the size of the object is unknown and only parts outside all views count.
    """
    future = volume_cache.reference(scan)
    known = future.done() and future.exception() is None
    for remark in _found(scan, with_object=known and not isinstance(scan, MeasuredScan)):
        st.warning(f"**{remark.title}.** {remark.text}")


@st.cache_resource(max_entries=100, show_spinner=False)
def _found(scan: Scan, *, with_object: bool) -> list[Remark]:
    pg = volume_cache.scan_geometry(scan)
    if with_object and not isinstance(pg, Views):
        return remarks(volume_cache.reference(scan).result(), pg)
    return unseen(volume_cache.geometry(scan), pg, object_known=not isinstance(scan, MeasuredScan))
