"""The errors of finished runs on Compare: their spread, whether the deviation foresaw them, their grain."""

from __future__ import annotations

import math
from collections.abc import Sequence

import streamlit as st
from torch import Tensor

from pages.ui.charts import figures
from pages.ui.charts.colours import Line
from pages.ui.compare import error_figures
from pages.ui.session import engine
from tomopatch.analysis import errors
from tomopatch.analysis.errors import CalibrationBin
from tomopatch.runs.config import ScanConfig

NUM_BINS = 81  # odd: the middle one lies about no error
Named = Sequence[tuple[str, Line, str]]
"""(name, line, id) of the runs that are there."""


@st.cache_resource(max_entries=32, show_spinner=False)
def _extent(scan: ScanConfig, run_id: str) -> float:
    """The error [HU] that one voxel in a thousand exceeds."""
    size = _error(scan, run_id).abs().flatten()
    return float(size.kthvalue(max(1, math.ceil(0.999 * size.numel()))).values)


@st.cache_resource(max_entries=32, show_spinner=False)
def _histogram(scan: ScanConfig, run_id: str, limit: float) -> tuple[Tensor, Tensor]:
    return errors.histogram(_error(scan, run_id), limit=limit, num_bins=NUM_BINS)


@st.cache_resource(max_entries=32, show_spinner=False)
def _calibration(scan: ScanConfig, run_id: str) -> list[CalibrationBin]:
    std = engine.result_std_hu(run_id)
    return [] if std is None else errors.calibration(_error(scan, run_id), std)


@st.cache_resource(max_entries=32, show_spinner=False)
def _spectrum(scan: ScanConfig, run_id: str) -> tuple[Tensor, Tensor]:
    _, dy, dx = engine.geometry(scan).voxel_size
    return errors.noise_power(_error(scan, run_id), (dy, dx))


def _error(scan: ScanConfig, run_id: str) -> Tensor:
    return errors.error(engine.reference(scan).result(), engine.result_volume(run_id))


def histogram(scan: ScanConfig, runs: Named) -> None:
    """How many voxels are off by how much."""
    limit = max((_extent(scan, run_id) for *_, run_id in runs), default=1.0)
    limit = math.ceil(max(limit, 10.0) / 10) * 10
    found = [(name, line, *_histogram(scan, run_id, limit)) for name, line, run_id in runs]
    _chart(error_figures.histogram(found), "errors", "Share of voxels by their error")
    st.caption(
        "Narrow is good; to the left of 0 the run is too dark, to the right too bright. Larger errors than shown "
        "count at the ends."
    )


def calibration(scan: ScanConfig, runs: Named) -> None:
    """Whether the deviation of a run's samples tells how wrong their mean is."""
    found = [(name, line, _calibration(scan, run_id)) for name, line, run_id in runs]
    known = [(name, line, bins) for name, line, bins in found if bins]
    if not known:
        with st.container(height=figures.HEIGHT, border=True):
            st.markdown(
                "**None of these runs predicts its own error.** Run diffusion with two samples or more on "
                "Reconstruct: they differ where they are not sure."
            )
        return
    _chart(error_figures.calibration(known), "calibration", "True error against predicted deviation")
    st.caption(
        "On the dashed line a run is wrong by as much as it says. Above it, it is surer than it should be; below, "
        "less sure than it could be."
    )


def spectrum(scan: ScanConfig, runs: Named) -> None:
    """How coarse or fine the error is."""
    if min(engine.grid_of(scan)[1:]) < 4:
        st.markdown("**A spectrum needs slices of 4 × 4 voxels or more.** Choose a finer grid on Acquire.")
        return
    found = [(name, line, *_spectrum(scan, run_id)) for name, line, run_id in runs]
    _chart(error_figures.spectrum(found), "spectrum", "Noise power spectrum of the error")
    st.caption(
        "Noise power spectrum of the error in axial slices. Left: broad shades and streaks. Right: grain and "
        "blurred edges."
    )


def _chart(figure: object, key: str, alt: str) -> None:
    st.plotly_chart(figure, key=key, config={"displayModeBar": False}, alt=alt)
