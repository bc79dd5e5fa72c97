"""What Compare hands out: one of the volumes in several formats, a picture of all, a report."""

from __future__ import annotations

import streamlit as st

from pages.ui.compare import report
from pages.ui.session import engine, state, words
from pages.ui.session.names import short_names
from pages.ui.viewer.panes import WINDOWS, window_for
from tomopatch.export.animations import slices_gif_bytes
from tomopatch.export.files import dicom_zip_bytes, nifti_bytes, npz_bytes, png_bytes
from tomopatch.export.pictures import PLANES
from tomopatch.runs.config import ScanConfig
from tomopatch.runs.run import FINISHED, Run
from tomopatch.volume import Volume


def downloads(scan: ScanConfig, runs: list[Run]) -> None:
    """Files of one of the volumes, and pictures of all."""
    ready = {run.id: run for run in runs if run.status in FINISHED}
    options = ["reference", *ready]
    left, right = st.columns([2, 1])
    left.selectbox(
        "Volume to download",
        options,
        key=state.DOWNLOAD,
        format_func=lambda r: "Reference" if r == "reference" else words.run_words(ready[r], scan),
        help="As it is on the reconstruction grid, in HU: NIfTI, DICOM and NumPy.",
    )
    plane = right.selectbox(
        "Slices of the GIF",
        list(PLANES),
        key=state.field("compare.gif"),
        format_func=str.capitalize,
        help="The animation goes through all slices of this plane, all volumes above side by side.",
    )
    names = short_names([run.config for run in runs])
    named_as = {run.id: name for run, name in zip(runs, names, strict=True)}
    looked = state.looked()
    chosen = state.download() or "reference"

    def volume() -> Volume:
        return engine.reference(scan).result() if chosen == "reference" else engine.result_volume(chosen)

    def named() -> list[tuple[str, Volume]]:
        found = [("Reference", engine.reference(scan).result())]
        return found + [(named_as[run.id], engine.result_volume(run.id)) for run in ready.values()]

    def window() -> tuple[float, float]:
        level, width = WINDOWS[window_for(scan.source)]
        low, high = looked.get("window", (level - width / 2, level + width / 2))
        return float(low), float(high)

    def animation() -> bytes:
        volumes = [(name, engine.rounded(volume)) for name, volume in named()]
        return slices_gif_bytes(volumes, engine.geometry(scan), plane=plane, window=window())

    a, b, c = st.columns(3)
    a.download_button(
        "NIfTI",
        lambda: nifti_bytes(volume()),
        f"tomopatch-{chosen}.nii.gz",
        "application/gzip",
        width="stretch",
        on_click="ignore",
        help="One file, float32 HU; for 3D Slicer, ITK-SNAP and scripts.",
    )
    b.download_button(
        "DICOM (zip)",
        lambda: dicom_zip_bytes(volume()),
        f"tomopatch-{chosen}.zip",
        "application/zip",
        width="stretch",
        on_click="ignore",
        help="A CT series marked as derived and simulated, not for diagnosis.",
    )
    c.download_button(
        "NumPy (NPZ)",
        lambda: npz_bytes(volume()),
        f"tomopatch-{chosen}.npz",
        "application/octet-stream",
        width="stretch",
        on_click="ignore",
        help="Attenuation and HU as arrays (z, y, x), and the voxel size in mm.",
    )
    a.download_button(
        "Picture (PNG)",
        lambda: png_bytes(named(), window()),
        "tomopatch-compare.png",
        "image/png",
        width="stretch",
        on_click="ignore",
        help="The middle slices of all volumes above, in the window that is set there.",
    )
    b.download_button(
        "Animation (GIF)",
        animation,
        "tomopatch-compare.gif",
        "image/gif",
        width="stretch",
        on_click="ignore",
        help="Through the slices of all volumes above, side by side, in the window that is set there.",
    )
    report.download(c, scan, list(ready.values()))
