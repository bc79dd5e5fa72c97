"""A run that is over, step by step: a slider through its snapshots, and a GIF of them."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.ui.session import engine
from pages.ui.viewer.panes import WINDOWS, Change, Scene, Seen, Shown, replay
from tomopatch.export.animations import gif_bytes, step_words
from tomopatch.export.pictures import PLANES
from tomopatch.runs.config import ScanConfig
from tomopatch.volume import VolumeGeometry

THREE = "three planes"


def replay_view(
    run_id: str,
    labels: dict[str, str],
    geometry: VolumeGeometry,
    window: str,
    height: int,
    reference: ScanConfig | None = None,
    changes: Sequence[Change] = (),
) -> None:
    """The snapshots of a run.

    Parameters
    ----------
    labels : dict
        What the volumes of a snapshot are called, by their names, in the order in which they are shown.
    geometry : VolumeGeometry
        The run's.
    reference : ScanConfig or None
        The scan whose reference is shown beside them.
    changes : maps of what changed in a step; see `pages.ui.viewer.panes`
    """
    try:
        frames = engine.history(run_id)
    except ValueError as error:
        st.error(str(error))
        return
    labels = {name: label for name, label in labels.items() if any(name in f.volumes for f in frames)}
    scenes = [
        Scene(step_words(f), {labels[n]: v for n, v in f.volumes.items() if n in labels}, f.tiles)
        for f in frames
    ]
    shape = next(iter(frames[0].volumes.values())).shape
    fixed = [] if reference is None else [Shown("Reference", engine.reference_hu(reference, shape))]
    seen = replay(
        scenes,
        list(labels.values()),
        geometry,
        key=f"replay.{run_id}",
        fixed=fixed,
        window=window,
        height=height,
        view="live",
        changes=changes,
    )
    small = " Volumes are kept on a coarser grid here." if shape != geometry.shape else ""
    st.caption(f"{len(frames)} steps of the run were kept: drag the slider or press play.{small}")
    _gif(run_id, labels, geometry, seen, window)


def _gif(
    run_id: str, labels: dict[str, str], geometry: VolumeGeometry, seen: Seen | None, window: str
) -> None:
    """The choice of planes and volumes, and the download."""
    planes, volumes, button = st.columns([1.2, 1.4, 1], vertical_alignment="bottom")
    plane = planes.selectbox(
        "Planes of the GIF",
        [*PLANES, THREE],
        key=f"gif.planes.{run_id}",
        format_func=str.capitalize,
        help="The slices through the crosshair, in the window that is set above.",
    )
    every = "All side by side"
    options = [*([every] if len(labels) > 1 else []), *labels.values()]
    chosen = volumes.selectbox(
        "Volumes of the GIF",
        options,
        key=f"gif.volumes.{run_id}",
        help="What is shown of every step.",
    )
    level, width = WINDOWS[window]

    def data() -> bytes:
        return gif_bytes(
            engine.history(run_id),
            geometry,
            parts=[(name, label) for name, label in labels.items() if chosen in (every, label)],
            planes=list(PLANES) if plane == THREE else [plane],
            cursor=seen.cursor if seen else (0.5, 0.5, 0.5),
            window=seen.window if seen else (level - width / 2, level + width / 2),
        )

    button.download_button(
        "Download GIF",
        data,
        "tomopatch-run.gif",
        "image/gif",
        key=f"gif.{run_id}",
        width="stretch",
        on_click="ignore",
        help="An animation of the run, marked as not for diagnosis.",
    )
