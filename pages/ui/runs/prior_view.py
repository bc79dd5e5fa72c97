"""Views of Prior: generation and denoising of a volume."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.forms.prior_form import INPUT_LABELS
from pages.ui.runs import replays, run_bars, run_volumes
from pages.ui.session import engine, state, volume_cache
from pages.ui.texts import formatting, messages
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, default_window, placeholder, viewer
from tomopatch.analysis.metrics import Quality
from tomopatch.execution.progress import Progress
from tomopatch.prior.files import PRETRAINED
from tomopatch.runs.prior import Config, DenoiseConfig, GenerateConfig
from tomopatch.runs.run import ACTIVE, FINISHED, Run
from tomopatch.volume import VolumeGeometry

HEIGHT = 430
ONE_ROW, TWO_ROWS = 340, 560  # heights for three pictures and for more
GENERATED = {"noisy": "Noisy", "x": "Current volume"}
EXAMPLES = PRETRAINED / "generated.png"
NOT_A_PATIENT = (
    "**Not a patient, and not for diagnosis.** The prior invented this volume, including its anatomy and "
    "findings."
)
_KINDS = {"generate": GenerateConfig, "denoise": DenoiseConfig}


def submit(configs: Sequence[Config]) -> None:
    """Queue the runs and show them on the page."""
    state.set_prior_runs([engine.queue().submit(config) for config in configs])


def current_runs(kind: str) -> list[Run[Any]]:
    """Return the runs of the page that are of this kind."""
    runs = [engine.known_prior_run(run_id) for run_id in state.prior_runs()]
    return [run for run in runs if run is not None and isinstance(run.config, _KINDS[kind])]


def show_ready(kind: str) -> None:
    """Show instructions and, for generation, nine examples."""
    with st.container(border=True, height=HEIGHT if kind == "denoise" else TWO_ROWS):
        st.markdown(
            {
                "generate": "**Ready.** Press *Generate a volume* and watch it form from noise, slice by "
                "slice. The picture shows an axial and a coronal slice of nine generated volumes.",
                "denoise": "**Ready.** Press *Denoise* to see the noisy, the denoised and the clean volume "
                "side by side.",
            }[kind]
        )
        if kind == "generate" and EXAMPLES.exists():
            data = base64.b64encode(EXAMPLES.read_bytes()).decode()
            alt = "Axial and coronal slices of nine generated volumes"
            st.html(
                f'<img alt="{alt}" src="data:image/png;base64,{data}" style="width:100%;border-radius:6px">'
            )
            st.caption(NOT_A_PATIENT)


# ---- generating ------------------------------------------------------------------------------------------


def show_generation(run: Run[GenerateConfig]) -> None:
    """Show the volume and refresh it until it is done."""
    active = engine.progress(run).status in ACTIVE
    st.fragment(_generation, run_every=run_bars.POLL if active else None)(run, active)


def _generation(run: Run[GenerateConfig], was_active: bool) -> None:
    now = engine.progress(run)
    if was_active and now.status not in ACTIVE:
        st.rerun()
    if now.status in ("failed", "cancelled"):
        run_bars.show_no_result(now)
        return
    config = run.config
    geometry = VolumeGeometry(config.grid, config.voxel_size)
    title = f"Volume no. {config.seed}, {formatting.times(config.grid)}"
    outcome = f"generated in {formatting.seconds(run.seconds)} and {now.i} of {config.num_steps} steps."
    replayed = run_bars.run_bar(run.id, now, title, outcome)
    if replayed:
        replays.replay_view(run.id, GENERATED, geometry, "full", HEIGHT)
        st.caption(NOT_A_PATIENT)
        return
    if now.status in FINISHED:
        parts = [ViewerVolume("Generated volume", volume_cache.result_hu(run.id), "not a patient")]
    else:
        previews = engine.queue().preview(run.id) or {}
        shape = next((hu.shape for hu in previews.values()), config.grid)
        parts = [
            ViewerVolume(label, previews[name])
            if name in previews
            else placeholder(shape, label, "appears with the first step")
            for name, label in GENERATED.items()
        ]
    several = len(parts) > 1
    viewer(
        parts,
        geometry,
        key="generating",  # a new key would show an empty element for a moment
        options=ViewerOptions(
            view="live",
            layouts=("side", "planes", "swipe", "render") if several else ("planes", "render"),
            window="full",
            reference=-1,
            height=HEIGHT,
            fixed_height=True,
            tiles=now.tiles if several else None,
        ),
    )
    st.caption(NOT_A_PATIENT)


# ---- denoising ----------------------------------------------------------------------------------------


def show_denoising(runs: list[Run[DenoiseConfig]]) -> None:
    """Show the passes side by side and refresh them until all are done."""
    active = any(engine.progress(run).status in ACTIVE for run in runs)
    active = active or not volume_cache.reference(runs[0].config.scan).done()
    st.fragment(_denoising_view, run_every=run_bars.POLL if active else None)(runs, active)


def _denoising_view(runs: list[Run[DenoiseConfig]], was_active: bool) -> None:
    runs = [engine.known_prior_run(run.id) or run for run in runs]
    future = volume_cache.reference(runs[0].config.scan)
    prepared = future.done()  # checked once: it can change while the page is drawn
    if was_active and prepared and not any(run.status in ACTIVE for run in runs):
        st.rerun()
    now = [engine.progress(run) for run in runs]
    with st.container(key="run_bar.prior"):  # fixed height: nothing below moves when all are done
        run_bars.active_runs_bar(
            [(r, _name(r), p) for r, p in zip(runs, now, strict=True) if p.status in ACTIVE], _tiles
        )
    failures = messages.failed_runs(
        [(_name(r), p.message) for r, p in zip(runs, now, strict=True) if p.status == "failed"]
    )
    for sentence in failures:
        st.error(sentence)
    config = runs[0].config
    try:
        geometry = volume_cache.geometry(config.scan)
    except ValueError:
        return  # the volume was deleted; the messages of the runs say so
    if prepared and future.exception() is not None:
        return
    kept = [(r, p) for r, p in zip(runs, now, strict=True) if p.status in (*ACTIVE, *FINISHED)]
    if prepared:
        parts = [ViewerVolume("Noisy", volume_cache.noisy_hu(config.scan, config.sigma, config.seed))]
        clean = ViewerVolume("Clean", volume_cache.reference_hu(config.scan, config.grid))
    else:
        parts = [placeholder(config.grid, "Noisy", "being prepared")]
        clean = placeholder(config.grid, "Clean", "being prepared")
    for run, progress in kept:
        if progress.status in FINISHED:
            parts.append(ViewerVolume(_name(run), volume_cache.result_hu(run.id), _note(run)))
        else:
            parts.append(placeholder(config.grid, _name(run), run_volumes.PENDING[progress.status]))
    viewer(
        [*parts, clean],
        geometry,
        key="denoising",
        options=ViewerOptions(
            layouts=("side", "difference", "swipe", "flicker", "planes", "render"),
            window=default_window(config.source),
            reference=len(parts),
            height=ONE_ROW if len(parts) < 3 else TWO_ROWS,
            fixed_height=True,
        ),
    )
    if prepared:
        _table(config, [run for run, _ in kept])


def _table(config: DenoiseConfig, runs: list[Run[DenoiseConfig]]) -> None:
    """Show the metrics of each volume against the clean one."""
    noisy = volume_cache.noise_quality(config.scan, config.sigma, config.seed)
    rows: list[tuple[str, Any]] = [("Noisy", noisy), *((_name(run), run.metrics) for run in runs)]
    complete = next((run.metrics for run in runs if not run.config.without), None)
    table = pd.DataFrame(
        {
            "Volume": [name for name, _ in rows],
            "RMSE": [m and m.rmse_hu for _, m in rows],
            "PSNR": [m and m.psnr for _, m in rows],
            "SSIM": [m and m.ssim for _, m in rows],
            "Increase": ["", *(error_increase(complete, run.metrics) for run in runs)],
        }
    )
    column = st.column_config
    st.dataframe(
        table if len(runs) > 1 else table.drop(columns="Increase"),
        hide_index=True,
        key="prior_numbers",
        placeholder="–",  # of unfinished passes
        column_config={
            "RMSE": column.NumberColumn(format="%.1f HU", help="Typical error of a voxel; lower is better."),
            "PSNR": column.NumberColumn(
                format="%.2f dB", help="Similarity to the clean volume; higher is better."
            ),
            "SSIM": column.NumberColumn(
                format="%.3f", help="Structural similarity to the clean volume, at most 1; higher is better."
            ),
            "Increase": column.TextColumn(help="Increase of RMSE when this input is switched off."),
        },
    )
    st.caption(
        f"Grid {formatting.times(config.grid)}. Metrics compare with the clean volume between −1000 and 1000 "
        "HU; noise beyond this range does not count. Not for diagnosis: the prior can add and remove "
        "structures."
    )


def _name(run: Run[DenoiseConfig]) -> str:
    if not run.config.without:
        return "Denoised"
    return "Without " + ", ".join(INPUT_LABELS[name] for name in run.config.without)


def _note(run: Run[DenoiseConfig]) -> str:
    return "" if run.metrics is None else f"{run.metrics.psnr:.1f} dB"


def error_increase(complete: Quality | None, without: Quality | None) -> str:
    """Return the increase of RMSE without an input, with no minus sign for values that round to zero."""
    if complete is None or without in (None, complete):
        return ""
    assert without is not None
    return f"{without.rmse_hu - complete.rmse_hu:+z.1f} HU".replace("-", "\u2212")


def _tiles(now: Progress) -> str:
    """Return the progress of a pass."""
    if now.status == "queued" or now.message or not now.total:
        return messages.progress_line(now)
    return f"patch {now.i} of {now.total}"
