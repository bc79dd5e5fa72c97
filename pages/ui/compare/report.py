"""Comparison as an HTML report with the labels of the app."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pages.ui.runs import measured_view
from pages.ui.session import engine, scan_preview, state, volume_cache
from pages.ui.texts import formatting, labels
from pages.ui.texts.effect_names import corrections_words, effect_words, insert_words
from pages.ui.texts.run_names import short_names
from pages.ui.viewer.scan_window import window_of
from pages.ui.viewer.slice_viewer import level_and_width
from tomopatch.export.report import Entry, report_html
from tomopatch.geometry.views import pixel_size
from tomopatch.physics.effect_settings import GROUPS
from tomopatch.runs.config import Scan
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.run import Run


def download(place: Any, scan: Scan, runs: Sequence[Run]) -> None:
    """Show the download button; a click writes the report."""
    view = state.compare_view()
    names = {} if scan.source.startswith("phantom:") else engine.source_names()
    title = labels.source_label(scan.source, names)
    short = short_names([run.config for run in runs])

    def report() -> bytes:
        level, width = level_and_width(window_of(scan))
        return report_html(
            title,
            scan_rows(scan, title),
            volume_cache.reference(scan).result(),
            [entry(run, name) for run, name in zip(runs, short, strict=True)],
            now=datetime.now().astimezone(),
            cursor=view.get("cursor", (0.5, 0.5, 0.5)),
            reference_name=labels.reference_name(scan),
            window=view.get("window", (level - width / 2, level + width / 2)),
        )

    place.download_button(
        "Report (HTML)",
        report,
        f"{labels.scan_file_name(scan, 'report', names)}.html",
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
        measured=run.measured,
        seconds=run.seconds,
        device=run.device,
    )


def measured_rows(scan: MeasuredScan, title: str) -> dict[str, str]:
    """Return file, grid, views and corrections of a measured scan as rows of a table."""
    vg, pg = volume_cache.geometry(scan), volume_cache.scan_geometry(scan)
    found = scan_preview.preview(scan)
    return {
        "Measured scan": title,
        "Reconstruction grid (z, y, x)": f"{formatting.times(vg.shape)} voxels of "
        f"{formatting.times(f'{s:.3g}' for s in vg.voxel_size)} mm",
        "Scan": labels.scan_summary(scan),
        "Beam": scan_preview.beam_words(pg),
        "Used views": f"{pg.num_views} of {found.geometry.num_views}",
        "Detector (v, u)": f"{formatting.times(pg.det_shape)} pixels",
        "Corrections": "; ".join(measured_view.figures(scan, found.record).values()),
        "Notes": " ".join(map(formatting.sentence, found.notes)) or "none",
    }


def scan_rows(scan: Scan, title: str) -> dict[str, str]:
    """Return volume and scan geometry as rows of a table."""
    if isinstance(scan, MeasuredScan):
        return measured_rows(scan, title)
    vg = volume_cache.geometry(scan)
    pg = scan.geometry(vg)
    rows = {
        "Volume": title,
        "Reconstruction grid (z, y, x)": f"{formatting.times(vg.shape)} voxels of "
        f"{formatting.times(f'{s:.3g}' for s in vg.voxel_size)} mm",
        "Scan": labels.scan_summary(scan),
        "First view at": f"{scan.start:g}°",
        "Detector (v, u)": f"{formatting.times(pg.det_shape)} pixels of "
        f"{formatting.times(f'{s:.3g}' for s in pixel_size(pg.views()))} mm",
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
