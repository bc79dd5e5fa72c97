"""Rules of the challenge: a lesion hides in a lung; find it with the least dose."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import streamlit as st

from pages.ui.session import engine, state, volume_cache
from tomopatch.geometry.beams import Geometry
from tomopatch.phantoms.catalogue import lesions
from tomopatch.phantoms.lesions import hiding_place
from tomopatch.phantoms.scene import Lesion
from tomopatch.physics.measurement import relative_dose
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.run import Run
from tomopatch.volume import Triple, VolumeGeometry

GRID = (64, 128, 128)
SIZES = {"large": 12.0, "medium": 8.0, "small": 5.0}
"""Radius of the lesion [mm]."""
LESION_HU = 40.0
PHANTOM_OFFSET = 1000
"""Number of the thorax phantom of patient 0."""
GUESS_DOSE = 0.001
"""Cost of a wrong guess, as a share of the dose of a full scan."""

MAX_NUMBER = 999
MAX_WRONG = 10_000
"""A link with more wrong guesses is invalid."""


@dataclass(frozen=True)
class Game:
    """State of a search: patient, size of the lesion, scans, and guesses."""

    number: int = 1
    size: str = "medium"
    runs: tuple[str, ...] = ()
    wrong: int = 0
    found: bool = False
    answer: str = ""  # to the last guess: "wrong", or "other" for another lesion
    best_runs: tuple[str, ...] = ()  # of the search with the least dose that found this lesion
    best_wrong: int = 0  # wrong guesses of that search

    @classmethod
    def stored(cls) -> Game:
        """Return the game of the session or address, or a new one if that is not readable."""
        stored = state.challenge()
        try:
            game = cls(
                int(stored.get("number", 1)),
                str(stored.get("size", "medium")),
                tuple(map(str, stored.get("runs", ()))),
                int(stored.get("wrong", 0)),
                bool(stored.get("found", False)),
                str(stored.get("said", "")),
                tuple(map(str, stored.get("best_runs", ()))),
                int(stored.get("best_wrong", 0)),
            )
        except (TypeError, ValueError, OverflowError):
            return cls()
        valid = game.size in SIZES and 1 <= game.number <= MAX_NUMBER and 0 <= game.wrong <= MAX_WRONG
        valid = valid and 0 <= game.best_wrong <= MAX_WRONG
        return game if valid else cls()

    def store(self) -> None:
        """Store the game in the session and thereby in the address."""
        state.set_challenge(
            {
                "number": self.number,
                "size": self.size,
                "runs": list(self.runs),
                "wrong": self.wrong,
                "found": self.found,
                "said": self.answer,
            }
            | ({"best_runs": list(self.best_runs), "best_wrong": self.best_wrong} if self.best_runs else {})
        )

    def again(self) -> Game:
        """Return a new search for the same lesion."""
        return Game(self.number, self.size, best_runs=self.best_runs, best_wrong=self.best_wrong)

    def following(self) -> Game:
        """Return a search in the next patient for a lesion of this size."""
        return Game(self.number % MAX_NUMBER + 1, self.size)


def source_of(number: int) -> str:
    """Return the name of the patient's phantom."""
    return f"phantom:thorax:{PHANTOM_OFFSET + number}"


def hidden_lesion(game: Game) -> Lesion:
    """Return the hidden lesion, which is the same for all players of this number."""
    radius = SIZES[game.size]
    return Lesion(_hiding_place(game.number, radius), radius, LESION_HU)


@st.cache_resource(max_entries=50, show_spinner=False)
def _hiding_place(number: int, radius: float) -> Triple:
    return hiding_place(volume_cache.preview_volume(source_of(number), GRID), radius, seed=number)


def scan_of(game: Game, views: int, photons: float) -> ScanConfig:
    """Return a scan of the patient with the hidden lesion."""
    lesion = hidden_lesion(game)
    return ScanConfig(source_of(game.number), GRID, num_views=views, photons=photons, lesions=(lesion,))


def geometry_of(scan: ScanConfig) -> Geometry:
    return scan.geometry(volume_cache.geometry(scan))


def dose(game: Game, runs: list[Run[RunConfig]]) -> float:
    """Return the dose of all different scans and of wrong guesses, as a share of that of a full scan."""
    scans = {run.config.scan for run in runs if isinstance(run.config.scan, ScanConfig)}
    return sum(relative_dose(geometry_of(s), s.photons) for s in scans) + GUESS_DOSE * game.wrong


def best_dose(game: Game) -> float:
    """Return the dose of the best search, as a share of a full scan; infinite if it is not known.

    It is computed from the runs, since an address could state any number. All runs must exist and be scans of
    this lesion.
    """
    runs = [run for run in map(engine.known_run, game.best_runs) if run is not None]
    if not runs or len(runs) < len(game.best_runs):
        return math.inf
    patient = (source_of(game.number), (hidden_lesion(game),))
    scans = [run.config.scan for run in runs]
    if not all(isinstance(s, ScanConfig) and (s.source, s.lesions) == patient for s in scans):
        return math.inf
    return dose(replace(game, wrong=game.best_wrong), runs)


def guess(game: Game, geometry: VolumeGeometry, cursor: Triple) -> None:
    """Store the result of a guess at the crosshair."""
    if is_near(cursor, geometry, hidden_lesion(game)):
        runs = [run for run in map(engine.known_run, game.runs) if run is not None]
        won = replace(game, found=True, answer="")
        if dose(game, runs) < best_dose(game):
            won = replace(won, best_runs=game.runs, best_wrong=game.wrong)
        won.store()
        return
    known = lesions("thorax", PHANTOM_OFFSET + game.number)
    other = any(is_near(cursor, geometry, lesion) for lesion in known)
    replace(game, wrong=game.wrong + 1, answer="other" if other else "wrong").store()


def is_near(cursor: Triple, geometry: VolumeGeometry, lesion: Lesion) -> bool:
    """Whether the crosshair (fractions of the volume) lies in the lesion, with a margin of 1.5 voxels."""
    place = [p + (f - 0.5) * s for f, p, s in zip(cursor, geometry.pos, geometry.size, strict=True)]
    allowed = [lesion.radius + 1.5 * s for s in geometry.voxel_size]
    return sum(((a - b) / r) ** 2 for a, b, r in zip(place, lesion.centre, allowed, strict=True)) <= 1
