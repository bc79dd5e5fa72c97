"""Cells of a sweep: their runs, their metrics, and tables of them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from tomopatch.io.writing import finite
from tomopatch.runs.config import RunConfig, Scan, ScanConfig
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.run import FINISHED, Run
from tomopatch.studies.sweep.config import SweepConfig, varied_of
from tomopatch.studies.sweep.numbers import number_of

WITH_REFERENCE = {"psnr": "PSNR [dB]", "ssim": "SSIM", "rmse_hu": "RMSE [HU]"}
"""Metrics of a cell with a simulated scan, and their axis labels."""
WITHOUT_REFERENCE = {
    "held_out_relative": "Held-out error [relative]",
    "difference_hu": "Difference to all views [HU]",
}
"""Metrics of a cell with a measured scan, and their axis labels."""
TIME = {"seconds": "Time [s]"}
METRICS = WITH_REFERENCE | WITHOUT_REFERENCE | TIME
"""All metrics of a cell, and their axis labels."""


def metrics_of(scan: Scan) -> dict[str, str]:
    """Return the metrics of the runs of a scan, and their axis labels."""
    return (WITHOUT_REFERENCE if isinstance(scan, MeasuredScan) else WITH_REFERENCE) | TIME


@dataclass(frozen=True)
class Cell:
    """A cell of a sweep: its config, its stored run, if any, and the names of the varied effect settings."""

    config: RunConfig
    run: Run[RunConfig] | None
    effects: tuple[str, ...] = ()

    @property
    def done(self) -> bool:
        return self.run is not None and self.run.status == "done"

    def row(self) -> dict[str, Any]:
        """The cell as a row of a table: method, scan and metrics; None for metrics that do not exist yet.

        A varied effect setting has a column with its name.
        """
        scan, run = self.config.scan, self.run
        row: dict[str, Any] = {"method": self.config.method}
        row |= {name: getattr(scan, name) for name in varied_of(scan)}
        finished = run is not None and run.status in FINISHED
        m: Any = None
        if isinstance(scan, ScanConfig):
            row |= {"seed": scan.seed} | {name: number_of(scan, name) for name in self.effects}
            m, names = run.metrics if run is not None and finished else None, WITH_REFERENCE
        else:
            m, names = run.measured if run is not None and finished else None, WITHOUT_REFERENCE
        values = {name: None if m is None else getattr(m, name) for name in names}
        row |= {name: None if value is None else finite(value) for name, value in values.items()}
        row["seconds"] = run.seconds if run is not None and finished else None
        row["peak_memory_mb"] = run.peak_memory_mb if run is not None and finished else None
        row |= {"status": "missing" if run is None else run.status, "run": "" if run is None else run.id}
        return row


def look_up(sweep: SweepConfig, runs: Iterable[Run[RunConfig]]) -> list[Cell]:
    """Return the cells with their runs among `runs`, which are sorted newest first.

    A cell gets its finished run, else the newest one.
    """
    found: dict[str, Run[RunConfig]] = {}
    for run in runs:
        digest = run.config.digest()
        if digest not in found or (run.status == "done" and found[digest].status != "done"):
            found[digest] = run
    names = tuple(sweep.effects)
    return [Cell(config, found.get(config.digest()), names) for config in sweep.cells()]


def seconds_left(cells: list[Cell], runs: Iterable[Run[RunConfig]]) -> float | None:
    """Estimate the time of the missing cells from similar runs, or return None without such runs."""
    times: dict[tuple[str, Any], list[float]] = {}
    for run in runs:
        if run.status == "done":
            times.setdefault((run.config.method, run.config.scan.grid), []).append(run.seconds)
    missing = [(c.config.method, c.config.scan.grid) for c in cells if not c.done]
    if any(key not in times for key in missing):
        return None
    return sum(median(times[key]) for key in missing)


def table(cells: list[Cell]) -> str:
    """Return all cells as CSV."""
    out = io.StringIO()
    rows = [cell.row() for cell in cells]
    writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def format_cells(cells: list[Cell]) -> str:
    """Return the table that the command prints."""
    widths = {name: max(9, len(name) + 2) for name in cells[0].effects}
    lines = [
        f"{'method':<12}{'views':>6}{'range':>7}{'photons':>9}"
        f"{''.join(f'{name:>{width}}' for name, width in widths.items())}"
        f"{'PSNR dB':>9}{'SSIM':>8}{'RMSE HU':>9}{'seconds':>9}  status"
    ]
    for cell in cells:
        row = cell.row()
        photons = "none" if row["photons"] is None else f"{row['photons']:.3g}"
        effects = "".join(f"{row[name]:>{width}.10g}" for name, width in widths.items())
        numbers = "".join(
            f"{'-' if row[name] is None else format(row[name], form):>{width}}"
            for name, form, width in (
                ("psnr", ".2f", 9), ("ssim", ".4f", 8), ("rmse_hu", ".1f", 9), ("seconds", ".2f", 9),
            )
        )  # fmt: skip
        status = row["status"] if cell.run is None or not cell.run.message else f"failed: {cell.run.message}"
        lines.append(
            f"{row['method']:<12}{row['num_views']:>6}{row['angle_range']:>7g}{photons:>9}{effects}{numbers}"
            f"  {status}"
        )
    return "\n".join(lines)
