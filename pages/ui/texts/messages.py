"""Sentences about errors, missing runs and progress."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict

from pages.ui.texts.formatting import plain, plural, seconds, sentence
from tomopatch.execution.progress import Progress
from tomopatch.reconstruct.methods import make_params
from tomopatch.reconstruct.run import converged_after
from tomopatch.runs.config import RunConfig
from tomopatch.runs.run import Run

_FIELD_LABELS = {
    " (0 < src_orig_dist <= src_det_dist),": ":",
    "src_orig_dist": "the distance source to axis",
    "src_det_dist": "the distance source to detector",
    "angle_range": "the angle range",
    "num_views": "the number of views",
    "pixel_size": "the pixel size",
    "det_shape": "the detector's rows and columns",
    "det_offset": "the detector's shift",
}
"""Replacements for the names of parameters in messages of the engine."""


def error_sentence(error: Exception, longest: int = 600) -> str:
    """Return the engine's message as a sentence with the labels of the app, without markup."""
    text = re.sub(
        r"there is no volume '\w*' in the store; it may have",
        "its volume is not stored here; it may have",
        str(error),
    )
    for name, label in _FIELD_LABELS.items():
        text = text.replace(name, label)
    return plain(sentence(text), longest)


def missing_runs(number: int) -> str:
    """Return a sentence about runs that a link names and the store does not have."""
    if number == 1:
        return "**This link points to a run that is not on this server.**"
    return f"**This link points to {number} runs that are not on this server.**"


def failed_runs(failed: Sequence[tuple[str, str]]) -> list[str]:
    """Return a sentence for each reason why runs, given as (name, reason), produced no volume."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in failed:
        by_reason.setdefault(reason, []).append(name)
    return [
        f"**{plain('; '.join(names[:2]))}{f' and {len(names) - 2} more' if len(names) > 2 else ''}: "
        f"no volume.** {plain(reason, 600)}"
        for reason, names in by_reason.items()
    ]


def progress_line(now: Progress) -> str:
    """Return one line about an unfinished run."""
    if now.status == "queued":
        return (
            "Next in the queue"
            if now.position <= 1
            else f"In the queue: {plural(now.position, 'run')} before this one"
        )
    if now.message:
        return f"{now.message}…"
    patch = f"patch {now.tiles_done[0]} of {now.tiles_done[1]}" if now.tiles_done else ""
    left = f", about {seconds(now.eta)} left" if math.isfinite(now.eta) and now.eta >= 1 else ""
    if patch and (now.stage or not now.total):
        return f"First pass, {patch}{left}"
    if not now.total:
        return "Starting…"
    if now.stage:
        return f"Initial reconstruction, iteration {now.i} of {now.total}{left}"
    if now.i == now.total:
        return f"Storing the result, {seconds(now.seconds)}"
    if patch:
        return f"Iteration {current_iteration(now)} of {now.total}, {patch}{left}"
    return f"Iteration {current_iteration(now)} of {now.total}, {seconds(now.seconds)}{left}"


def current_iteration(now: Progress) -> int:
    """Return the iteration whose patches are being computed, or the last finished one."""
    return min(now.total, now.i + bool(now.tiles_done))


def iteration_number(now: Progress) -> tuple[str, str, str]:
    """Return label, value and help of the current iteration, at first that of the initial reconstruction."""
    if now.stage and now.tiles_done:
        done, total = now.tiles_done
        return "First pass", f"{done} / {total}", "Patches denoised in the first pass over the volume."
    value = f"{current_iteration(now)} / {now.total}" if now.total else "–"
    if now.stage:
        return (
            "Initial iteration",
            value,
            "Iterations of the initial reconstruction, on coarser grids first; the method's own follow.",
        )
    return "Iteration", value, "Current and planned iterations."


def ending(run: Run[RunConfig]) -> str:
    """Return the remarks on a finished run: that its method converged, and those of its plan."""
    config = run.config
    params = asdict(make_params(config.method, config.params))
    after = converged_after(run.status, params, len(run.residuals))
    said = [] if after is None else [f"Converged after {plural(after, 'iteration')}."]
    return " ".join([*said, *(() if run.plan is None else run.plan.remarks)])
