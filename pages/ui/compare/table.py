"""Table of the metrics of runs, with the best of each marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.session import volume_cache
from pages.ui.texts import formatting, labels
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.run import Run

ROW = 34  # px


def table(runs: Sequence[Run], names: Sequence[str], scan: ScanConfig) -> None:
    """Show settings and metrics of each run."""
    rows = []
    for run, name in zip(runs, names, strict=True):
        m = run.metrics
        rows.append(
            {
                "Method": name,
                "Settings": labels.settings_summary(run.config),
                "PSNR": m.psnr if m else None,
                "SSIM": m.ssim if m else None,
                "RMSE": m.rmse_hu if m else None,
                "Time": run.seconds if m else None,
            }
        )
    column = st.column_config
    # reserves the table's place until the browser has loaded the code for tables
    place = st.container(height=ROW * (len(rows) + 1) + 2, border=False, key="place_of_numbers")
    place.dataframe(
        _marked(pd.DataFrame(rows)),
        hide_index=True,
        key="numbers",
        height="content",
        placeholder="–",  # of unfinished runs
        column_config={
            "PSNR": column.NumberColumn(format="%.2f dB", help=labels.METRIC_HELP["PSNR"]),
            "SSIM": column.NumberColumn(format="%.3f", help=labels.METRIC_HELP["SSIM"]),
            "RMSE": column.NumberColumn(format="%.0f HU", help=labels.METRIC_HELP["RMSE"]),
            "Time": column.NumberColumn(format="%.1f s", help=labels.METRIC_HELP["Time"]),
        },
    )
    devices = " and ".join(sorted({labels.device_label(run.device) for run in runs}))
    scans = {run.config.scan for run in runs}
    summary = labels.scan_summary(*scans) if len(scans) == 1 else "different scans, as named"
    st.caption(
        f"Grid {formatting.times(volume_cache.grid_of(scan))}; {summary}; computed on the {devices}. Metrics "
        "compare with the reference between −1000 and 1000 HU."
    )
    methods = (METHODS[name] for name in dict.fromkeys(run.config.method for run in runs))
    st.caption("  \n".join(f"**{method.label}.** {method.summary}" for method in methods))


def _marked(table: pd.DataFrame) -> Any:
    """Return the table with the best value of each column in bold."""
    style = table.style
    for name, best in (("PSNR", "max"), ("SSIM", "max"), ("RMSE", "min")):
        if len(table) > 1 and table[name].notna().any():
            mark = getattr(style, f"highlight_{best}")
            style = mark(subset=[name], props="font-weight: bold; background-color: rgba(14, 155, 181, .22)")
    return style
