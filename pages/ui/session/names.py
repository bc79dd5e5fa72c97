"""What runs are called beside each other: short, yet no two alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from pages.ui.session import words
from tomopatch.runs.config import RunConfig, ScanConfig


def short_names(configs: Sequence[RunConfig]) -> list[str]:
    """The method of each run, what its scan has that not all of the scans have, and how runs of one method are set.

    Runs of the very same config are numbered.
    """
    shared = [told for told in _SCAN if _agree([told(config.scan) for config in configs])]
    out = []
    for config in configs:
        twins = [other for other in configs if other.method == config.method]
        parts = [words.method_label(config.method)]
        parts += [told(config.scan) for told in _SCAN if told not in shared]
        parts += [
            words.param_words(config.method, name, value)
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


def _agree(told: Sequence[str]) -> bool:
    """Whether they say the same, those aside that have nothing to say."""
    return len({text for text in told if text}) <= 1


def _cone(told: Callable[[ScanConfig], str]) -> Callable[[ScanConfig], str]:
    return lambda scan: told(scan) if scan.beam == "cone" else ""


def _lesions(told: Callable[[tuple], str]) -> Callable[[ScanConfig], str]:
    return lambda scan: "; ".join(map(told, scan.lesions))


def _count(scan: ScanConfig) -> str:
    return f"{len(scan.lesions) or 'no'} lesion{'' if len(scan.lesions) == 1 else 's'}"


_SCAN: tuple[Callable[[ScanConfig], str], ...] = (
    lambda s: words.source_words(s.source),
    lambda s: words.times(s.grid) if s.grid else "own grid",
    lambda s: f"{s.beam} beam",
    lambda s: f"{s.num_views} view{'s' if s.num_views > 1 else ''}",
    lambda s: f"{s.angle_range:g}°",
    lambda s: f"from {s.start:g}°",
    lambda s: "no noise" if s.photons is None else f"{words.count(s.photons)} photons",
    _cone(lambda s: f"source {s.src_orig_dist:g} mm"),
    _cone(lambda s: f"detector {s.src_det_dist:g} mm"),
    _cone(lambda s: f"pitch {s.pitch:g} mm" if s.pitch else "circle"),
    lambda s: f"{words.times(s.det_shape)} pixels" if s.det_shape else "fitted detector",
    lambda s: f"pixels of {words.times(f'{p:g}' for p in s.pixel_size)} mm" if s.pixel_size else "fitted pixels",
    lambda s: f"shift {words.times(f'{d:g}' for d in s.det_offset)} mm" if any(s.det_offset) else "no shift",
    lambda s: f"tilt {s.tilt:g}°",
    lambda s: f"noise no. {s.seed}",
    lambda s: "same grid" if s.same_grid else "finer grid",
    lambda s: f"units {s.units}" if s.units else "units of the file",
    _count,
    _lesions(lambda lesion: f"lesion {2 * lesion[1]:g} mm"),
    _lesions(lambda lesion: f"lesion {lesion[2]:g} HU"),
    _lesions(lambda lesion: f"lesion at {', '.join(f'{c:g}' for c in lesion[0])} mm"),
)  # fmt: skip
"""A setting of a scan in a few words each; empty where it has no such thing."""
