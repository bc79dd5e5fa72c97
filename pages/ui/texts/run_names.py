"""Short, distinct names of runs that stand side by side."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from pages.ui.texts import formatting, labels
from pages.ui.texts.effect_names import LABELS, corrections_words, effect_words, insert_words
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.physics.effect_settings import GROUPS
from tomopatch.runs.config import RunConfig, Scan, ScanConfig
from tomopatch.runs.measured_scan import GivenGeometry, MeasuredScan


def short_names(configs: Sequence[RunConfig]) -> list[str]:
    """Return for each run its method and the scan and method settings in which the runs differ.

    Runs with equal configurations are numbered.
    """
    described = [_descriptions(config.scan) for config in configs]
    differing = [texts for texts in zip(*described, strict=True) if not _agree(texts)]
    out = []
    for i, config in enumerate(configs):
        twins = [other for other in configs if other.method == config.method]
        parts = [labels.method_label(config.method)]
        parts += [texts[i] for texts in differing]
        parts += [
            labels.setting_label(config.method, name, value)
            for name, value in config.params.items()
            if len({str(other.params[name]) for other in twins}) > 1
        ]
        parts += [f"prior {config.prior}"] if len({other.prior for other in twins}) > 1 else []
        out.append(", ".join(part for part in parts if part))
    seen: Counter[str] = Counter()
    for k, name in enumerate(out):
        seen[name] += 1
        out[k] = f"{name} ({seen[name]})" if seen[name] > 1 else name
    return out


def _descriptions(scan: Scan) -> list[str]:
    """Return each setting of a scan in a few words; as many texts for both kinds of scan."""
    if not isinstance(scan, MeasuredScan):
        return [describe(scan) for describe in _SETTINGS]
    texts = [describe(scan) for describe in _MEASURED]
    return texts + [""] * (len(_SETTINGS) - len(texts))


def _agree(texts: Sequence[str]) -> bool:
    """Whether all texts are equal; empty ones are ignored."""
    return len({text for text in texts if text}) <= 1


def _cone(describe: Callable[[ScanConfig], str]) -> Callable[[ScanConfig], str]:
    return lambda scan: describe(scan) if scan.beam == "cone" else ""


def _lesions(describe: Callable[[tuple], str]) -> Callable[[ScanConfig], str]:
    return lambda scan: "; ".join(map(describe, scan.lesions))


def _mm(sizes: Sequence[float]) -> str:
    return f"{formatting.times(f'{size:g}' for size in sizes)} mm"


def _count(scan: ScanConfig) -> str:
    return f"{len(scan.lesions) or 'no'} lesion{'' if len(scan.lesions) == 1 else 's'}"


def _effect(name: str) -> Callable[[ScanConfig], str]:
    return lambda scan: effect_words(scan.effects, name) or f"no {LABELS[name]}"


def _corrected(corrections: Corrections) -> str:
    return f"corrected: {corrections_words(corrections)}" if corrections != Corrections() else "uncorrected"


_SETTINGS: tuple[Callable[[ScanConfig], str], ...] = (
    lambda s: labels.source_label(s.source),
    lambda s: formatting.times(s.grid) if s.grid else "own grid",
    lambda s: f"{s.beam} beam",
    lambda s: f"{s.num_views} view{'s' if s.num_views > 1 else ''}",
    lambda s: labels.angles_words(s).removeprefix("over "),
    lambda s: f"from {s.start:g}°",
    lambda s: "no noise" if s.photons is None else f"{formatting.count(s.photons)} photons",
    _cone(lambda s: f"source {s.src_orig_dist:g} mm"),
    _cone(lambda s: f"detector {s.src_det_dist:g} mm"),
    _cone(lambda s: f"pitch {s.pitch:g} mm" if s.pitch else "circle"),
    lambda s: f"{formatting.times(s.det_shape)} pixels" if s.det_shape else "fitted detector",
    lambda s: f"pixels of {_mm(s.pixel_size)}" if s.pixel_size else "fitted pixels",
    lambda s: f"shift {_mm(s.det_offset)}" if any(s.det_offset) else "no shift",
    lambda s: f"tilt {s.tilt:g}°",
    lambda s: f"noise no. {s.seed}",
    lambda s: "same grid" if s.same_grid else "finer grid",
    lambda s: f"units {s.units}" if s.units else "units of the file",
    _count,
    _lesions(lambda lesion: f"lesion {2 * lesion[1]:g} mm"),
    _lesions(lambda lesion: f"lesion {lesion[2]:g} HU"),
    _lesions(lambda lesion: f"lesion at {', '.join(f'{c:g}' for c in lesion[0])} mm"),
    lambda s: "metal kept" if s.corrections.metal == "none" else f"metal by {s.corrections.metal}",
    lambda s: _corrected(replace(s.corrections, metal="none")),
    *map(_effect, GROUPS),
    lambda s: "; ".join(map(insert_words, s.effects.inserts)) or "no insert",
)  # fmt: skip
"""Functions that describe one setting of a scan in a few words; empty where the setting does not apply."""
_MEASURED: tuple[Callable[[MeasuredScan], str], ...] = (
    lambda s: labels.source_label(s.source),
    lambda s: formatting.times(s.grid) if s.grid else "own grid",
    lambda s: "all views" if s.num_views is None else formatting.plural(s.num_views, "view"),
    lambda s: "all angles" if s.angle_range is None else f"{s.angle_range:g}°",
    lambda s: "none held out" if s.hold_out is None else f"every {formatting.ordinal(s.hold_out)} held out",
    lambda s: "axis of the file" if s.axis is None else f"axis {s.axis:g}",
    lambda s: f"roll {s.roll:g}°",
    lambda s: "" if s.stripes is None else "stripes removed" if s.stripes else "stripes kept",
    lambda s: f"{s.bin} × {s.bin} pixels averaged" if s.bin > 1 else "all pixels",
    lambda s: "" if s.axisymmetric is None else f"repeated {s.axisymmetric} times",
    lambda s: "other geometry" if s.given != GivenGeometry() else "geometry of the file",
)
"""The same for measured scans."""
