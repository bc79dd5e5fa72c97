"""A run while it works and when it is done."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from pages.ui.charts import colours, curves
from pages.ui.runs import replays
from pages.ui.session import engine, routes, state, words
from pages.ui.viewer.panes import Change, Shown, viewer, waiting, window_for
from tomopatch.execution.queue import FAST_METHODS, Progress
from tomopatch.reconstruct.methods import METHODS, make_params
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.run import ACTIVE, FINISHED, Run

POLL = 1.2  # seconds: each time costs the browser and the server 0.2 s of the cores that compute
INSTANT_POLL = 0.6  # of what is there in a moment
CURVE_POLL = 2.4  # of the figures
HEIGHT = 400  # of the pictures
STILL = {"queued": "in the queue", "running": "still running"}
BAR = "run_bar"  # page.css gives it its height
SAMPLER = {"noisy": "Given", "denoised": "Denoised", "x": "Fitted to the scan"}
"""The volumes of a step of the sampler, in the order in which they arise."""

CHANGES = (("denoised", "noisy", "Changed by the prior"), ("x", "denoised", "Changed by the scan"))
"""The maps of a step: after, before, title."""


def changes_of(names: Sequence[str]) -> list[Change]:
    """The maps that can be shown of volumes with these names, in this order."""
    return [
        (names.index(after), names.index(before), title)
        for after, before, title in CHANGES
        if after in names and before in names
    ]


def submit(config: RunConfig) -> str:
    """Queue the run and make it the current one; one that answers at once and is still waiting gives way to it."""
    before = engine.known_run(state.run_id())
    run_id = engine.queue().submit(config)
    if before is not None and before.id != run_id and _instant(before) and before.status in ACTIVE:
        engine.queue().cancel(before.id)
    state.set_run(run_id)
    return run_id


def run_view(run: Run[RunConfig]) -> None:
    """The run; redraws itself until it is over."""
    active = engine.progress(run).status in ACTIVE
    poll = INSTANT_POLL if _instant(run) else POLL
    st.fragment(_view, run_every=poll if active else None)(run, active)
    if not _instant(run):
        st.fragment(_curve, run_every=CURVE_POLL if active else None)(run)


def _view(run: Run[RunConfig], was_active: bool) -> None:
    now = engine.progress(run)
    if was_active and now.status not in ACTIVE:
        st.rerun()  # a full run of the page stops the polling
    run = engine.known_run(run.id) or run
    replayed = False
    if now.status in ("failed", "cancelled"):
        ended(now)
        if now.status == "failed":
            st.page_link(routes.ACQUIRE, label="Change the scan on Acquire", icon=":material/arrow_forward:")
    else:
        _numbers(run, now)
        replayed = bar(run.id, now, _title(run), _outcome(run, now), instant=_instant(run))
    future = engine.reference(run.config.scan)
    reference = run.config.scan if future.done() and future.exception() is None else None
    if replayed:
        window = window_for(run.config.scan.source)
        labels = _labels(run)
        changes = changes_of(list(labels))
        replays.replay_view(
            run.id, labels, engine.geometry(run.config.scan), window, HEIGHT, reference, changes
        )
    else:
        _pictures(run, now, reference)


def ended(now: Progress) -> None:
    """What to say of a run that leaves nothing."""
    if now.status == "failed":
        st.error(f"**This run left no volume.** {now.message}")
    else:
        st.info("This run was cancelled; nothing was kept. Start it again whenever you like.")


def bar(run_id: str, now: Progress, title: str, outcome: str, *, instant: bool = False) -> bool:
    """The progress with its two buttons, or how it ended with the choice of a replay; True if that is chosen."""
    with st.container(key=BAR):  # of one height, so that nothing below jumps when the run is over
        return _bar(run_id, now, title, outcome, instant)


def _bar(run_id: str, now: Progress, title: str, outcome: str, instant: bool) -> bool:
    if now.status in ACTIVE:
        done, cancel, finish = st.columns([2.6, 1, 1.4], vertical_alignment="center")
        done.progress(now.share, text=f"{title}: {words.progress_words(now)}")
        if not instant:
            cancel.button(
                "Cancel",
                key=f"cancel.{run_id}",
                on_click=engine.cancel,
                args=(run_id,),
                help="Stop and throw it away.",
                width="stretch",
            )
            finish.button(
                "Finish now",
                key=f"finish.{run_id}",
                on_click=engine.finish,
                args=(run_id,),
                width="stretch",
                help="Stop and keep the volume as it is now.",
            )
        return False
    said, choice = st.columns([2, 1.5], vertical_alignment="center")
    said.caption(f"{title}: {outcome}")
    if instant or not engine.has_history(run_id):
        return False
    with choice, st.container(horizontal=True, horizontal_alignment="right"):
        chosen = st.segmented_control(
            "Show",
            ["Result", "Replay"],
            default="Result",
            required=True,
            key=f"show.{run_id}",
            label_visibility="collapsed",
            help="The result, or how it came about: a slider goes through the steps of the run.",
        )
    return chosen == "Replay"


def at_work(
    active: Sequence[tuple[Run[Any], str, Progress]], told: Callable[[Progress], str] = words.progress_words
) -> None:
    """A line about the runs that are not finished, and a button to cancel each."""
    if not active:
        st.caption("All of these runs are done.")
        return
    _, name, first = next((entry for entry in active if entry[2].status == "running"), active[0])
    more = f"; {len(active) - 1} more to come" if len(active) > 1 else ""
    bar, cancel = st.columns([5, 1.2], vertical_alignment="center")
    bar.progress(first.share, text=f"{name}: {told(first)}{more}")
    with cancel.popover("Cancel", width="stretch", help="Stop one of the runs and throw it away."):
        for run, name, _ in active:
            st.button(
                f"Cancel {name}",
                key=f"cancel.{run.id}",
                on_click=engine.cancel,
                args=(run.id,),
                width="stretch",
                help="Stop this run and throw it away.",
            )


def _curve(run: Run[RunConfig]) -> None:
    """The figures of all steps so far."""
    now = engine.progress(run)
    if not now.points:
        return
    colour = colours.of_runs([run.config.method])[0].colour
    curves.curves_view(now.points, _planned(run), colour, key="steps")
    shown = curves.shown(now.points)
    told = {
        "psnr": "PSNR: likeness to the reference, higher is better.",
        "residual": "Residual: how far the projections of the current volume are from the measured ones.",
        "sigma": "Noise: the error that the prior is told to expect in the volume that it is given.",
    }
    start = any(p.stage for p in now.points)
    before = " Grey: the start, on coarser grids first; then the method's own steps." if start else ""
    st.caption(" ".join(told[name] for name in shown) + before)


def _planned(run: Run[RunConfig]) -> int:
    """How many steps follow a start."""
    params = make_params(run.config.method, run.config.params)
    if isinstance(params, DiffusionParams):
        return params.planned_steps * params.num_samples
    return int(getattr(params, "num_iterations", 1))


def _numbers(run: Run[RunConfig], now: Progress) -> None:
    """Four numbers: of the progress while it works, of the quality afterwards."""
    told: Sequence[tuple[str, str, str]]
    if now.status in ACTIVE:
        residual = next((p.residual for p in reversed(now.points) if p.residual is not None), None)
        psnr = next((p.psnr for p in reversed(now.points) if p.psnr is not None), None)
        told = [
            ("Iteration", f"{now.i} / {now.total}" if now.total else "–", "Done and planned."),
            ("Time left", words.seconds(now.eta) if math.isfinite(now.eta) else "–", "At the pace so far."),
            ("Residual", "–" if residual is None else f"{residual:.3f}", "How far the projections are off."),
            ("PSNR", "–" if psnr is None else f"{psnr:.2f} dB", "Likeness to the reference so far."),
        ]
    elif run.metrics is not None:
        told = [
            ("PSNR", f"{run.metrics.psnr:.2f} dB", words.MEASURES["PSNR"]),
            ("SSIM", f"{run.metrics.ssim:.3f}", words.MEASURES["SSIM"]),
            ("RMSE", f"{run.metrics.rmse_hu:.0f} HU", words.MEASURES["RMSE"]),
            ("Time", words.seconds(run.seconds), words.MEASURES["Time"]),
        ]
    else:
        told = [("Time", words.seconds(run.seconds), words.MEASURES["Time"])]
    with st.container(key="numbers.live"):
        slots = st.columns(4)
    for slot, (label, value, hint) in zip(slots, told, strict=False):
        slot.metric(label, value, help=hint)


def _outcome(run: Run[RunConfig], now: Progress) -> str:
    if now.status == "stopped":
        return f"{now.message or 'finished early on request.'} The volume is the last iterate."
    return f"done on the {words.device(run.device)}."


def _pictures(run: Run[RunConfig], now: Progress, reference: ScanConfig | None) -> None:
    """The current volumes and the reference; what is not there yet has its place already, so that nothing jumps."""
    there = {part.name: part for part in _shown(run, now)}
    shape = next((part.hu.shape for part in there.values()), engine.grid_of(run.config.scan))
    if reference is not None:
        there["Reference"] = Shown("Reference", engine.reference_hu(reference, shape))
    parts = list(there.values())
    if now.status in ACTIVE:
        names = (*_labels(run).values(), "Reference")
        sampler = METHODS[run.config.method].needs_prior
        comes = "comes with the first pass" if sampler else "comes with the first iteration"
        notes = {"Reference": "being prepared"}
        parts = [there.get(name) or waiting(shape, name, notes.get(name, comes)) for name in names]
    if not parts:
        return
    sampler = METHODS[run.config.method].needs_prior
    several: tuple[str, ...] = ("side", "planes") if sampler else ("planes", "side")
    # while the run works all of its volumes have a place, in the order of their labels
    changes = changes_of(list(_labels(run))) if sampler and now.status in ACTIVE else []
    if changes:
        several = (
            ("changes", *several) if run.config.params.get("mode") == "posterior" else (*several, "changes")
        )
    viewer(
        parts,
        engine.geometry(run.config.scan),
        key="live.sampler" if sampler else "live",
        view="live",
        layouts=(*several, "difference", "swipe", "flicker"),
        window=window_for(run.config.scan.source),
        reference=len(parts) - 1,
        height=HEIGHT,
        steady=True,
        tiles=now.tiles if now.status in ACTIVE and not now.stage else None,
        changes=changes,
    )


def _shown(run: Run[RunConfig], now: Progress) -> list[Shown]:
    """What there is to see of the run itself."""
    if now.status in FINISHED or not METHODS[run.config.method].needs_prior:
        current = current_volume(run, now)
        std = engine.result_std(run.id) if now.status in FINISHED else None
        deviation = [] if std is None else [Shown("Deviation", std, kind="heat")]
        return [] if current is None else [current, *deviation]
    preview = engine.queue().preview(run.id) or {}
    note = "start" if now.stage else ""  # the bar above tells how far it is
    return [Shown(label, preview[name], note) for name, label in _labels(run).items() if name in preview]


def _labels(run: Run[RunConfig]) -> dict[str, str]:
    """What is shown while the run works, by the names of its previews."""
    if not METHODS[run.config.method].needs_prior:
        return {"x": _label(run)}
    several = run.config.params.get("num_samples", 1) > 1
    return SAMPLER | {"x": "Mean so far"} if several else SAMPLER


def current_volume(run: Run[RunConfig], now: Progress) -> Shown | None:
    """The result, or the iterate at hand; None before the first."""
    label = _label(run)
    if now.status in FINISHED:
        done = engine.known_run(run.id)
        note = f"{done.metrics.psnr:.1f} dB" if done is not None and done.metrics is not None else ""
        if run.config.params.get("num_samples", 1) > 1:
            label += ", mean"
        return Shown(label, engine.result_hu(run.id), note)
    preview = engine.queue().preview(run.id)
    if preview is None or "x" not in preview:
        return None
    return Shown(label, preview["x"], f"{'start, ' if now.stage else ''}iteration {now.i}")


def _label(run: Run[RunConfig]) -> str:
    return words.method_label(run.config.method)


def _title(run: Run[RunConfig]) -> str:
    extra = words.params_words(run.config)
    return _label(run) + (f" ({extra})" if extra else "")


def _instant(run: Run[RunConfig]) -> bool:
    return run.config.method in FAST_METHODS
