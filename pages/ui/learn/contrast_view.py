"""The challenge on Learn to keep the contrast of a nodule: controls, table and pictures."""

from __future__ import annotations

import math
from dataclasses import replace

import streamlit as st

from pages.ui.learn import contrast
from pages.ui.learn.challenge import GRID, MAX_NUMBER
from pages.ui.learn.challenge_parts import (
    chosen_run,
    next_buttons,
    patient_place,
    run_name,
    scan_form,
    share,
    shown_volume,
)
from pages.ui.learn.contrast import KINDS, SHARE, TO_NOISE, Game
from pages.ui.runs import run_bars
from pages.ui.session import engine, state, volume_cache
from pages.ui.texts import formatting, labels
from pages.ui.viewer.lesion_places import lesion_places
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, placeholder, viewer
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.run import ACTIVE, Run

HEIGHT = 400  # of the pictures
BEFORE_SCAN = "Choose *Views*, *Photons per ray* and a *Method*, and press *Scan*."
NOT_YET = "No reconstruction reaches the goal yet. More views, more photons or another method may."


def view() -> None:
    """Show the whole challenge."""
    game = Game.stored()
    st.subheader("Keep the contrast with the least dose", anchor=False)
    st.markdown(
        "A nodule of 18 mm lies in the lung of a digital patient, at a known place. Find the scan with the "
        f"least dose whose reconstruction keeps {formatting.percent(SHARE)} of the nodule's contrast. It "
        f"must also be {TO_NOISE:.0f} times the noise around the nodule (contrast-to-noise ratio, CNR)."
    )
    _choose_game(game)
    game = Game.stored()
    with patient_place("contrast", (game.number, game.kind), lambda: contrast.true_contrast(game)):
        _attempt(game)
    share("contrast", "contrast", {"number": game.number, "kind": game.kind})


def _attempt(game: Game) -> None:
    """Show the score, the form of a scan and all reconstructions."""
    runs = [run for run in map(engine.known_run, game.runs) if run is not None]
    if contrast.with_best(game, runs) != game:
        game = contrast.with_best(game, runs)
        game.store()
    _score(game, runs)
    run_id = scan_form("contrast", lambda views, photons: contrast.scan_of(game, views, photons))
    if run_id is not None:
        replace(game, runs=tuple(dict.fromkeys((*game.runs, run_id)))).store()
        st.rerun()
    if runs:
        _table(game, runs)
        _reconstructions(game, runs)


def _choose_game(game: Game) -> None:
    state.fill({"contrast.number": game.number, "contrast.kind": game.kind})
    left, right, _ = st.columns([1, 2.6, 0.2], vertical_alignment="bottom")
    number = left.number_input(
        "Patient no.",
        1,
        MAX_NUMBER,
        step=1,
        key=state.field("contrast.number"),
        help="Each number is a different digital patient.",
    )
    kind = right.segmented_control(
        "Nodule",
        list(KINDS),
        key=state.field("contrast.kind"),
        required=True,
        help="A ground-glass nodule differs least from the lung around it.",
    )
    if (number, kind) != (game.number, game.kind):
        Game(int(number), kind or "ground-glass").store()


def _start(game: Game) -> None:
    game.store()
    state.fill({"contrast.number": game.number, "contrast.kind": game.kind}, overwrite=True)


def _score(game: Game, runs: list[Run[RunConfig]]) -> None:
    """Show the goal, and the least dose of these runs and of all attempts."""
    doses = [
        contrast.dose(run.config.scan)
        for run in runs
        if isinstance(run.config.scan, ScanConfig) and contrast.is_kept(game, run)
    ]
    pg = contrast.scan_of(game, 1, 1e3)
    columns = st.columns(3)
    columns[0].metric(
        "Least dose",
        formatting.percent(min(doses)) if doses else "–",
        help=labels.dose_help(pg.geometry(volume_cache.geometry(pg))),
    )
    columns[1].metric(
        "True contrast",
        f"{contrast.true_contrast(game):.0f} HU",
        help="Mean of the nodule minus mean of the lung around it, in the patient.",
    )
    columns[2].metric(
        "Scans", len({run.config.scan for run in runs}), help="Another method on the same scan costs nothing."
    )
    least = contrast.best_dose(game)
    if not doses:
        best = f" Your best so far: {formatting.percent(least)}." if math.isfinite(least) else ""
        st.info((NOT_YET if runs else BEFORE_SCAN) + best)
        return
    st.success(
        f"**Kept, with {formatting.percent(min(doses))} of the dose of a full scan.** Your best: "
        f"{formatting.percent(least)}. Can you do it with less?"
    )
    next_buttons(
        "contrast",
        _start,
        game.again(),
        game.following(),
        help=(
            "Begin again with the same nodule. Your best dose is kept.",
            "Try a nodule of this kind in the next patient.",
        ),
    )


def _table(game: Game, runs: list[Run[RunConfig]]) -> None:
    """Show dose, contrast and noise of each finished reconstruction."""
    true, rows = contrast.true_contrast(game), []
    for run in runs:
        found = contrast.measured(game, run)
        if found is None or not isinstance(run.config.scan, ScanConfig):
            continue
        ratio = abs(found.hu) / found.noise if found.noise > 0 else math.inf
        rows.append(
            {
                "Reconstruction": run_name(run),
                "Dose": formatting.percent(contrast.dose(run.config.scan)),
                "Contrast": f"{found.hu:.0f} HU ({formatting.percent(max(0.0, found.hu / true))})",
                "CNR": f"{ratio:.1f}",
                "Goal": "reached" if contrast.is_kept(game, run) else "not reached",
            }
        )
    if rows:
        st.table(rows)


def _reconstructions(game: Game, runs: list[Run[RunConfig]]) -> None:
    run = chosen_run("contrast", runs)
    active = engine.progress(run).status in ACTIVE
    st.fragment(_pictures, run_every=run_bars.POLL if active else None)(game, run, active)


def _pictures(game: Game, run: Run[RunConfig], was_active: bool) -> None:
    now = engine.progress(run)
    if was_active and now.status not in ACTIVE:
        st.rerun()  # of the whole page, with the contrast of this run
    if now.status in ("failed", "cancelled"):
        run_bars.show_no_result(now)
        return
    current, scan = shown_volume("contrast", run, now, GRID), run.config.scan
    parts = [current]
    reference = volume_cache.reference(scan)
    if reference.done() and reference.exception() is None:
        parts.append(ViewerVolume("Reference", volume_cache.reference_hu(scan, current.hu.shape)))
    else:
        parts.append(placeholder(current.hu.shape, "Reference", "being prepared"))
    geometry = volume_cache.geometry(scan)
    places = lesion_places(scan, geometry)
    viewer(
        parts,
        geometry,
        key="contrast",
        options=ViewerOptions(
            view=f"contrast.{game.number}",  # each patient's nodule is elsewhere
            layouts=("side", "planes", "difference"),
            window="lung",
            fit=True,
            reference=1,
            height=HEIGHT,
            fixed_height=True,
            cursor=places[0] if places else None,
            region=("sphere", 2 * contrast.RADIUS),
            places=places,
        ),
    )
