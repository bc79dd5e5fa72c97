"""Metrics of runs inside the field of view of their scan, for scans that do not measure the whole grid."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st
from torch import Tensor

from pages.ui.session import volume_cache
from pages.ui.texts import labels
from tomopatch.analysis.metrics import Quality, quality
from tomopatch.geometry.field_of_view import inside_field_of_view
from tomopatch.runs.config import Scan
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.run import FINISHED, Run


def table(scan: Scan, runs: Sequence[Run], names: Sequence[str]) -> None:
    """Show the metrics inside the field of view; nothing if all scans measure the whole grid."""
    if isinstance(scan, MeasuredScan):
        return
    shares = [_share(run.config.scan) for run in runs]
    future = volume_cache.reference(scan)
    if min(shares) == 1 or not future.done() or future.exception() is not None:
        return
    rows = []
    for run, name, share in zip(runs, names, shares, strict=True):
        known = _quality(run.config.scan, run.id) if share and run.status in FINISHED else None
        rows.append(
            {
                "Method": name,
                "Part of the grid": 100 * share,
                "PSNR": known.psnr if known else None,
                "SSIM": known.ssim if known else None,
                "RMSE": known.rmse_hu if known else None,
            }
        )
    column = st.column_config
    st.markdown("**Inside the field of view**")
    st.dataframe(
        pd.DataFrame(rows),
        hide_index=True,
        key="numbers_inside",
        height="content",
        placeholder="–",
        column_config={
            "Part of the grid": column.NumberColumn(
                format="%.0f %%", help="Share of the voxels that every ray direction of the scan reaches."
            ),
            "PSNR": column.NumberColumn(format="%.2f dB", help=labels.METRIC_HELP["PSNR"]),
            "SSIM": column.NumberColumn(format="%.3f", help=labels.METRIC_HELP["SSIM"]),
            "RMSE": column.NumberColumn(format="%.0f HU", help=labels.METRIC_HELP["RMSE"]),
        },
    )
    st.caption(
        "The table above also counts voxels outside the field of view, which were not measured completely."
    )


def _share(scan: Scan) -> float:
    """Return the share of the grid inside the field of view; 1 where it contains the whole grid."""
    inside = _mask(scan)
    return 1.0 if inside is None else int(inside.count_nonzero()) / inside.numel()


@volume_cache.cache_by_size(50_000_000, lambda mask: 0 if mask is None else mask.nbytes)
def _mask(scan: Scan) -> Tensor | None:
    return inside_field_of_view(volume_cache.geometry(scan), volume_cache.scan_geometry(scan))


@st.cache_resource(max_entries=200, show_spinner=False)
def _quality(scan: Scan, run_id: str) -> Quality:
    reference, volume = volume_cache.reference(scan).result(), volume_cache.result_volume(run_id)
    return quality(reference, volume, inside=_mask(scan))
