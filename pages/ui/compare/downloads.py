"""Downloads of Compare: a volume in several formats, a picture and an animation of all, a report."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.ui.compare import report
from pages.ui.session import engine, state, volume_cache
from pages.ui.texts import labels
from pages.ui.texts.run_names import short_names
from pages.ui.viewer.scan_window import window_of
from pages.ui.viewer.slice_viewer import level_and_width
from tomopatch.export.animations import slices_gif_bytes
from tomopatch.export.files import dicom_zip_bytes, nifti_bytes, npz_bytes, png_bytes
from tomopatch.export.pictures import PLANES
from tomopatch.io.projections.writing import tiff_zip_bytes
from tomopatch.runs.config import Scan, ScanConfig
from tomopatch.runs.measured import prepare_any
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.measurements import measurement_bytes
from tomopatch.runs.prepare import prepare
from tomopatch.runs.run import FINISHED, Run
from tomopatch.volume import Volume


def downloads(scan: Scan, runs: list[Run]) -> None:
    """Offer files of the selected volume, and pictures of all volumes."""
    ready = {run.id: run for run in runs if run.status in FINISHED}
    options = ["reference", *ready]
    volumes = volume_cache.names()
    state.default_download(_best(list(ready.values())) or "reference", options)
    left, right = st.columns([2, 1])
    left.selectbox(
        "Volume to download",
        options,
        key=state.DOWNLOAD,
        format_func=lambda r: (
            labels.reference_name(scan) if r == "reference" else labels.run_label(ready[r], scan)
        ),
        help="The volume in the files NIfTI, DICOM and NumPy: in HU, on the reconstruction grid.",
    )
    plane = right.selectbox(
        "Slices of the GIF",
        list(PLANES),
        key=state.field("compare.gif"),
        format_func=str.capitalize,
        help="The animation runs through all slices of this plane, with all volumes above side by side.",
    )
    names = short_names([run.config for run in runs])
    named_as = {run.id: name for run, name in zip(runs, names, strict=True)}
    view = state.compare_view()
    chosen = state.download() or "reference"
    file = labels.file_name(ready.get(chosen), scan, volumes)
    comparison = labels.scan_file_name(scan, "comparison", volumes)

    def volume() -> Volume:
        return (
            volume_cache.reference(scan).result()
            if chosen == "reference"
            else volume_cache.result_volume(chosen)
        )

    def named() -> list[tuple[str, Volume]]:
        found = [(labels.reference_name(scan), volume_cache.reference(scan).result())]
        return found + [(named_as[run.id], volume_cache.result_volume(run.id)) for run in ready.values()]

    def window() -> tuple[float, float]:
        level, width = level_and_width(window_of(scan))
        low, high = view.get("window", (level - width / 2, level + width / 2))
        return float(low), float(high)

    def animation() -> bytes:
        volumes = [(name, volume_cache.int16_hu(volume)) for name, volume in named()]
        return slices_gif_bytes(volumes, volume_cache.geometry(scan), plane=plane, window=window())

    a, b, c = st.columns(3)
    a.download_button(
        "NIfTI",
        lambda: nifti_bytes(volume()),
        f"{file}.nii.gz",
        "application/gzip",
        width="stretch",
        on_click="ignore",
        help="One file with float32 HU for 3D Slicer, ITK-SNAP and scripts.",
    )
    b.download_button(
        "DICOM (zip)",
        lambda: dicom_zip_bytes(volume(), simulated=not isinstance(scan, MeasuredScan)),
        f"{file}.zip",
        "application/zip",
        width="stretch",
        on_click="ignore",
        help="A CT series, marked as derived and not for diagnosis.",
    )
    c.download_button(
        "NumPy (NPZ)",
        lambda: npz_bytes(volume()),
        f"{file}.npz",
        "application/octet-stream",
        width="stretch",
        on_click="ignore",
        help="Arrays (z, y, x) of attenuation and HU, and the voxel size in mm.",
    )
    a.download_button(
        "Picture (PNG)",
        lambda: png_bytes(named(), window()),
        f"{comparison}.png",
        "image/png",
        width="stretch",
        on_click="ignore",
        help="The middle slices of all volumes above, with the window of the viewer.",
    )
    b.download_button(
        "Animation (GIF)",
        animation,
        f"{comparison}.gif",
        "image/gif",
        width="stretch",
        on_click="ignore",
        help="The slices of all volumes above, side by side, with the window of the viewer.",
    )
    report.download(c, scan, list(ready.values()))
    _projections(scan, a, b)


def _best(runs: list[Run]) -> str | None:
    """Return the run with the highest PSNR, of a measured scan the one with the lowest held-out error."""
    scores = {run.id: run.metrics.psnr for run in runs if run.metrics is not None}
    errors = {run.id: run.measured.held_out_relative for run in runs if run.measured is not None}
    scores |= {run_id: -error for run_id, error in errors.items() if error is not None}
    return max(scores, key=scores.__getitem__, default=None)


def _projections(scan: Scan, left: DeltaGenerator, right: DeltaGenerator) -> None:
    """Offer the line integrals with their geometry."""
    file = labels.scan_file_name(scan, "projections", volume_cache.names(), with_views=True)

    def tiff() -> bytes:
        measurement = prepare_any(scan, engine.store()).measurement
        return tiff_zip_bytes(measurement.projections.cpu().numpy(), measurement.geometry)

    if isinstance(scan, ScanConfig):
        left.download_button(
            "Projections (NPZ)",
            lambda: measurement_bytes(scan, prepare(scan, engine.store())),
            f"{file}.npz",
            "application/octet-stream",
            width="stretch",
            on_click="ignore",
            help="The measurement with its geometry: line integrals, angles, distances, weights.",
        )
    right.download_button(
        "Projections (TIFF)",
        tiff,
        f"{file}.zip",
        "application/zip",
        width="stretch",
        on_click="ignore",
        help="A zip with one float32 TIFF of line integrals per view, and the geometry as JSON.",
    )
