"""The prior at work: generating a volume, or denoising one."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.forms.prior_form import INPUT_WORDS
from pages.ui.runs import live, replays
from pages.ui.session import engine, state, words
from pages.ui.viewer.panes import Shown, viewer, waiting, window_for
from tomopatch.analysis.metrics import Quality
from tomopatch.execution.queue import Progress
from tomopatch.prior.files import PRETRAINED
from tomopatch.runs.prior import Config, DenoiseConfig, GenerateConfig
from tomopatch.runs.run import ACTIVE, FINISHED, Run
from tomopatch.volume import VolumeGeometry

HEIGHT = 430
ONE_ROW, TWO_ROWS = 340, 560  # of three pictures, of more: large, with little black around them
GENERATED = {"noisy": "Noisy", "x": "Formed so far"}
EXAMPLES = PRETRAINED / "generated.png"
NOT_A_PATIENT = "**Not a patient, and not for diagnosis.** The prior made this volume up: anatomy and findings in it are invented."
_KINDS = {"generate": GenerateConfig, "denoise": DenoiseConfig}


def submit(configs: Sequence[Config]) -> None:
    """Queue the work and make it what the page shows."""
    state.set_prior_runs([engine.queue().submit(config) for config in configs])


def known(kind: str) -> list[Run[Any]]:
    """The runs that the page shows, if they are of this kind."""
    runs = [engine.known_prior_run(run_id) for run_id in state.prior_runs()]
    return [run for run in runs if run is not None and isinstance(run.config, _KINDS[kind])]


def ready(kind: str) -> None:
    """Before anything was asked for: what to press, and nine volumes that were generated before."""
    with st.container(border=True, height=HEIGHT if kind == "denoise" else TWO_ROWS):
        st.markdown(
            {
                "generate": "**Ready.** Press *Generate a volume* and watch it form from noise, slice by slice. These nine "
                "volumes were generated before: an axial and a coronal slice of each.",
                "denoise": "**Ready.** Press *Denoise* to see the noisy volume, what the prior makes of it, and the "
                "truth side by side.",
            }[kind]
        )
        if kind == "generate" and EXAMPLES.exists():
            data = base64.b64encode(EXAMPLES.read_bytes()).decode()
            alt = "Nine generated volumes, an axial and a coronal slice of each"
            st.html(
                f'<img alt="{alt}" src="data:image/png;base64,{data}" style="width:100%;border-radius:6px">'
            )
            st.caption(NOT_A_PATIENT)


# ---- generating ------------------------------------------------------------------------------------------


def generating(run: Run[GenerateConfig]) -> None:
    """The volume as it forms; redraws itself until it is done."""
    active = engine.progress(run).status in ACTIVE
    st.fragment(_generating, run_every=live.POLL if active else None)(run, active)


def _generating(run: Run[GenerateConfig], was_active: bool) -> None:
    now = engine.progress(run)
    if was_active and now.status not in ACTIVE:
        st.rerun()
    if now.status in ("failed", "cancelled"):
        live.ended(now)
        return
    config = run.config
    geometry = VolumeGeometry(config.grid, config.voxel_size)
    title = f"Volume no. {config.seed}, {words.times(config.grid)}"
    outcome = f"generated in {words.seconds(run.seconds)} and {now.i} of {config.num_steps} steps."
    replayed = live.bar(run.id, now, title, outcome)
    if replayed:
        replays.replay_view(run.id, GENERATED, geometry, "full", HEIGHT)
        st.caption(NOT_A_PATIENT)
        return
    if now.status in FINISHED:
        parts = [Shown("Generated volume", engine.result_hu(run.id), "not a patient")]
    else:
        there = engine.queue().preview(run.id) or {}
        shape = next((hu.shape for hu in there.values()), config.grid)
        parts = [
            Shown(label, there[name]) if name in there else waiting(shape, label, "comes with the first step")
            for name, label in GENERATED.items()
        ]
    several = len(parts) > 1
    viewer(
        parts,
        geometry,
        key="generating",  # one element throughout: another would be empty for a moment
        view="live",
        layouts=("side", "planes", "swipe") if several else ("planes",),
        window="full",
        reference=-1,
        height=HEIGHT,
        steady=True,
        tiles=now.tiles if several else None,
    )
    st.caption(NOT_A_PATIENT)


# ---- denoising ----------------------------------------------------------------------------------------


def denoising(runs: list[Run[DenoiseConfig]]) -> None:
    """The passes side by side; redraws itself until all are done."""
    active = any(engine.progress(run).status in ACTIVE for run in runs)
    active = active or not engine.reference(runs[0].config.scan).done()
    st.fragment(_denoising, run_every=live.POLL if active else None)(runs, active)


def _denoising(runs: list[Run[DenoiseConfig]], was_active: bool) -> None:
    runs = [engine.known_prior_run(run.id) or run for run in runs]
    future = engine.reference(runs[0].config.scan)
    prepared = future.done()  # asked once: it may come while this is drawn
    if was_active and prepared and not any(run.status in ACTIVE for run in runs):
        st.rerun()
    now = [engine.progress(run) for run in runs]
    with st.container(key="run_bar.prior"):  # of one height, so that nothing below jumps when all are done
        live.at_work([(r, _name(r), p) for r, p in zip(runs, now, strict=True) if p.status in ACTIVE], _tiles)
    told = words.without_volume(
        [(_name(r), p.message) for r, p in zip(runs, now, strict=True) if p.status == "failed"]
    )
    for sentence in told:
        st.error(sentence)
    config = runs[0].config
    try:
        geometry = engine.geometry(config.scan)
    except ValueError:
        return  # the volume is gone; the runs say so
    if prepared and future.exception() is not None:
        return
    kept = [(r, p) for r, p in zip(runs, now, strict=True) if p.status in (*ACTIVE, *FINISHED)]
    if prepared:
        parts = [Shown("Noisy", engine.noisy_hu(config.scan, config.sigma, config.seed))]
        clean = Shown("Clean", engine.reference_hu(config.scan, config.grid))
    else:
        parts = [waiting(config.grid, "Noisy", "being prepared")]
        clean = waiting(config.grid, "Clean", "being prepared")
    for run, progress in kept:
        if progress.status in FINISHED:
            parts.append(Shown(_name(run), engine.result_hu(run.id), _note(run)))
        else:
            parts.append(waiting(config.grid, _name(run), live.STILL[progress.status]))
    viewer(
        [*parts, clean],
        geometry,
        key="denoising",
        layouts=("side", "difference", "swipe", "flicker", "planes"),
        window=window_for(config.source),
        reference=len(parts),
        height=ONE_ROW if len(parts) < 3 else TWO_ROWS,
        steady=True,
    )
    if prepared:
        _table(config, [run for run, _ in kept])


def _table(config: DenoiseConfig, runs: list[Run[DenoiseConfig]]) -> None:
    """How far each volume is from the clean one."""
    noisy = engine.noise_quality(config.scan, config.sigma, config.seed)
    rows: list[tuple[str, Any]] = [("Noisy", noisy), *((_name(run), run.metrics) for run in runs)]
    whole = next((run.metrics for run in runs if not run.config.without), None)
    table = pd.DataFrame(
        {
            "Volume": [name for name, _ in rows],
            "RMSE": [m and m.rmse_hu for _, m in rows],
            "PSNR": [m and m.psnr for _, m in rows],
            "SSIM": [m and m.ssim for _, m in rows],
            "Lost": ["", *(_lost(whole, run.metrics) for run in runs)],
        }
    )
    column = st.column_config
    st.dataframe(
        table if len(runs) > 1 else table.drop(columns="Lost"),
        hide_index=True,
        key="prior_numbers",
        placeholder="–",  # of passes that are not done
        column_config={
            "RMSE": column.NumberColumn(format="%.1f HU", help="Typical error of a voxel; lower is better."),
            "PSNR": column.NumberColumn(
                format="%.2f dB", help="Likeness to the clean volume; higher is better."
            ),
            "SSIM": column.NumberColumn(
                format="%.3f", help="Likeness of structures, at most 1; higher is better."
            ),
            "Lost": column.TextColumn(help="By how much the error grows when this is switched off."),
        },
    )
    st.caption(
        f"Grid {words.times(config.grid)}; measured against the clean volume between −1000 and 1000 HU, so noise "
        "beyond that range does not count. What the prior adds or takes away is a guess: not for diagnosis."
    )


def _name(run: Run[DenoiseConfig]) -> str:
    if not run.config.without:
        return "Denoised"
    return "Without " + ", ".join(INPUT_WORDS[name] for name in run.config.without)


def _note(run: Run[DenoiseConfig]) -> str:
    return "" if run.metrics is None else f"{run.metrics.psnr:.1f} dB"


def _lost(whole: Quality | None, without: Quality | None) -> str:
    """By how much the error is larger without; a little less than nothing is nothing."""
    if whole is None or without in (None, whole):
        return ""
    assert without is not None
    return f"{without.rmse_hu - whole.rmse_hu:+z.1f} HU".replace("-", "\u2212")


def _tiles(now: Progress) -> str:
    """How far a pass is."""
    if now.status == "queued" or now.message or not now.total:
        return words.progress_words(now)
    return f"patch {now.i} of {now.total}"
