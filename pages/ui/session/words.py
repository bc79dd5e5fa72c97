"""What the pages call things, in plain words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from tomopatch.execution.queue import Progress
from tomopatch.prior.files import DEFAULT
from tomopatch.reconstruct.methods import METHODS, make_params
from tomopatch.runs.config import RunConfig, ScanConfig
from tomopatch.runs.run import Run

PHANTOM_WORDS = {
    "thorax": "Thorax",
    "abdomen": "Abdomen",
    "head": "Head",
    "solids": "Random solids",
    "shepp-logan": "Shepp-Logan (3D)",
    "spheres": "Spheres",
    "defrise": "Defrise discs",
    "bars": "Bar pattern",
}

_PLAIN = {
    " (0 < src_orig_dist <= src_det_dist),": ":",
    "src_orig_dist": "the distance source to axis",
    "src_det_dist": "the distance source to detector",
    "angle_range": "the angle range",
    "num_views": "the number of views",
    "pixel_size": "the pixel size",
    "det_shape": "the detector's rows and columns",
    "det_offset": "the detector's shift",
}


def plain(error: Exception) -> str:
    """The engine's sentence with the pages' names for things, as a sentence."""
    text = re.sub(
        r"there is no volume '\w*' in the store; it may have",
        "its volume is not stored here; it may have",
        str(error),
    )
    for name, words in _PLAIN.items():
        text = text.replace(name, words)
    return sentence(text)


def sentence(text: str) -> str:
    """With a capital at its beginning, unless that is the name of a file."""
    return text if "." in text.partition(" ")[0] else text[:1].upper() + text[1:]


MEASURES = {
    "PSNR": "Likeness to the reference; higher is better.",
    "SSIM": "Likeness of structures, at most 1; higher is better.",
    "RMSE": "Typical error of a voxel; lower is better.",
    "Time": "Of the method alone.",
}
"""What the numbers of a run mean, wherever they stand."""


def phantom_words(name: str) -> str:
    return PHANTOM_WORDS.get(name, name.replace("-", " ").capitalize())


def choice(value: str) -> str:
    """One of a method's choices, as a form shows it: a filter, a method, or a plain word."""
    return METHODS[value].label if value in METHODS else sentence(FILTERS.get(value, value))


def source_words(source: str, volumes: dict[str, str] | None = None) -> str:
    """The volume's name; `volumes` maps digests of stored ones to theirs."""
    kind, _, rest = source.partition(":")
    if kind == "phantom":
        name, _, seed = rest.partition(":")
        return f"{phantom_words(name)} phantom" + (f" no. {seed}" if seed not in ("", "0") else "")
    if kind == "volume":
        return (volumes or {}).get(rest, "Stored volume")
    return source


def times(shape: Any) -> str:
    return " × ".join(str(n) for n in shape)


def dose_words(photons: float | None) -> str:
    return "no noise" if photons is None else f"{count(photons)} photons a ray"


def count(n: float) -> str:
    """1e5 as 100 000."""
    return f"{n:,.0f}".replace(",", "\u202f")


def scan_words(scan: ScanConfig) -> str:
    beam = {"parallel": "parallel beam", "cone": "cone beam"}[scan.beam]
    if scan.pitch:
        beam = "helical cone beam"
    planted = (
        f", {len(scan.lesions)} lesion{'s' if len(scan.lesions) > 1 else ''} planted" if scan.lesions else ""
    )
    return f"{beam}, {scan.num_views} views over {scan.angle_range:g}°, {dose_words(scan.photons)}{planted}"


def device(name: str) -> str:
    """Where something was computed, e.g. cpu or cuda:0."""
    return {"cpu": "CPU", "cuda": "GPU"}.get(name.partition(":")[0], name)


FILTERS = {
    "ram-lak": "Ram-Lak",
    "shepp-logan": "Shepp-Logan",
    "cosine": "cosine",
    "hamming": "Hamming",
    "hann": "Hann",
    "none": "no filter",
}

_ALWAYS = ("num_iterations", "num_steps", "filter")


PRIORS = {"base": "base, the best", "small": "small, quicker"}


def prior_label(name: str) -> str:
    return PRIORS.get(name, name)


def params_words(config: RunConfig) -> str:
    """The parameters that people tell runs apart by, and what is not as usual."""
    method, params = config.method, config.params
    usual = {f.name: f.default for f in fields(METHODS[method].params)} if method in METHODS else {}
    told = [name for name, value in params.items() if name in _ALWAYS or value != usual.get(name)]
    other = [f"prior {config.prior}"] if config.prior not in ("", DEFAULT) else []
    params = dict(params)
    if not params.get("num_steps", 1):
        params["num_steps"] = make_params(method, params).planned_steps
    return ", ".join([param_words(method, name, params[name]) for name in told] + other)


def param_words(method: str, name: str, value: Any) -> str:
    """One parameter in a few words."""
    counted = {"num_iterations": "iteration", "num_steps": "step", "num_samples": "sample"}
    if name in counted:
        return f"{value} {counted[name]}{'' if value == 1 else 's'}"
    if name == "filter":
        return FILTERS.get(str(value), str(value))
    label = _label(method, name)
    names = _metadata(method, name).get("names", {})
    if value in names:
        return str(names[value]).lower() if name == "mode" else f"{label}: {names[value].lower()}"
    if isinstance(value, bool):
        return f"{label}: {'yes' if value else 'no'}"
    return f"{label} {value:g}" if isinstance(value, float) else f"{label} {value}"


def settings(config: RunConfig) -> dict[str, str]:
    """All that a run's method was told, by the names that its form has."""
    named: dict[str, Any] = {"Prior": config.prior} if config.prior else {}
    named |= {_label(config.method, name).capitalize(): value for name, value in config.params.items()}
    return {
        name: ("yes" if value else "no") if isinstance(value, bool) else str(value)
        for name, value in named.items()
    }


def _label(method: str, name: str) -> str:
    return str(_metadata(method, name).get("label", name)).lower()


def _metadata(method: str, name: str) -> Mapping[str, Any]:
    """Label, help and limits of a parameter; empty for an unknown one."""
    known = {f.name: f for f in fields(METHODS[method].params)} if method in METHODS else {}
    return known[name].metadata if name in known else {}


def method_label(method: str) -> str:
    return METHODS[method].label if method in METHODS else method


def run_words(run: Run, scan: ScanConfig, *, mixed: bool = False) -> str:
    """A run in a list; of its scan what differs from the current one, which is named in a list of several scans."""
    other, extra = run.config.scan, params_words(run.config)
    parts = [f"{method_label(run.config.method)} ({extra})" if extra else method_label(run.config.method)]
    if other != scan:
        same = replace(other, num_views=scan.num_views, photons=scan.photons) == scan
        parts.append(f"{other.num_views} views, {dose_words(other.photons)}" if same else scan_words(other))
    elif mixed:
        parts.append("current scan")
    return " · ".join(parts)


def gone(number: int) -> str:
    """Of runs that an address names and nobody has."""
    told = "The run in the address is" if number == 1 else f"{number} runs in the address are"
    return f"**{told} not there (any more):** deleted, or made with another store."


def without_volume(failed: Sequence[tuple[str, str]]) -> list[str]:
    """A sentence for each reason why runs (name, reason) left nothing."""
    by_reason: dict[str, list[str]] = {}
    for name, reason in failed:
        by_reason.setdefault(reason, []).append(name)
    return [
        f"**{'; '.join(names[:2])}{f' and {len(names) - 2} more' if len(names) > 2 else ''}: no volume.** {reason}"
        for reason, names in by_reason.items()
    ]


def seconds(value: float) -> str:
    if not math.isfinite(value):
        return "…"
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min"


def progress_words(now: Progress) -> str:
    """One line about a run that is not finished."""
    if now.status == "queued":
        return "Next in line" if now.position <= 1 else f"In the queue: {now.position} runs before this one"
    if now.message:
        return f"{now.message}…"
    patch = f"patch {now.tiles_done[0]} of {now.tiles_done[1]}" if now.tiles_done else ""
    if patch and (now.stage or not now.total):
        return f"First pass, {patch}"
    if not now.total:
        return "Starting…"
    left = f", about {seconds(now.eta)} left" if math.isfinite(now.eta) else ""
    if now.stage:
        return f"Initial reconstruction, iteration {now.i} of {now.total}"
    if patch:
        return f"Iteration {now.i + 1} of {now.total}, {patch}{left}"
    return f"Iteration {now.i} of {now.total}, {seconds(now.seconds)}{left}"
