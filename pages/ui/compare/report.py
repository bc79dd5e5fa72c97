"""Comparison as an HTML report with the labels of the app."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pages.ui.session import engine, state, volume_cache
from pages.ui.texts import formatting, labels
from pages.ui.texts.effect_names import corrections_words, effect_words, insert_words
from pages.ui.texts.run_names import short_names
from pages.ui.viewer.slice_viewer import WINDOWS, default_window
from tomopatch.export.report import Entry, report_html
from tomopatch.physics.effect_settings import GROUPS
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.run import Run


def download(place: Any, scan: ScanConfig, runs: Sequence[Run]) -> None:
    """Show the download button; a click writes the report."""
    view = state.compare_view()
    names = {v.digest: v.name for v in engine.store().volumes()} if scan.source.startswith("volume:") else {}
    title = labels.source_label(scan.source, names)
    short = short_names([run.config for run in runs])

    def report() -> bytes:
        level, width = WINDOWS[default_window(scan.source)]
        return report_html(
            title,
            scan_rows(scan, title),
            volume_cache.reference(scan).result(),
            [entry(run, name) for run, name in zip(runs, short, strict=True)],
            now=datetime.now().astimezone(),
            cursor=view.get("cursor", (0.5, 0.5, 0.5)),
            window=view.get("window", (level - width / 2, level + width / 2)),
        )

    place.download_button(
        "Report (HTML)",
        report,
        "tomopatch-report.html",
        "text/html",
        width="stretch",
        on_click="ignore",
        help="One page to print or send: scan, settings, table, and slices at the crosshair with their "
        "differences.",
    )


def entry(run: Run, name: str) -> Entry:
    ended = {"Ended": "early, on request"} if run.status == "stopped" else {}
    return Entry(
        name=name,
        volume=volume_cache.result_volume(run.id),
        settings=labels.all_settings(run.config) | ended,
        scan=labels.scan_summary(run.config.scan),
        metrics=run.metrics,
        seconds=run.seconds,
        device=run.device,
    )


def scan_rows(scan: ScanConfig, title: str) -> dict[str, str]:
    """Return volume and scan geometry as rows of a table."""
    vg = volume_cache.geometry(scan)
    pg = scan.geometry(vg)
    rows = {
        "Volume": title,
        "Reconstruction grid (z, y, x)": f"{formatting.times(vg.shape)} voxels of "
        f"{formatting.times(f'{s:.3g}' for s in vg.voxel_size)} mm",
        "Scan": labels.scan_summary(scan),
        "First view at": f"{scan.start:g}°",
        "Detector (v, u)": f"{formatting.times(pg.det_shape)} pixels of "
        f"{formatting.times(f'{s:.3g}' for s in pg.pixel_size)} mm",
    }
    if scan.beam == "cone":
        rows["Distances"] = (
            f"source to axis {scan.src_orig_dist:g} mm, source to detector {scan.src_det_dist:g} mm"
        )
    if scan.tilt:
        rows["Tilt"] = f"{scan.tilt:g}°"
    if scan.pitch:
        rows["Pitch"] = f"{scan.pitch:g} mm per turn"
    if any(scan.det_offset):
        rows["Detector's shift (v, u)"] = f"{formatting.times(f'{s:g}' for s in scan.det_offset)} mm"
    rows["Simulated"] = (
        "on the reconstruction grid" if scan.same_grid else "at the volume's own resolution"
    ) + f"; seed {scan.seed}"
    for k, lesion in enumerate(scan.lesions, 1):
        place = ", ".join(f"{axis} {c:g}" for axis, c in zip("zyx", lesion.centre, strict=True))
        rows[f"Planted lesion {k}"] = f"{place} mm, radius {lesion.radius:g} mm, {lesion.hu:g} HU"
    effects = [words for name in GROUPS if (words := effect_words(scan.effects, name))]
    effects += map(insert_words, scan.effects.inserts)
    if effects:
        rows["Effects"] = "; ".join(effects)
    corrected = corrections_words(scan.corrections)
    if corrected:
        rows["Corrections"] = corrected
    return rows
