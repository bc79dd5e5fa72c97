"""A run while it works and when it is done."""

from __future__ import annotations

import math

import streamlit as st

from core.runs.config import RunConfig
from core.runs.jobs import FAST_METHODS, Progress
from core.runs.store import FINISHED, Run
from pages.ui import engine, figures, state, words
from pages.ui.viewer import Shown, viewer, window_for

POLL = 0.4  # seconds
CURVE_POLL = 2.0  # of the residuals: a plot takes the browser longer than the three pictures
HEIGHT = 400  # of the pictures


def submit(config: RunConfig) -> str:
    """Queue the run and make it the current one; one that answers at once and is still waiting gives way to it."""
    before = engine.known_run(state.run_id())
    run_id = engine.queue().submit(config)
    if before is not None and before.id != run_id and _instant(before) and before.status in engine.ACTIVE:
        engine.queue().cancel(before.id)
    state.set_run(run_id)
    return run_id


def run_view(run: Run) -> None:
    """The run; redraws itself until it is over."""
    active = engine.progress(run).status in engine.ACTIVE
    st.fragment(_view, run_every=POLL if active else None)(run, active)
    if not _instant(run):
        st.fragment(_curve, run_every=CURVE_POLL if active else None)(run)


def _view(run: Run, was_active: bool) -> None:
    now = engine.progress(run)
    if was_active and now.status not in engine.ACTIVE:
        st.rerun()  # a full run of the page stops the polling
    if now.status == "failed":
        st.error(f"The run failed. {now.message}")
    elif now.status == "cancelled":
        st.info("This run was cancelled; nothing was kept.")
    else:
        _numbers(engine.known_run(run.id) or run, now)
    _pictures(run, now)


def _curve(run: Run) -> None:
    now = engine.progress(run)
    st.plotly_chart(
        figures.residuals(now.residuals, now.total),
        key="residuals",
        config={"displayModeBar": False},
        alt="How the residual falls with the iterations",
    )
    st.caption("Residual: how far the projections of the current volume are from the measured ones.")


def _numbers(run: Run, now: Progress) -> None:
    """Four numbers and a line below: of the progress while it works, of the quality afterwards."""
    active = now.status in engine.ACTIVE
    four = st.columns(4)
    if active:
        residual = f"{now.residuals[-1]:.3f}" if now.residuals else "–"
        left = words.seconds(now.eta) if math.isfinite(now.eta) else "–"
        told = [
            ("Iteration", f"{now.i} / {now.total}" if now.total else "–", "Done and planned."),
            ("Elapsed", words.seconds(now.seconds), "Since the method began."),
            ("Left", left, "At the pace so far."),
            ("Residual", residual, "How far the projections are from the measured ones."),
        ]
    elif run.metrics is not None:
        told = [
            ("PSNR", f"{run.metrics.psnr:.2f} dB", "Likeness to the reference; higher is better."),
            ("SSIM", f"{run.metrics.ssim:.3f}", "Likeness of structures, at most 1; higher is better."),
            ("RMSE", f"{run.metrics.rmse_hu:.0f} HU", "Typical error of a voxel; lower is better."),
            ("Time", words.seconds(run.seconds), "Of the method alone."),
        ]
    else:
        told = [("Time", words.seconds(run.seconds), "Of the method alone.")]
    for slot, (label, value, hint) in zip(four, told, strict=False):
        slot.metric(label, value, help=hint)
    bar, cancel, finish = st.columns([5, 1, 1.3], vertical_alignment="center")
    with bar:
        if active:
            st.progress(
                now.i / now.total if now.total else 0.0, text=f"{_title(run)}: {words.progress_words(now)}"
            )
        elif now.status == "stopped":
            st.caption(f"{_title(run)}: finished early on request; the volume is the last iterate.")
        else:
            st.caption(
                f"{_title(run)}: done on {run.device}, measured against the reference on the "
                "reconstruction grid."
            )
    if active and not _instant(run):
        queue = engine.queue()
        cancel.button(
            "Cancel",
            key="cancel",
            on_click=queue.cancel,
            args=(run.id,),
            help="Stop and throw it away.",
            width="stretch",
        )
        finish.button(
            "Finish now",
            key="finish",
            on_click=queue.finish,
            args=(run.id,),
            width="stretch",
            help="Stop and keep the volume as it is now.",
        )


def _pictures(run: Run, now: Progress) -> None:
    """The current volume, and the reference as soon as there is one of the same grid."""
    future = engine.reference(run.config.scan)
    reference = future.result() if future.done() and future.exception() is None else None
    current = current_volume(run, now)
    if current is None and reference is None:
        with st.container(border=True, height=HEIGHT):
            st.caption("The first picture comes in a moment…")
        return
    parts: list[Shown] = [] if current is None else [current]
    # a reduced preview of a large volume is not on the reference's grid
    if reference is not None and (current is None or reference.shape == current.hu.shape):
        parts.append(Shown("Reference", engine.rounded(reference)))
    layouts = ("planes", "side", "difference", "swipe") if len(parts) == 2 else ("planes",)
    scan = run.config.scan
    window = window_for(scan.source)
    viewer(
        parts, engine.geometry(scan), key="live", layouts=layouts, window=window, reference=1, height=HEIGHT
    )


def current_volume(run: Run, now: Progress) -> Shown | None:
    """The result, or the iterate at hand; None before the first."""
    label = words.method_label(run.config.method)
    if now.status in FINISHED:
        done = engine.known_run(run.id)
        note = f"{done.metrics.psnr:.1f} dB" if done is not None and done.metrics is not None else ""
        return Shown(label, engine.result_hu(run.id), note)
    preview = engine.queue().preview(run.id)
    if preview is None or "x" not in preview:
        return None
    return Shown(label, preview["x"], f"iteration {now.i}")


def _title(run: Run) -> str:
    extra = words.params_words(run.config.method, run.config.params)
    return words.method_label(run.config.method) + (f" ({extra})" if extra else "")


def _instant(run: Run) -> bool:
    return run.config.method in FAST_METHODS
