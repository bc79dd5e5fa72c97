"""Errors of finished runs on Compare: histogram, calibration of the deviation, and noise power spectrum."""

from __future__ import annotations

import math
from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st
from torch import Tensor

from pages.ui.charts import figure_files, figures
from pages.ui.charts.colours import Line
from pages.ui.compare import error_figures
from pages.ui.session import volume_cache
from tomopatch.analysis import errors
from tomopatch.analysis.errors import CalibrationBin
from tomopatch.runs.config import Scan
from tomopatch.runs.measured_scan import MeasuredScan

NUM_BINS = 81  # odd: the middle bin is centred on zero error
Named = Sequence[tuple[str, Line, str]]
"""Name, line and id of finished runs."""


@st.cache_resource(max_entries=32, show_spinner=False)
def _extent(scan: Scan, run_id: str) -> float:
    """Return the absolute error [HU] that one voxel in a thousand exceeds."""
    size = _error(scan, run_id).abs().flatten()
    return float(size.kthvalue(max(1, math.ceil(0.999 * size.numel()))).values)


@st.cache_resource(max_entries=32, show_spinner=False)
def _histogram(scan: Scan, run_id: str, limit: float) -> tuple[Tensor, Tensor]:
    return errors.histogram(_error(scan, run_id), limit=limit, num_bins=NUM_BINS)


@st.cache_resource(max_entries=32, show_spinner=False)
def _calibration(scan: Scan, run_id: str) -> list[CalibrationBin]:
    std = volume_cache.result_std_hu(run_id)
    return [] if std is None else errors.calibration(_error(scan, run_id), std)


@st.cache_resource(max_entries=32, show_spinner=False)
def _spectrum(scan: Scan, run_id: str) -> tuple[Tensor, Tensor]:
    _, dy, dx = volume_cache.geometry(scan).voxel_size
    return errors.noise_power(_error(scan, run_id), (dy, dx))


def _error(scan: Scan, run_id: str) -> Tensor:
    return errors.error(volume_cache.reference(scan).result(), volume_cache.result_volume(run_id))


def histogram(scan: Scan, runs: Named, caption: str) -> None:
    """Show the share of voxels by error."""
    limit = max((_extent(scan, run_id) for *_, run_id in runs), default=1.0)
    limit = math.ceil(max(limit, 10.0) / 10) * 10
    found = [(name, line, *_histogram(scan, run_id, limit)) for name, line, run_id in runs]
    _chart(error_figures.histogram(found), "errors", "Share of voxels by their error", caption)
    st.caption(
        "A narrow curve is good. Left of 0 the run is too dark, right of 0 too bright. Errors beyond the "
        "axis count at its ends."
    )
    _of_stand_in(scan)


def calibration(scan: Scan, runs: Named, caption: str) -> None:
    """Show whether the deviation of a run's samples predicts the error of their mean."""
    found = [(name, line, _calibration(scan, run_id)) for name, line, run_id in runs]
    known = [(name, line, bins) for name, line, bins in found if bins]
    if not known:
        with st.container(height=figures.HEIGHT, border=True):
            st.markdown(
                "**None of these runs predicts its own error.** On Reconstruct, run diffusion with two "
                "samples or more. The samples differ where the result is uncertain."
            )
        return
    _chart(error_figures.calibration(known), "calibration", "True error against predicted deviation", caption)
    st.caption(
        "On the dashed line, predicted and true error agree. Above: overconfident. Below: overcautious."
    )
    _of_stand_in(scan)


def spectrum(scan: Scan, runs: Named, caption: str) -> None:
    """Show the noise power spectrum of the error."""
    if min(volume_cache.grid_of(scan)[1:]) < 4:
        st.markdown(
            "**A spectrum needs slices of at least 4 × 4 voxels.** Choose a finer *Reconstruction grid* on "
            "Acquire."
        )
        return
    found = [(name, line, *_spectrum(scan, run_id)) for name, line, run_id in runs]
    _chart(error_figures.spectrum(found), "spectrum", "Noise power spectrum of the error", caption)
    st.caption(
        "Noise power spectrum of the error in axial slices. Left: shading and broad streaks. Right: fine "
        "noise and blurred edges."
    )
    _of_stand_in(scan)


def _of_stand_in(scan: Scan) -> None:
    """State that the errors of a measured scan are differences to a stand-in."""
    if isinstance(scan, MeasuredScan):
        st.caption(
            "This scan has no reference: *error* is here the difference to the reconstruction from all "
            "views, which contains the artefacts of its own method."
        )


def _chart(figure: go.Figure, key: str, alt: str, caption: str) -> None:
    st.plotly_chart(figure, key=key, config={"displayModeBar": False}, alt=alt)
    figure_files.download_buttons(figure, key, caption, key=key)
