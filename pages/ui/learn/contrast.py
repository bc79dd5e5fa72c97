"""Rules of the challenge to keep the contrast of a nodule, at a known place, with the least dose."""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass, replace

import streamlit as st

from pages.ui.learn.challenge import GRID, MAX_NUMBER, source_of
from pages.ui.session import engine, state, volume_cache
from tomopatch.analysis.contrast import Contrast, contrast
from tomopatch.phantoms.lesions import hiding_place, plant
from tomopatch.phantoms.scene import Lesion
from tomopatch.physics.measurement import relative_dose
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.run import FINISHED, Run
from tomopatch.volume import Triple

KINDS = {"solid": 40.0, "part-solid": -400.0, "ground-glass": -620.0}
"""Hounsfield units of the nodule."""
RADIUS = 9.0  # mm
SHARE = 0.5
"""Share of the true contrast that must remain."""
TO_NOISE = 3.0
"""Least ratio of the contrast to the standard deviation around the nodule."""
_ROOM = 1.4 * RADIUS
"""Radius [mm] of the lung tissue around the centre that must be free of large vessels."""
_SPREADS = (60.0, 120.0, 180.0)
"""Largest standard deviation of this tissue [HU]; a larger one if the patient has no such place."""


@dataclass(frozen=True)
class Game:
    """State of the challenge: patient, kind of the nodule, scans, and the best run of all attempts."""

    number: int = 1
    kind: str = "ground-glass"
    runs: tuple[str, ...] = ()
    best: str = ""

    @classmethod
    def stored(cls) -> Game:
        """Return the game of the session or address, or a new one if that is not readable."""
        stored = state.contrast_game()
        try:
            game = cls(
                int(stored.get("number", 1)),
                str(stored.get("kind", "ground-glass")),
                tuple(map(str, stored.get("runs", ()))),
                str(stored.get("best", "")),
            )
        except (TypeError, ValueError, OverflowError):
            return cls()
        return game if game.kind in KINDS and 1 <= game.number <= MAX_NUMBER else cls()

    def store(self) -> None:
        """Store the game in the session and thereby in the address."""
        state.set_contrast_game(
            {"number": self.number, "kind": self.kind, "runs": list(self.runs)}
            | ({"best": self.best} if self.best else {})
        )

    def again(self) -> Game:
        """Return a new attempt at the same nodule."""
        return replace(self, runs=())

    def following(self) -> Game:
        """Return the same kind of nodule in the next patient."""
        return Game(self.number % MAX_NUMBER + 1, self.kind)


def nodule(game: Game) -> Lesion:
    """Return the nodule, which is the same for all players of this number."""
    return Lesion(_place(game.number), RADIUS, KINDS[game.kind])


@st.cache_resource(max_entries=50, show_spinner=False)
def _place(number: int) -> Triple:
    volume = volume_cache.preview_volume(source_of(number), GRID)
    for spread in _SPREADS[:-1]:
        with contextlib.suppress(ValueError):
            return hiding_place(volume, _ROOM, seed=number, max_spread=spread)
    return hiding_place(volume, RADIUS, seed=number, max_spread=_SPREADS[-1])


def scan_of(game: Game, views: int, photons: float | None) -> ScanConfig:
    """Return a scan of the patient with the nodule."""
    return ScanConfig(source_of(game.number), GRID, num_views=views, photons=photons, lesions=(nodule(game),))


@st.cache_resource(max_entries=50, show_spinner=False)
def true_contrast(game: Game) -> float:
    """Return the contrast of the nodule [HU] in the patient."""
    lesion = nodule(game)
    patient = volume_cache.preview_volume(source_of(game.number), GRID)
    return contrast(plant(patient, [lesion]), lesion.centre, lesion.radius).hu


def dose(scan: ScanConfig) -> float:
    """Return the dose of a scan as a share of that of a full scan."""
    return relative_dose(scan.geometry(volume_cache.geometry(scan)), scan.photons)


def measured(game: Game, run: Run[RunConfig]) -> Contrast | None:
    """Return the contrast of the nodule in a run; None unless it is a finished run of this nodule.

    It is computed from the run, since an address could name any run.
    """
    scan = run.config.scan
    if run.status not in FINISHED or not isinstance(scan, ScanConfig):
        return None
    if scan != scan_of(game, scan.num_views, scan.photons):
        return None
    lesion = nodule(game)
    return contrast(volume_cache.result_volume(run.id), lesion.centre, lesion.radius)


def is_kept(game: Game, run: Run[RunConfig]) -> bool:
    """Whether a run reaches the goal."""
    found = measured(game, run)
    return found is not None and found.is_kept(true_contrast(game), share=SHARE, to_noise=TO_NOISE)


def with_best(game: Game, runs: list[Run[RunConfig]]) -> Game:
    """Return the game with the best of these runs and of the best so far: the goal with the least dose."""
    before = engine.known_run(game.best) if game.best else None
    reached = [run for run in (*([before] if before else []), *runs) if is_kept(game, run)]
    best = min(reached, key=_dose_of, default=None)
    return replace(game, best=best.id if best else "")


def best_dose(game: Game) -> float:
    """Return the dose of the best run; infinite if it does not exist or does not reach the goal."""
    run = engine.known_run(game.best) if game.best else None
    return _dose_of(run) if run is not None and is_kept(game, run) else math.inf


def _dose_of(run: Run[RunConfig]) -> float:
    assert isinstance(run.config.scan, ScanConfig)
    return dose(run.config.scan)
