"""The numbers of several runs in a table, the best of each marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.session import engine, words
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.run import Run

ROW = 34  # px


def table(runs: Sequence[Run], names: Sequence[str], scan: ScanConfig) -> None:
    """What each run is and how well it did."""
    rows = []
    for run, name in zip(runs, names, strict=True):
        m = run.metrics
        rows.append(
            {
                "Method": name,
                "Settings": words.params_words(run.config),
                "PSNR": m.psnr if m else None,
                "SSIM": m.ssim if m else None,
                "RMSE": m.rmse_hu if m else None,
                "Time": run.seconds if m else None,
            }
        )
    column = st.column_config
    # the table's place until the browser has loaded what draws tables
    place = st.container(height=ROW * (len(rows) + 1) + 2, border=False, key="place_of_numbers")
    place.dataframe(
        _marked(pd.DataFrame(rows)),
        hide_index=True,
        key="numbers",
        height="content",
        placeholder="–",  # of runs that are not done
        column_config={
            "PSNR": column.NumberColumn(format="%.2f dB", help=words.MEASURES["PSNR"]),
            "SSIM": column.NumberColumn(format="%.3f", help=words.MEASURES["SSIM"]),
            "RMSE": column.NumberColumn(format="%.0f HU", help=words.MEASURES["RMSE"]),
            "Time": column.NumberColumn(format="%.1f s", help=words.MEASURES["Time"]),
        },
    )
    devices = " and ".join(sorted({words.device(run.device) for run in runs}))
    scans = {run.config.scan for run in runs}
    told = words.scan_words(*scans) if len(scans) == 1 else "scans that differ as named"
    st.caption(
        f"Grid {words.times(engine.grid_of(scan))}; {told}; computed on the {devices}. Measured against the reference "
        "between −1000 and 1000 HU."
    )
    methods = (METHODS[name] for name in dict.fromkeys(run.config.method for run in runs))
    st.caption("  \n".join(f"**{method.label}.** {method.summary}" for method in methods))


def _marked(table: pd.DataFrame) -> Any:
    """The best of each column in bold."""
    style = table.style
    for name, best in (("PSNR", "max"), ("SSIM", "max"), ("RMSE", "min")):
        if len(table) > 1 and table[name].notna().any():
            mark = getattr(style, f"highlight_{best}")
            style = mark(subset=[name], props="font-weight: bold; background-color: rgba(14, 155, 181, .22)")
    return style
