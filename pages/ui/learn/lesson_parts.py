"""Lessons and their steps, and the scans that several lessons share."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from pages.ui.session import routes
from pages.ui.viewer.lesion_places import lesion_places
from pages.ui.viewer.slice_viewer import WINDOWS, default_window
from tomopatch.runs.config import RunConfig, Scan, ScanConfig
from tomopatch.runs.prepare import native_geometry

GRID = (64, 128, 128)
LIGHT, MIDDLE, SMALL = (64, 96, 96), (48, 96, 96), (32, 96, 96)
"""Grids of slower methods: a step should take at most half a minute on a laptop (`tests.bench.lessons`)."""
THIN = (16, 64, 64)
"""Grid of curves, where each point is a run."""
LESION_ZOOM = 2.0
"""Zoom of a step that opens at a planted lesion."""
THORAX = ScanConfig("phantom:thorax:0", GRID, num_views=180)
SPHERES = ScanConfig("phantom:spheres", GRID, num_views=180)


@dataclass(frozen=True)
class Step:
    """Step of a lesson: an explanation, and the state of the app that shows it.

    Attributes
    ----------
    text : str
        Explanation.
    label : str
        Label of the button that opens the step.
    page : str
        Page that the button opens.
    scan : ScanConfig or None
        Current scan on that page; None = the user's measured scan, which Acquire asks for.
    runs : tuple of RunConfig
        Runs to queue. Compare shows all of them, Reconstruct the first.
    sweep : dict
        Values on What if; see `state.sweep`.
    plane : str
        Plane of volumes side by side; see `state.plane`.
    window : (level, width) [HU] or None
        Display window on Compare; None = the one of the volume.
    """

    text: str
    label: str
    page: str
    scan: Scan | None
    runs: tuple[RunConfig, ...] = ()
    sweep: dict[str, str] = field(default_factory=dict)
    plane: str = "axial"
    window: tuple[int, int] | None = None

    @property
    def view(self) -> str:
        """View with which the step begins on Compare, as in the address; empty on other pages."""
        if self.page != routes.COMPARE or self.scan is None:
            return ""
        level, width = self.window or WINDOWS[default_window(self.scan.source)]
        place, zoom = (0.5, 0.5, 0.5), 1.0
        if isinstance(self.scan, ScanConfig) and self.scan.lesions:  # opens at the first lesion, enlarged
            place, zoom = lesion_places(self.scan, native_geometry(self.scan))[0], LESION_ZOOM
        at = "_".join(f"{f:.4g}" for f in place)
        return f"compare_{at}_{level}_{width}_{zoom:g}_{at}_side"


@dataclass(frozen=True)
class Lesson:
    """Lesson: an introduction, steps, further experiments, and a question with its answer."""

    title: str
    minutes: int
    lead: str
    steps: tuple[Step, ...]
    tries: tuple[str, ...]
    question: str
    answer: str


def compare(
    text: str, label: str, *runs: RunConfig, plane: str = "axial", window: tuple[int, int] | None = None
) -> Step:
    """Return a step that shows these runs side by side."""
    return Step(text, label, routes.COMPARE, runs[0].scan, runs, plane=plane, window=window)


def run(
    scan: ScanConfig, method: str, changes: dict[str, Any] | None = None, *, prior: str = "", **params: Any
) -> RunConfig:
    """Return a run of this method on the scan with some fields changed."""
    return RunConfig(replace(scan, **(changes or {})), method, params, prior)
