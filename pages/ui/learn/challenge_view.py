"""The challenge on Learn to find a lesion: controls, score and pictures."""

from __future__ import annotations

import math
from dataclasses import replace

import streamlit as st

from pages.ui.learn import challenge
from pages.ui.learn.challenge import GRID, GUESS_DOSE, SIZES, Game
from pages.ui.learn.challenge_parts import (
    PHOTONS,
    chosen_run,
    next_buttons,
    patient_place,
    scan_form,
    share,
    shown_volume,
)
from pages.ui.runs import run_bars
from pages.ui.session import engine, state, volume_cache
from pages.ui.texts import formatting, labels
from pages.ui.viewer.slice_viewer import ViewerOptions, ViewerVolume, viewer
from tomopatch.runs.config import RunConfig
from tomopatch.runs.run import ACTIVE, Run

HEIGHT = 400  # of the pictures
BEFORE_SCAN = "Choose few *Views* and few *Photons per ray*, and press *Scan*."
BEFORE_GUESS = "Move the crosshair to the lesion and press *It is here*."
ANSWERS = {
    "wrong": "Wrong. Look again, or scan again.",
    "other": "This is a lesion of the patient, but not the hidden one. Look again, or scan again.",
}


def view() -> None:
    """Show the whole challenge."""
    game = Game.stored()
    st.subheader("Find the lesion with the least dose", anchor=False)
    st.markdown(
        "A round lesion hides in the lung of a digital patient. Scan with as little dose as possible, "
        "reconstruct, and find it. Each scan adds to the dose, and so does each wrong guess."
    )
    _choose_game(game)
    game = Game.stored()
    runs = [run for run in map(engine.known_run, game.runs) if run is not None]
    with patient_place("challenge", (game.number, game.size), lambda: challenge.hidden_lesion(game)):
        _score(game, runs)
        if not game.found:
            _scan_form(game)
        if runs:
            _reconstructions(game, runs)
    share("challenge", "challenge", {"number": game.number, "size": game.size})


def _choose_game(game: Game) -> None:
    state.fill({"challenge.number": game.number, "challenge.size": game.size})
    left, right, _ = st.columns([1, 1.8, 1], vertical_alignment="bottom")
    number = left.number_input(
        "Patient no.",
        1,
        challenge.MAX_NUMBER,
        step=1,
        key=state.field("challenge.number"),
        help="Each number is a different digital patient.",
    )
    size = right.segmented_control(
        "Lesion",
        list(SIZES),
        key=state.field("challenge.size"),
        format_func=lambda s: f"{2 * SIZES[s]:.0f} mm",
        required=True,
        help="Diameter of the lesion. A smaller lesion needs more views.",
    )
    if (number, size) != (game.number, game.size):
        Game(int(number), size or "medium").store()


def _start(game: Game) -> None:
    game.store()
    state.fill({"challenge.number": game.number, "challenge.size": game.size}, overwrite=True)


def _score(game: Game, runs: list[Run[RunConfig]]) -> None:
    dose = formatting.percent(challenge.dose(game, runs))
    pg = challenge.geometry_of(
        challenge.scan_of(game, 1, PHOTONS[0])
    )  # the detector does not depend on the views
    columns = st.columns(3)
    columns[0].metric("Dose so far", dose, help=labels.dose_help(pg))
    columns[1].metric(
        "Scans", len({run.config.scan for run in runs}), help="Another method on the same scan costs nothing."
    )
    cost = formatting.percent(GUESS_DOSE)
    columns[2].metric("Wrong guesses", game.wrong, help=f"Each wrong guess costs {cost}.")
    if game.found:
        least = challenge.best_dose(game)
        best = f" Your best: {formatting.percent(least)}." if math.isfinite(least) else ""
        st.success(f"**Found, with {dose} of the dose of a full scan.**{best} Can you do it with less?")
        next_buttons(
            "challenge",
            _start,
            game.again(),
            game.following(),
            help=(
                "Search for the same lesion once more, with less dose.",
                "Search for a lesion of this size in the next patient.",
            ),
        )
    else:  # always one line, so that nothing below moves after a guess
        st.info(ANSWERS.get(game.answer, BEFORE_GUESS if runs else BEFORE_SCAN))


def _scan_form(game: Game) -> None:
    run_id = scan_form("challenge", lambda views, photons: challenge.scan_of(game, views, photons))
    if run_id is not None:
        replace(game, runs=tuple(dict.fromkeys((*game.runs, run_id)))).store()
        st.rerun()


def _reconstructions(game: Game, runs: list[Run[RunConfig]]) -> None:
    run = chosen_run("challenge", runs)
    active = engine.progress(run).status in ACTIVE
    st.fragment(_pictures, run_every=run_bars.POLL if active else None)(game, run, active)


def _pictures(game: Game, run: Run[RunConfig], was_active: bool) -> None:
    now = engine.progress(run)
    if Game.stored() != game or (was_active and now.status not in ACTIVE):
        st.rerun()  # of the whole page, after a guess or at the end of the run
    if now.status in ("failed", "cancelled"):
        run_bars.show_no_result(now)
        return
    current, scan = shown_volume("challenge", run, now, GRID), run.config.scan
    volumes = [current]
    if game.found:
        volumes.append(ViewerVolume("Reference", volume_cache.reference_hu(scan, current.hu.shape)))
    geometry = volume_cache.geometry(scan)
    viewed = viewer(
        volumes,
        geometry,
        key="challenge",
        options=ViewerOptions(
            layouts=("planes", "side") if game.found else ("planes",),
            layout="side" if game.found else None,
            window="lung",
            fit=game.found,  # to the reference
            reference=len(volumes) - 1,
            height=HEIGHT,
            fixed_height=True,
            report=True,
        ),
    )
    if not game.found:
        st.button(
            "It is here",
            key="challenge_guess",
            # a callback runs even if the whole page runs next instead of this fragment
            on_click=challenge.guess,
            args=(game, geometry, viewed.cursor if viewed else (0.5, 0.5, 0.5)),
            disabled=current.pending,
            help="Guess that the lesion is at the crosshair. Click in a picture to move the crosshair.",
        )
