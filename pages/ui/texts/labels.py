"""Labels of volumes, scan geometries, methods, settings and runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from pages.ui.texts.effect_names import corrections_words, effects_summary
from pages.ui.texts.formatting import count, ordinal, percent, plural, sentence
from tomopatch.geometry.beams import Geometry
from tomopatch.physics.measurement import full_scan_views, relative_dose
from tomopatch.prior.files import DEFAULT
from tomopatch.reconstruct.methods import METHODS, make_params
from tomopatch.runs.config import RunConfig, Scan, ScanConfig
from tomopatch.runs.measured_scan import MeasuredScan
from tomopatch.runs.run import Run

PHANTOM_LABELS = {
    "thorax": "Thorax",
    "abdomen": "Abdomen",
    "head": "Head",
    "geometric": "Random geometric phantoms",
    "shepp-logan": "Shepp-Logan (3D)",
    "spheres": "Spheres",
    "defrise": "Defrise discs",
    "bars": "Bar pattern",
}
PHANTOM_NAMES = PHANTOM_LABELS | {"geometric": "Random geometric"}
"""Names that precede the word phantom."""
FILTERS = {
    "ram-lak": "Ram-Lak",
    "shepp-logan": "Shepp-Logan",
    "cosine": "cosine",
    "hamming": "Hamming",
    "hann": "Hann",
    "none": "no filter",
}
PRIORS = {"base": "base (best quality)", "small": "small (faster)"}
METRIC_HELP = {
    "PSNR": "Similarity to the reference; higher is better.",
    "SSIM": "Structural similarity to the reference, at most 1; higher is better.",
    "RMSE": "Typical error of a voxel; lower is better.",
    "Time": "Computing time of the method alone.",
    "Held-out error": "Difference between predicted and measured held-out views, relative to the measured "
    "ones; lower is better.",
    "Difference": "Typical difference of a voxel to the reconstruction from all views except those held out, "
    "a stand-in for the truth. 0: the run is the stand-in.",
}
"""Help of the numbers of a run, the same on all pages."""
_ALWAYS_SHOWN = ("num_iterations", "num_steps", "filter")


STAND_IN = "All views (stand-in)"
"""Name of the reconstruction from all views of a measured scan, which has no reference."""


def reference_name(scan: Scan) -> str:
    """Return the name of the volume with which runs of a scan are compared."""
    return STAND_IN if isinstance(scan, MeasuredScan) else "Reference"


# ---- volumes and scan geometries ----------------------------------------------------------------------


def phantom_label(name: str) -> str:
    return PHANTOM_LABELS.get(name, name.replace("-", " ").capitalize())


def source_label(source: str, volumes: dict[str, str] | None = None) -> str:
    """Return the name of a CT volume; `volumes` maps digests of stored volumes to their names."""
    kind, _, rest = source.partition(":")
    if kind == "phantom":
        name, _, seed = rest.partition(":")
        number = f" no. {seed}" if seed not in ("", "0") else ""
        return f"{PHANTOM_NAMES.get(name, phantom_label(name))} phantom{number}"
    if kind == "volume":
        return (volumes or {}).get(rest, "Stored volume")
    if kind == "scan":
        return (volumes or {}).get(rest, "Measured scan")
    return source


def photons_label(photons: float | None) -> str:
    return "no noise" if photons is None else f"{count(photons)} photons per ray"


def scan_summary(scan: Scan) -> str:
    """Return beam, views, angle range, photons and lesions in one line; the views of a measured scan."""
    if isinstance(scan, MeasuredScan):
        return ", ".join(["measured", *measured_words(scan)])
    beam = {"parallel": "parallel beam", "cone": "cone beam"}[scan.beam]
    if scan.pitch:
        beam = "helical cone beam"
    planted = f", {plural(len(scan.lesions), 'lesion')} planted" if scan.lesions else ""
    views = plural(scan.num_views, "view")
    tube = scan.effects.tube
    given = None if tube is None else tube.mas
    photons = photons_label(scan.photons) if given is None else f"{given:g} mAs per view"
    effects, corrected = effects_summary(scan.effects), corrections_words(scan.corrections)
    return (
        f"{beam}, {views} {angles_words(scan)}, {photons}{planted}"
        f"{', ' if effects else ''}{effects}{'; corrected: ' if corrected else ''}{corrected}"
    )


def angles_words(scan: ScanConfig) -> str:
    """Return the angle range of a scan, or that its views are listed."""
    if scan.vectors:
        return "on a free orbit"
    return "at listed angles" if scan.angles else f"over {scan.angle_range:g}°"


def measured_words(scan: MeasuredScan) -> list[str]:
    """Return the views of a measured scan, and its settings that differ from the defaults."""
    every = "" if scan.hold_out is None else f"every {ordinal(scan.hold_out)}"
    if scan.num_views is None:
        words = [f"{every} view held out, all others used" if every else "all views"]
    else:
        words = [plural(scan.num_views, "view"), f"{every} held out" if every else "no view held out"]
    words += [] if scan.angle_range is None else [f"within {scan.angle_range:g}°"]
    words += [] if scan.axis is None else [f"axis at column {scan.axis:g}"]
    words += [f"roll {scan.roll:g}°"] if scan.roll else []
    words += [] if scan.stripes is None else [f"stripes {'removed' if scan.stripes else 'kept'}"]
    words += [f"{scan.bin} × {scan.bin} pixels averaged"] if scan.bin > 1 else []
    words += [] if scan.axisymmetric is None else [f"one view repeated {scan.axisymmetric} times"]
    return words


def quality_note(run: Run) -> str:
    """Return the PSNR of a run, or the held-out error of a measured scan; empty without either."""
    if run.metrics is not None:
        return f"{run.metrics.psnr:.1f} dB"
    if run.measured is not None and run.measured.held_out_relative is not None:
        return f"held-out error {percent(run.measured.held_out_relative)}"
    return ""


def picture_caption(scans: Sequence[Scan], volumes: dict[str, str]) -> str:
    """Return volume and scan of a picture in one line; scans that differ are counted."""
    different = list(dict.fromkeys(scans))
    volume = source_label(different[0].source, volumes)
    return f"{volume}; {scan_summary(different[0]) if len(different) == 1 else f'{len(different)} scans'}"


def dose_share(pg: Geometry, photons: float | None) -> str:
    """Return the dose as a share of that of a full scan."""
    if photons is None:
        return "–"
    share = relative_dose(pg, photons)
    return f"{share:.2g} ×" if share >= 10 else f"{share:.0%}" if share >= 0.1 else f"{share:.2%}"


def dose_help(pg: Geometry) -> str:
    """Return the definition of 100 % for this detector."""
    views = full_scan_views(pg)
    return f"100 % is a full scan: {views} views (π/2 × detector columns) at 100\u202f000 photons per ray."


# ---- methods and their settings -----------------------------------------------------------------------


def method_label(method: str) -> str:
    return METHODS[method].label if method in METHODS else method


def prior_label(name: str) -> str:
    return PRIORS.get(name, name)


def choice_label(value: str) -> str:
    """Return the label of a method's option: a filter, a method, or the option itself."""
    return METHODS[value].label if value in METHODS else sentence(FILTERS.get(value, value))


def setting_label(method: str, name: str, value: Any) -> str:
    """Return one setting and its value in a few words."""
    counted = {"num_iterations": "iteration", "num_steps": "step", "num_samples": "sample"}
    if name in counted:
        limit = "at most " if _metadata(method, name).get("at_most") else ""
        return limit + plural(value, counted[name])
    if name == "filter":
        return FILTERS.get(str(value), str(value))
    label = _field_label(method, name)
    names = _metadata(method, name).get("names", {})
    if value in names:
        return str(names[value]).lower() if name == "mode" else f"{label}: {names[value].lower()}"
    if isinstance(value, bool):
        return f"{label}: {'yes' if value else 'no'}"
    return f"{label} {value:g}" if isinstance(value, float) else f"{label} {value}"


def settings_summary(config: RunConfig) -> str:
    """Return the main settings of a run and all that differ from their defaults."""
    method, params = config.method, _planned(config)
    defaults = {f.name: f.default for f in fields(METHODS[method].params)} if method in METHODS else {}
    shown = [name for name, v in config.params.items() if name in _ALWAYS_SHOWN or v != defaults.get(name)]
    prior = [f"prior {config.prior}"] if config.prior not in ("", DEFAULT) else []
    return ", ".join([setting_label(method, name, params[name]) for name in shown] + prior)


def all_settings(config: RunConfig) -> dict[str, str]:
    """Return all settings of a run's method by their labels, with their values as in the form."""
    method, prior = config.method, {"Prior": config.prior} if config.prior else {}
    return prior | {
        _field_label(method, name).capitalize(): _value_label(method, name, value)
        for name, value in _planned(config).items()
    }


def _planned(config: RunConfig) -> dict[str, Any]:
    """The parameters of a run, with the number of steps that its mode takes."""
    params = dict(config.params)
    if not params.get("num_steps", 1):
        params["num_steps"] = make_params(config.method, params).planned_steps
    return params


def _value_label(method: str, name: str, value: Any) -> str:
    metadata = _metadata(method, name)
    if value in metadata.get("names", {}):
        return str(metadata["names"][value])
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not value and metadata.get("automatic"):
        return "automatic"
    return (
        choice_label(value)
        if "choices" in metadata
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _field_label(method: str, name: str) -> str:
    return str(_metadata(method, name).get("label", name)).lower()


def _metadata(method: str, name: str) -> Mapping[str, Any]:
    """Return label, help and limits of a parameter; empty for an unknown one."""
    known = {f.name: f for f in fields(METHODS[method].params)} if method in METHODS else {}
    return known[name].metadata if name in known else {}


# ---- runs ---------------------------------------------------------------------------------------------


def run_label(run: Run, scan: Scan) -> str:
    """Return a run's method and settings, and its scan geometry where that differs from `scan`."""
    other, extra = run.config.scan, settings_summary(run.config)
    parts = [f"{method_label(run.config.method)} ({extra})" if extra else method_label(run.config.method)]
    if isinstance(other, MeasuredScan):
        if other != scan:
            parts.append(scan_summary(other).removeprefix("measured, "))
    elif other != scan:
        same = (
            not isinstance(scan, MeasuredScan)
            and replace(other, num_views=scan.num_views, photons=scan.photons) == scan
        )
        views = plural(other.num_views, "view")
        parts.append(f"{views}, {photons_label(other.photons)}" if same else scan_summary(other))
    return " · ".join(parts)


def file_name(run: Run | None, scan: Scan, volumes: dict[str, str] | None = None) -> str:
    """Return a name for the file of a run, or of the reference, in lower-case words joined by hyphens."""
    if run is None:
        return scan_file_name(scan, "reference", volumes)
    return _joined(
        [_volume_name(run.config.scan, volumes), run.config.method, *_views_words(run.config.scan)]
    )


def scan_file_name(
    scan: Scan, content: str, volumes: dict[str, str] | None = None, *, with_views: bool = False
) -> str:
    """Return a name for a file with this content, such as "comparison", in the form of `file_name`.

    `with_views` adds views, photons and seed of the scan.
    """
    return _joined([_volume_name(scan, volumes), content, *(_views_words(scan) if with_views else [])])


def _volume_name(scan: Scan, volumes: dict[str, str] | None) -> str:
    return source_label(scan.source, volumes).removesuffix(".nii.gz").removesuffix(".nii")


def _views_words(scan: Scan) -> list[str]:
    views = "all-views" if scan.num_views is None else f"{scan.num_views}-views"
    if isinstance(scan, MeasuredScan):
        return [views]
    photons = "no-noise" if scan.photons is None else f"{scan.photons:.0f}-photons"
    return [views, photons, f"seed-{scan.seed}"]


def _joined(parts: Sequence[str]) -> str:
    words = "-".join(parts).lower()
    return "tomopatch-" + re.sub(r"[^a-z0-9]+", "-", words).strip("-")[:100]


def device_label(name: str) -> str:
    """Return CPU or GPU for a device such as cpu or cuda:0."""
    return {"cpu": "CPU", "cuda": "GPU"}.get(name.partition(":")[0], name)
