"""Replay of a finished run: a slider through its snapshots, and a GIF."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from pages.ui.session import volume_cache
from pages.ui.texts import labels as texts
from pages.ui.viewer.slice_viewer import (
    Change,
    ReplayStep,
    ViewerOptions,
    ViewerState,
    ViewerVolume,
    Window,
    level_and_width,
    replay,
)
from tomopatch.export.animations import gif_bytes, step_words
from tomopatch.export.pictures import PLANES
from tomopatch.runs.config import Scan
from tomopatch.volume import VolumeGeometry

THREE = "three planes"


def replay_view(
    run_id: str,
    labels: dict[str, str],
    geometry: VolumeGeometry,
    window: Window,
    height: int,
    reference: Scan | None = None,
    changes: Sequence[Change] = (),
    view: str = "live",
) -> None:
    """Show the snapshots of a run.

    Parameters
    ----------
    labels : dict
        Labels of the volumes of a snapshot by name, in the order of display.
    geometry : VolumeGeometry
        Geometry of the run.
    reference : Scan or None
        Scan whose reference is shown as well.
    changes : sequence of Change
        Maps of the changes in a step; see `pages.ui.viewer.slice_viewer`.
    view : str
        Viewers with the same name share position and window.
    """
    try:
        frames = volume_cache.history(run_id)
    except ValueError as error:
        st.error(str(error))
        return
    labels = {name: label for name, label in labels.items() if any(name in f.volumes for f in frames)}
    steps = [
        ReplayStep(step_words(f), {labels[n]: v for n, v in f.volumes.items() if n in labels}, f.tiles)
        for f in frames
    ]
    shape = next(iter(frames[0].volumes.values())).shape
    fixed = (
        []
        if reference is None
        else [ViewerVolume(texts.reference_name(reference), volume_cache.reference_hu(reference, shape))]
    )
    viewed = replay(
        steps,
        list(labels.values()),
        geometry,
        key=f"replay.{run_id}",
        fixed=fixed,
        options=ViewerOptions(window=window, height=height, view=view, changes=changes),
    )
    coarse = " They are stored on a coarser grid." if shape != geometry.shape else ""
    st.caption(f"{len(frames)} steps of the run were kept. Drag the slider or press play.{coarse}")
    _gif(run_id, labels, geometry, viewed, window)


def _gif(
    run_id: str, labels: dict[str, str], geometry: VolumeGeometry, viewed: ViewerState | None, window: Window
) -> None:
    """Show the choice of planes and volumes, and the download."""
    planes, volumes, button = st.columns([1.2, 1.4, 1], vertical_alignment="bottom")
    plane = planes.selectbox(
        "Planes of the GIF",
        [*PLANES, THREE],
        key=f"gif.planes.{run_id}",
        format_func=str.capitalize,
        help="Slices through the crosshair, with the window of the viewer.",
    )
    every = "All side by side"
    options = [*([every] if len(labels) > 1 else []), *labels.values()]
    chosen = volumes.selectbox(
        "Volumes of the GIF",
        options,
        key=f"gif.volumes.{run_id}",
        help="Volumes in each frame of the GIF.",
    )
    level, width = level_and_width(window)

    def data() -> bytes:
        return gif_bytes(
            volume_cache.history(run_id),
            geometry,
            parts=[(name, label) for name, label in labels.items() if chosen in (every, label)],
            planes=list(PLANES) if plane == THREE else [plane],
            cursor=viewed.cursor if viewed else (0.5, 0.5, 0.5),
            window=viewed.window if viewed else (level - width / 2, level + width / 2),
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
