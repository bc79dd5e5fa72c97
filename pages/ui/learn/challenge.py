"""The challenge: a lesion hides in a lung; find it with the least dose."""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from pages.ui.forms import scan_form
from pages.ui.runs import live
from pages.ui.session import engine, state, words
from pages.ui.viewer.panes import Shown, viewer, waiting
from tomopatch.geometry.beams import ConeBeam, ParallelBeam
from tomopatch.phantoms.catalogue import lesions
from tomopatch.phantoms.lesions import hiding_place
from tomopatch.phantoms.scene import Lesion
from tomopatch.physics.measurement import relative_dose
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.run import ACTIVE, FINISHED, Run
from tomopatch.volume import Triple, VolumeGeometry

GRID = (64, 128, 128)
SIZES = {"large": 12.0, "medium": 8.0, "small": 5.0}
"""Radius of the lesion [mm]."""
HU = 40.0
VIEWS = (5, 8, 12, 20, 30, 45, 60, 90, 120)
PHOTONS = (500.0, 1e3, 3e3, 1e4, 3e4, 1e5)
SAID = {
    "wrong": "Not there. Look again, or scan again.",
    "other": "A lesion of this patient, but not the one that was hidden. Look again, or scan again.",
}
SCAN = "Choose how few views and photons you dare to take, and press *Scan*."
LOOK = "Move the crosshair to where you think that it is, and press *It is here*."
METHODS = ("fbp", "sirt", "tv", "diffusion")
GUESS = 0.001
"""What a wrong guess costs, as dose relative to a full scan."""


@dataclass(frozen=True)
class Game:
    """A search: which patient and size, the scans so far, and the guesses."""

    number: int = 1
    size: str = "medium"
    runs: tuple[str, ...] = ()
    wrong: int = 0
    found: bool = False
    said: str = ""  # of the last guess, a name in SAID

    @classmethod
    def kept(cls) -> Game:
        """As the session, or the address, has it; what is not understood begins anew."""
        stored = state.challenge()
        try:
            game = cls(
                int(stored.get("number", 1)),
                str(stored.get("size", "medium")),
                tuple(map(str, stored.get("runs", ()))),
                int(stored.get("wrong", 0)),
                bool(stored.get("found", False)),
                str(stored.get("said", "")),
            )
        except (TypeError, ValueError):
            return cls()
        return game if game.size in SIZES and 1 <= game.number <= 999 else cls()

    def keep(self) -> None:
        state.set_challenge(
            {
                "number": self.number,
                "size": self.size,
                "runs": list(self.runs),
                "wrong": self.wrong,
                "found": self.found,
                "said": self.said,
            }
        )


def view() -> None:
    game = Game.kept()
    st.subheader("Find the lesion with the least dose", anchor=False)
    st.markdown(
        "A round lesion hides in the lung of a digital patient. Scan as sparsely as you dare, reconstruct, look. Every "
        "scan adds to the dose, and so does a wrong guess."
    )
    _choose_game(game)
    game = Game.kept()
    runs = [run for run in map(engine.known_run, game.runs) if run is not None]
    _score(game, runs)
    if not game.found:
        _scan(game)
    if runs:
        _look(game, runs)


def hidden(game: Game) -> Lesion:
    """What is looked for; the same for everybody who plays this number."""
    place = _place(game.number, SIZES[game.size])
    return Lesion(place, SIZES[game.size], HU)


def spent(game: Game, runs: list[Run[RunConfig]]) -> float:
    """The dose of all scans, relative to a full one, and of the wrong guesses. A scan is paid for once."""
    scans = {run.config.scan for run in runs}
    doses = [relative_dose(s.geometry(engine.geometry(s)), s.photons) for s in scans]
    return sum(doses) + GUESS * game.wrong


@st.cache_resource(max_entries=50, show_spinner="Hiding a lesion…")
def _place(number: int, radius: float) -> Triple:
    return hiding_place(engine.draft(_source(number), GRID), radius, seed=number)


def _source(number: int) -> str:
    return f"phantom:thorax:{1000 + number}"


# ---- parts --------------------------------------------------------------------------------------------


def _choose_game(game: Game) -> None:
    state.fill({"challenge.number": game.number, "challenge.size": game.size})
    left, right, _ = st.columns([1, 1.8, 1], vertical_alignment="bottom")
    number = left.number_input(
        "Patient no.",
        1,
        999,
        step=1,
        key=state.field("challenge.number"),
        help="Each number is another patient.",
    )
    size = right.segmented_control(
        "Lesion",
        list(SIZES),
        key=state.field("challenge.size"),
        format_func=lambda s: f"{2 * SIZES[s]:.0f} mm",
        required=True,
        help="Its diameter. The smaller, the more views it takes.",
    )
    if (number, size) != (game.number, game.size):
        Game(int(number), size or "medium").keep()


def _score(game: Game, runs: list[Run[RunConfig]]) -> None:
    dose, scans, guesses = st.columns(3)
    dose.metric(
        "Dose so far",
        _percent(spent(game, runs)),
        help=scan_form.dose_help(_geometry(game)),
    )
    scans.metric(
        "Scans", len({run.config.scan for run in runs}), help="Another method on the same scan costs nothing."
    )
    guesses.metric("Wrong guesses", game.wrong, help=f"Each costs {_percent(GUESS)}.")
    if game.found:
        st.success(
            f"**Found, with {_percent(spent(game, runs))} of a full scan's dose.** Now do it with less, or take the next "
            "patient."
        )
    else:  # always something, so that nothing below moves when a guess is answered
        st.info(SAID.get(game.said, LOOK if runs else SCAN))


def _config(game: Game, views: int, photons: float) -> ScanConfig:
    return ScanConfig(_source(game.number), GRID, num_views=views, photons=photons, lesions=(hidden(game),))


def _geometry(game: Game) -> ParallelBeam | ConeBeam:
    """A scan of this patient; its detector does not depend on the views."""
    scan = _config(game, 1, PHOTONS[0])
    return scan.geometry(engine.geometry(scan))


def _scan(game: Game) -> None:
    state.fill({"challenge.views": 12, "challenge.photons": 1e4, "challenge.method": "tv"})
    a, b = st.columns(2)
    c, d = st.columns([2.6, 1], vertical_alignment="bottom")
    views = a.select_slider("Views", VIEWS, key=state.field("challenge.views"), help="More views: more dose.")
    photons = b.select_slider(
        "Photons a ray",
        PHOTONS,
        key=state.field("challenge.photons"),
        format_func=words.count,
        help="More photons: less noise, more dose.",
    )
    method = c.segmented_control(
        "Method",
        METHODS,
        key=state.field("challenge.method"),
        format_func=words.method_label,
        required=True,
        help="Another method on a scan that is there costs no dose.",
    )
    scan = _config(game, views, photons)
    cost = relative_dose(scan.geometry(engine.geometry(scan)), photons)
    if d.button(
        "Scan", type="primary", key="challenge_scan", width="stretch", help=f"Costs {_percent(cost)}."
    ):
        run_id = engine.queue().submit(RunConfig(scan, method or "tv"))
        replace(game, runs=tuple(dict.fromkeys((*game.runs, run_id)))).keep()
        st.rerun()


def _look(game: Game, runs: list[Run[RunConfig]]) -> None:
    names = {run.id: _name(run) for run in runs}
    if state.value("challenge.run") not in names or state.value("challenge.count") != len(runs):
        state.fill({"challenge.run": runs[-1].id, "challenge.count": len(runs)}, overwrite=True)
    st.pills(
        "Reconstructions",
        list(names),
        key=state.field("challenge.run"),
        format_func=lambda r: names[r],
        required=True,
        help="All that you have made of this patient.",
    )
    run = next(r for r in runs if r.id == (state.value("challenge.run") or runs[-1].id))
    active = engine.progress(run).status in ACTIVE
    st.fragment(_picture, run_every=live.POLL if active else None)(game, run, active)


def _picture(game: Game, run: Run[RunConfig], was_active: bool) -> None:
    now = engine.progress(run)
    if Game.kept() != game or (was_active and now.status not in ACTIVE):
        st.rerun()  # of the whole page: a guess was made, or the run is over
    if now.status in ("failed", "cancelled"):
        live.ended(now)
        return
    with st.container(key="run_bar.challenge"):  # of one height, so that nothing below jumps when it is done
        if now.status in ACTIVE:
            st.progress(now.share, text=words.progress_words(now))
        else:
            st.caption(f"{_name(run)}: done in {words.seconds(run.seconds)}.")
    current = live.current_volume(run, now)
    scan, label = run.config.scan, words.method_label(run.config.method)
    if current is None:
        current = waiting(GRID, label, "comes with the first iteration")
    parts = [replace(current, name=label, note="" if now.status in FINISHED else current.note)]
    if game.found:
        parts.append(Shown("Truth", engine.reference_hu(scan, current.hu.shape)))
    geometry = engine.geometry(scan)
    seen = viewer(
        parts,
        geometry,
        key="challenge",
        layouts=("planes", "side") if game.found else ("planes",),
        layout="side" if game.found else None,
        window="lung",
        reference=len(parts) - 1,
        height=live.HEIGHT,
        steady=True,
        report=True,
    )
    if not game.found:
        st.button(
            "It is here",
            key="challenge_guess",
            on_click=_guess,  # at once: the fragment may begin a run of the whole page instead of coming here again
            args=(game, geometry, seen.cursor if seen else (0.5, 0.5, 0.5)),
            disabled=current.pending,
            help="The crosshair is your guess. Click into a picture to move it.",
        )


def _guess(game: Game, geometry: VolumeGeometry, cursor: Triple) -> None:
    if near(cursor, geometry, hidden(game)):
        replace(game, found=True, said="").keep()
        return
    others = [lesion for lesion in lesions("thorax", 1000 + game.number) if near(cursor, geometry, lesion)]
    replace(game, wrong=game.wrong + 1, said="other" if others else "wrong").keep()


def near(cursor: Triple, geometry: VolumeGeometry, lesion: Lesion) -> bool:
    """Whether the crosshair (fractions of the volume) is in the lesion, give or take a voxel and a half."""
    place = [p + (f - 0.5) * s for f, p, s in zip(cursor, geometry.pos, geometry.size, strict=True)]
    allowed = [lesion.radius + 1.5 * s for s in geometry.voxel_size]
    return sum(((a - b) / r) ** 2 for a, b, r in zip(place, lesion.centre, allowed, strict=True)) <= 1


def _name(run: Run[RunConfig]) -> str:
    scan = run.config.scan
    return f"{words.method_label(run.config.method)}, {scan.num_views} views, {words.count(scan.photons or 0)} photons"


def _percent(share: float) -> str:
    return f"{share:.2%}" if share < 0.1 else f"{share:.0%}"
