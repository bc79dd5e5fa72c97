"""Volumes of a run, unfinished or finished, for the slice viewer."""

from __future__ import annotations

from collections.abc import Sequence

from pages.ui.session import engine, volume_cache
from pages.ui.texts import labels
from pages.ui.viewer.slice_viewer import Change, ViewerVolume
from tomopatch.execution.progress import Progress
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import RunConfig
from tomopatch.runs.run import FINISHED, Run

PENDING = {"queued": "in the queue", "running": "still running"}
"""Notes of volumes of unfinished runs."""
SAMPLER_LABELS = {"noisy": "Before", "denoised": "After the prior", "x": "After the scan"}
"""Labels of the volumes of a sampling step, in the order of their computation."""
INITIAL = "Initial reconstruction"
"""Label of the volume before the first sampling step."""
_CHANGES = (("denoised", "noisy", "Changed by the prior"), ("x", "denoised", "Changed by the scan"))
"""Maps of a step: after, before, title."""


def changes_of(names: Sequence[str]) -> list[Change]:
    """Return the maps that can be computed from volumes with these names, in this order."""
    return [
        (names.index(after), names.index(before), title)
        for after, before, title in _CHANGES
        if after in names and before in names
    ]


def preview_labels(run: Run[RunConfig]) -> dict[str, str]:
    """Return the labels of the run's previews by name."""
    if not METHODS[run.config.method].needs_prior:
        return {"x": labels.method_label(run.config.method)}
    several = run.config.params.get("num_samples", 1) > 1
    return SAMPLER_LABELS | {"x": "Mean so far"} if several else SAMPLER_LABELS


def started_labels(names: dict[str, str], existing: Sequence[str]) -> dict[str, str]:
    """Return the labels of the volumes to show of an active run; `existing` holds those with a preview.

    Until the sampler starts, the initial reconstruction alone is shown: empty pictures would make it small.
    """
    sampling = {label for name, label in names.items() if name != "x"}
    return names if not sampling or sampling & set(existing) else {"x": INITIAL}


def existing_volumes(run: Run[RunConfig], now: Progress) -> list[ViewerVolume]:
    """Return all existing volumes of the run: previews, or the result and its deviation."""
    if now.status in FINISHED or not METHODS[run.config.method].needs_prior:
        current = current_volume(run, now)
        std = volume_cache.result_std(run.id) if now.status in FINISHED else None
        deviation = [] if std is None else [ViewerVolume("Deviation", std, kind="heat")]
        return [] if current is None else [current, *deviation]
    preview = engine.queue().preview(run.id) or {}
    names = preview_labels(run)
    found = {name: preview[name] for name in names if name in preview}
    if list(found) == ["x"]:
        names = {"x": INITIAL}
    return [ViewerVolume(names[name], volume) for name, volume in found.items()]


def current_volume(run: Run[RunConfig], now: Progress) -> ViewerVolume | None:
    """Return the result or the current estimate; None before the first iteration."""
    label = labels.method_label(run.config.method)
    if now.status in FINISHED:
        done = engine.known_run(run.id)
        note = "" if done is None else labels.quality_note(done)
        if run.config.params.get("num_samples", 1) > 1:
            label += ", mean"
        return ViewerVolume(label, volume_cache.result_hu(run.id), note)
    preview = engine.queue().preview(run.id)
    if preview is None or "x" not in preview:
        return None
    return ViewerVolume(label, preview["x"], f"{'initial, ' if now.stage else ''}iteration {now.i}")
