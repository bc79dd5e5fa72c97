"""Table of the metrics of runs, with the best of each marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.session import volume_cache
from pages.ui.texts import formatting, labels
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import Scan
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.run import Run

ROW, HEADER = 64, 36  # px; at this height a long name wraps
DIFFERENCE = "To all views"
WITH_REFERENCE = "Metrics compare with the reference between −1000 and 1000 HU."
WITHOUT_REFERENCE = (
    "A measured scan has no reference. The held-out views were not used: each volume predicts them. *To all "
    "views* is the difference to the stand-in, which has artefacts of its own."
)


def table(runs: Sequence[Run], names: Sequence[str], scan: Scan) -> None:
    """Show settings and metrics of each run."""
    measured = isinstance(scan, MeasuredScan)
    rows = []
    for run, name in zip(runs, names, strict=True):
        figures = _measured(run) if measured else _metrics(run)
        known = run.measured if measured else run.metrics
        rows.append(
            {
                "Method": name,
                "Settings": labels.settings_summary(run.config),
                **figures,
                "Time": run.seconds if known else None,
            }
        )
    column = st.column_config
    # reserves the table's place until the browser has loaded the code for tables
    place = st.container(height=ROW * len(rows) + HEADER + 2, border=False, key="place_of_numbers")
    place.dataframe(
        _marked(pd.DataFrame(rows)),
        hide_index=True,
        key="numbers",
        height="content",
        row_height=ROW,
        placeholder="–",  # of unfinished runs
        column_config={
            "Method": column.TextColumn(width=150),
            "Settings": column.TextColumn(width=120),
            "PSNR": column.NumberColumn(format="%.2f dB", width=80, help=labels.METRIC_HELP["PSNR"]),
            "SSIM": column.NumberColumn(format="%.3f", width=60, help=labels.METRIC_HELP["SSIM"]),
            "RMSE": column.NumberColumn(format="%.0f HU", width=72, help=labels.METRIC_HELP["RMSE"]),
            "Held-out error": column.NumberColumn(
                format="%.2f %%", help=labels.METRIC_HELP["Held-out error"]
            ),
            DIFFERENCE: column.NumberColumn(format="%.0f HU", help=labels.METRIC_HELP["Difference"]),
            "Time": column.NumberColumn(format="%.1f s", width=62, help=labels.METRIC_HELP["Time"]),
        },
    )
    devices = " and ".join(sorted({labels.device_label(run.device) for run in runs}))
    scans = {run.config.scan for run in runs}
    summary = labels.scan_summary(*scans) if len(scans) == 1 else "different scans, as named"
    st.caption(
        f"Grid {formatting.times(volume_cache.grid_of(scan))}; {summary}; computed on the {devices}. "
        f"{WITHOUT_REFERENCE if measured else WITH_REFERENCE}"
    )
    methods = (METHODS[name] for name in dict.fromkeys(run.config.method for run in runs))
    st.caption("  \n".join(f"**{method.label}.** {method.summary}" for method in methods))

    if any(METHODS[run.config.method].needs_prior for run in runs):
        # it has its place before the runs are done, so that nothing below it moves
        with st.expander("Remarks on the prior"):
            for sentence, by in _remarks(runs, names).items():
                st.caption(f"**{formatting.plain('; '.join(by))}.** {sentence}")
            if not any(run.plan is not None and run.plan.remarks for run in runs):
                st.caption("None so far.")


def _remarks(runs: Sequence[Run], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the remarks of the runs' plans, each with the names of the runs to which it applies."""
    found: dict[str, list[str]] = {}
    for run, name in zip(runs, names, strict=True):
        for remark in () if run.plan is None else run.plan.remarks:
            found.setdefault(remark, []).append(name)
    return found


def _metrics(run: Run) -> dict[str, float | None]:
    m = run.metrics
    return {
        "PSNR": m.psnr if m else None,
        "SSIM": m.ssim if m else None,
        "RMSE": m.rmse_hu if m else None,
    }


def _measured(run: Run) -> dict[str, float | None]:
    m = run.measured
    relative = None if m is None else m.held_out_relative
    return {
        "Held-out error": None if relative is None else 100 * relative,
        DIFFERENCE: None if m is None else m.difference_hu,
    }


def _marked(table: pd.DataFrame) -> Any:
    """Return the table with the best value of each column in bold."""
    style = table.style
    for name, best in (("PSNR", "max"), ("SSIM", "max"), ("RMSE", "min"), ("Held-out error", "min")):
        if name in table and len(table) > 1 and table[name].notna().any():
            mark = getattr(style, f"highlight_{best}")
            style = mark(subset=[name], props="font-weight: bold; background-color: rgba(14, 155, 181, .22)")
    return style
