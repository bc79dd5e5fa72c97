"""View of one reconstruction run, unfinished or finished."""

from __future__ import annotations

import math
from collections.abc import Sequence

import streamlit as st

from pages.ui.charts import colours, curves
from pages.ui.runs import replays, run_bars, run_volumes
from pages.ui.session import engine, routes, state, volume_cache
from pages.ui.texts import formatting, labels, messages
from pages.ui.viewer.lesion_places import lesion_places
from pages.ui.viewer.scan_window import air_of, shared_view, window_of
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, placeholder, viewer
from tomopatch.execution.progress import Progress
from tomopatch.execution.queue import FAST_METHODS
from tomopatch.reconstruct.methods import METHODS, make_params
from tomopatch.reconstruct.params import DiffusionParams
from tomopatch.runs.config import RunConfig, Scan
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.run import ACTIVE, Run

INSTANT_POLL = 0.6  # seconds, for methods that finish at once
CURVE_POLL = 2.4  # seconds, for the curves
HEIGHT = 400  # of the pictures


def submit(config: RunConfig) -> str:
    """Queue the run and make it the current one; it replaces an unfinished run of a fast method."""
    before = engine.known_run(state.run_id())
    run_id = engine.queue().submit(config)
    if before is not None and before.id != run_id and _instant(before) and before.status in ACTIVE:
        engine.queue().cancel(before.id)
    state.set_run(run_id)
    return run_id


def run_view(run: Run[RunConfig]) -> None:
    """Show the run and refresh it until it ends."""
    active = engine.progress(run).status in ACTIVE
    waiting = active or not volume_cache.reference(run.config.scan).done()
    poll = INSTANT_POLL if _instant(run) else run_bars.POLL
    st.fragment(_view, run_every=poll if waiting else None)(run, waiting)
    if not _instant(run):
        st.fragment(_curves, run_every=CURVE_POLL if active else None)(run)
    if said := messages.ending(run):  # below everything, so that nothing moves at the end
        st.caption(said)


def _view(run: Run[RunConfig], waiting: bool) -> None:
    now = engine.progress(run)
    run = engine.known_run(run.id) or run
    scan = run.config.scan
    future = volume_cache.reference(scan)
    if waiting and now.status not in ACTIVE and future.done():
        st.rerun()  # a full run of the page stops the polling
    replayed = False
    if now.status in ("failed", "cancelled"):
        run_bars.show_no_result(now)
        if now.status == "failed":
            st.page_link(routes.ACQUIRE, label="Change the scan on Acquire", icon=":material/arrow_forward:")
    else:
        _numbers(run, now)
        replayed = run_bars.run_bar(run.id, now, _title(run), _outcome(run, now), instant=_instant(run))
    reference = scan if future.done() and future.exception() is None else None
    if now.status == "failed" and reference is None:
        return  # the volume may not exist
    if replayed:
        names = run_volumes.preview_labels(run)
        replays.replay_view(
            run.id,
            names,
            volume_cache.geometry(scan),
            window_of(scan),
            HEIGHT,
            reference,
            run_volumes.changes_of(list(names)),
            shared_view(scan, "live"),
        )
    else:
        show_pictures(run, now, reference, expected=not future.done())


def _curves(run: Run[RunConfig]) -> None:
    """Show curves over all steps so far."""
    now = engine.progress(run)
    if not now.points:
        return
    colour = colours.of_runs([run.config.method])[0].colour
    curves.curves_view(now.points, _planned_steps(run), colour, key="steps")
    explanations = {
        "psnr": "PSNR: similarity to the reference; higher is better.",
        "residual": "Residual: relative difference between computed and measured projections.",
        "sigma": "Noise: the noise level that the prior assumes in its input.",
    }
    initial = any(p.stage for p in now.points)
    grey = " Grey: the initial reconstruction, first on coarser grids." if initial else ""
    st.caption(" ".join(explanations[name] for name in curves.available(now.points)) + grey)


def _planned_steps(run: Run[RunConfig]) -> int:
    """Return the number of steps after the initial reconstruction."""
    params = make_params(run.config.method, run.config.params)
    if isinstance(params, DiffusionParams):
        return params.planned_steps * params.num_samples
    return int(getattr(params, "num_iterations", 1))


def _numbers(run: Run[RunConfig], now: Progress) -> None:
    """Show four numbers: of the progress of an unfinished run, or of the quality of a finished one."""
    numbers: Sequence[tuple[str, str, str]]
    if now.status in ACTIVE:
        residual = next((p.residual for p in reversed(now.points) if p.residual is not None), None)
        psnr = next((p.psnr for p in reversed(now.points) if p.psnr is not None), None)
        left = formatting.seconds(now.eta) if math.isfinite(now.eta) else "–"
        left = left if left == "–" or now.eta >= 1 else "< 1 s"
        numbers = [
            messages.iteration_number(now),
            ("Time left", left, "Estimate from the steps so far; rough until the first pass of a prior."),
            (
                "Residual",
                "–" if residual is None else f"{residual:.3f}",
                "Relative difference between computed and measured projections.",
            ),
            *(
                []
                if isinstance(run.config.scan, MeasuredScan)
                else [("PSNR", "–" if psnr is None else f"{psnr:.2f} dB", labels.METRIC_HELP["PSNR"])]
            ),
        ]
    elif run.metrics is not None:
        numbers = [
            ("PSNR", f"{run.metrics.psnr:.2f} dB", labels.METRIC_HELP["PSNR"]),
            ("SSIM", f"{run.metrics.ssim:.3f}", labels.METRIC_HELP["SSIM"]),
            ("RMSE", f"{run.metrics.rmse_hu:.0f} HU", labels.METRIC_HELP["RMSE"]),
            ("Time", formatting.seconds(run.seconds), labels.METRIC_HELP["Time"]),
        ]
    elif run.measured is not None:
        relative, difference = run.measured.held_out_relative, run.measured.difference_hu
        numbers = [
            (
                "Held-out error",
                "–" if relative is None else formatting.percent(relative),
                labels.METRIC_HELP["Held-out error"],
            ),
            (
                "To all views",
                "–" if difference is None else f"{difference:.0f} HU",
                labels.METRIC_HELP["Difference"],
            ),
            ("Time", formatting.seconds(run.seconds), labels.METRIC_HELP["Time"]),
        ]
    else:
        numbers = [("Time", formatting.seconds(run.seconds), labels.METRIC_HELP["Time"])]
    with st.container(key="numbers.live"):
        slots = st.columns(4)
    for slot, (label, value, hint) in zip(slots, numbers, strict=False):
        slot.metric(label, value, help=hint)


def _outcome(run: Run[RunConfig], now: Progress) -> str:
    if now.status == "stopped":
        return f"{now.message or 'finished early on request.'} The volume is the last estimate."
    return f"done on the {labels.device_label(run.device)}."


def show_pictures(run: Run[RunConfig], now: Progress, reference: Scan | None, *, expected: bool) -> None:
    """Show the current volumes and the reference, with placeholders for missing ones.

    Parameters
    ----------
    reference : Scan or None
        Scan whose reference exists; None without one.
    expected : bool
        Whether the reference is being prepared.
    """
    existing = {volume.name: volume for volume in run_volumes.existing_volumes(run, now)}
    scan, sampler = run.config.scan, METHODS[run.config.method].needs_prior
    names, name_of = run_volumes.preview_labels(run), labels.reference_name(scan)
    if now.status in ACTIVE:
        names = run_volumes.started_labels(names, list(existing))
    shape = next((volume.hu.shape for volume in existing.values()), volume_cache.grid_of(scan))
    if reference is not None:
        existing[name_of] = ViewerVolume(name_of, volume_cache.reference_hu(reference, shape))
    elif expected and existing:
        existing[name_of] = placeholder(shape, name_of, "being prepared")
    volumes = list(existing.values())
    if now.status in ACTIVE:
        first = "after the initial reconstruction" if len(names) > 1 else "with the first iteration"
        notes = {name_of: "being prepared"}
        volumes = [
            existing.get(name) or placeholder(shape, name, notes.get(name, f"appears {first}"))
            for name in (*names.values(), name_of)
        ]
    if not volumes:
        return
    layouts: tuple[str, ...] = ("side", "planes") if sampler else ("planes", "side")
    # an active run shows all of its volumes, in the order of their labels
    changes = run_volumes.changes_of(list(names)) if sampler and now.status in ACTIVE else []
    if changes:
        posterior = run.config.params.get("mode") == "posterior"
        layouts = ("changes", *layouts) if posterior else (*layouts, "changes")
    viewer(
        volumes,
        volume_cache.geometry(scan),
        key="live.sampler" if sampler else "live",
        options=ViewerOptions(
            view=shared_view(scan, "live"),
            layouts=(*layouts, "difference", "swipe", "flicker", "render")
            if len(volumes) > 1
            else ("planes", "render"),
            window=window_of(scan),
            fit=True,
            air=air_of(scan),
            reference=len(volumes) - 1,
            height=HEIGHT,
            fixed_height=True,
            tiles=now.tiles if now.status in ACTIVE and not now.stage else None,
            changes=changes,
            places=lesion_places(scan, volume_cache.geometry(scan)),
            caption=labels.picture_caption([scan], volume_cache.names()),
        ),
    )


def _title(run: Run[RunConfig]) -> str:
    label, settings = labels.method_label(run.config.method), labels.settings_summary(run.config)
    return f"{label} ({settings})" if settings else label


def _instant(run: Run[RunConfig]) -> bool:
    return run.config.method in FAST_METHODS
