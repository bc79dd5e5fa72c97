"""Conversion of command-line arguments to configurations; invalid ones are refused before any work."""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tomopatch.geometry.beams import turns_to_cover
from tomopatch.geometry.orbits import degrees_from_text, vectors_from_text
from tomopatch.physics.corrections.settings import Corrections
from tomopatch.physics.effect_settings import PRESETS, changed, parse_insert
from tomopatch.physics.effects import Effects
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import ScanConfig
from tomopatch.studies.sweep import read_values
from tomopatch.volume import VolumeGeometry

CONE_ONLY = ("src_orig_dist", "src_det_dist", "pitch")
"""Flags that have no meaning for a parallel beam."""


def scan_config(arguments: argparse.Namespace) -> ScanConfig:
    """Return the scan config; refuse flags without effect and impossible values by the name of the flag."""
    refuse_explicit(arguments, CONE_ONLY if arguments.geometry == "parallel" else (), "needs --geometry cone")
    if arguments.volume.startswith("phantom:"):
        refuse_explicit(arguments, ["units"], "cannot act on a phantom")
    _check_scan(arguments)
    angles, vectors = _orbit(arguments)
    angle_range = arguments.range
    if angle_range is None:
        angle_range = 180.0 if arguments.geometry == "parallel" else 360.0
    return ScanConfig(
        source=arguments.volume,
        grid=arguments.grid,
        beam=arguments.geometry,
        num_views=len(angles or vectors) or arguments.views,
        angle_range=angle_range,
        start=arguments.start,
        src_orig_dist=arguments.src_orig_dist,
        src_det_dist=arguments.src_det_dist,
        pixel_size=arguments.pixel_size,
        det_shape=arguments.det_shape,
        det_offset=arguments.det_offset,
        tilt=arguments.tilt,
        pitch=arguments.pitch,
        photons=arguments.photons,
        seed=arguments.seed,
        same_grid=arguments.same_grid,
        units=arguments.units,
        effects=_effects(arguments),
        corrections=_corrections(arguments),
        angles=angles,
        vectors=vectors,
    )


_NOT_WITH = {
    "angles": ("views", "range", "start", "pitch", "orbit"),
    "orbit": (
        "views", "range", "start", "pitch", "tilt", "src_orig_dist", "src_det_dist", "pixel_size",
        "det_offset",
    ),
}  # fmt: skip
"""Flags that a file with the views replaces."""


def _orbit(arguments: argparse.Namespace) -> tuple[tuple[float, ...], tuple[tuple[float, ...], ...]]:
    """Angles [degrees] or vectors [mm] of the views in a file; both are empty without a file."""
    for dest, others in _NOT_WITH.items():
        file = getattr(arguments, dest, None)
        if file is None:
            continue
        refuse_explicit(arguments, others, f"cannot act with --{dest}, which states each view")
        if not file.is_file():
            raise ValueError(f"--{dest}: there is no file {file}; expected a text file with a view per line.")
        text = file.read_text("utf-8", errors="replace")
        if dest == "angles":
            return degrees_from_text(text), ()
        if arguments.det_shape is None:
            raise ValueError("--orbit needs --det-shape, the detector's rows and columns.")
        return (), vectors_from_text(text)
    return (), ()


def _corrections(arguments: argparse.Namespace) -> Corrections:
    """Corrections that the flags name."""
    metal: Any = next((name for name in ("NMAR", "LI") if name in arguments.correct), "none")
    others = {name: True for name in arguments.correct if name not in ("NMAR", "LI")}
    return Corrections(**others, metal=metal)


def _effects(arguments: argparse.Namespace) -> Effects:
    """Effects of the preset, changed by single settings and inserts."""
    effects = PRESETS[arguments.effects].effects if arguments.effects else Effects()
    for setting in arguments.effect:
        effects = changed(effects, setting)
    return replace(effects, inserts=(*effects.inserts, *map(parse_insert, arguments.insert)))


MAX_TURNS = 100
VIEWS_PER_TURN = 20


def with_covering_turns(scan: ScanConfig, arguments: argparse.Namespace, vg: VolumeGeometry) -> ScanConfig:
    """Return a helical scan with enough turns to cover the volume, unless --range was given.

    Without --views it has VIEWS_PER_TURN views in each turn.
    """
    if not scan.pitch:
        return scan
    if arguments.range is None:
        turns = turns_to_cover(vg.size[0], scan.pitch)
        if turns > MAX_TURNS:
            raise ValueError(
                f"--pitch {scan.pitch:g} takes {turns:.0f} turns to cover the volume's {vg.size[0]:.4g} mm; "
                f"at most {MAX_TURNS} are supported: give a larger --pitch, or --range."
            )
        scan = replace(scan, angle_range=360 * turns)
    if "views" not in explicit_flags(arguments):
        scan = replace(scan, num_views=max(1, math.ceil(VIEWS_PER_TURN * scan.angle_range / 360)))
    return scan


MEASURED = ("grid", "seed")
"""Flags of a scan that also apply to a stored measurement: the grid of the volume, and the seed of
sampling."""


def check_measured(arguments: argparse.Namespace) -> None:
    """Refuse flags of a scan for a stored measurement, which contains its scan."""
    others = [dest for dest in explicit_flags(arguments) if dest not in MEASURED]
    refuse_explicit(
        arguments, others, f"cannot change {Path(arguments.volume).name}, which was measured already"
    )


def explicit_flags(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the scan's flags that were given explicitly: destination -> flag."""
    return getattr(arguments, "explicit", {})


def refuse_explicit(arguments: argparse.Namespace, names: Iterable[str], reason: str) -> None:
    """Refuse these flags if they were given explicitly."""
    explicit = explicit_flags(arguments)
    flags = [explicit[name] for name in names if name in explicit]
    if flags:
        raise ValueError(f"{', '.join(flags)} {reason}; leave {'it' if len(flags) == 1 else 'them'} out.")


def _check_scan(arguments: argparse.Namespace) -> None:
    """Refuse impossible values with the name of the flag and its unit."""
    given = vars(arguments)
    if arguments.range is not None and not 0 < arguments.range <= 36_000:
        raise ValueError(f"--range must lie above 0 and at most at 36000 degrees, got {arguments.range:g}.")
    if not abs(arguments.tilt) < 90:
        raise ValueError(f"--tilt must lie between -90 and 90 degrees, got {arguments.tilt:g}.")
    if not 0 < arguments.src_orig_dist <= arguments.src_det_dist < math.inf:
        raise ValueError(
            "--src-orig-dist must lie above 0 and at most at --src-det-dist, "
            "the source's distances from axis and detector in mm; "
            f"got {arguments.src_orig_dist:g} and {arguments.src_det_dist:g}."
        )
    for name, kind in (("pixel_size", "lengths in mm"), ("det_shape", "counts")):
        values = given[name]
        if values is not None and not all(0 < v < math.inf for v in values):
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} takes two {kind} above 0, got {' '.join(f'{v:g}' for v in values)}.")
    if not all(map(math.isfinite, (*arguments.det_offset, arguments.start, arguments.pitch))):
        raise ValueError("--det-offset, --start and --pitch take finite numbers.")


def chosen_methods(arguments: argparse.Namespace, seed: int) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """Return the given methods, and the parameters of every method including its seed."""
    names = [n.strip() for n in arguments.methods.split(",") if n.strip()]
    unknown = [n for n in names if n not in METHODS]
    if unknown:
        raise ValueError(f"unknown method {unknown[0]!r}; known are {', '.join(METHODS)}.")
    given: dict[str, dict[str, str]] = {}
    for text in arguments.set:
        target, equals, value = text.partition("=")
        method, dot, name = target.partition(".")
        if not equals or not dot or method not in METHODS:
            raise ValueError(f"--set takes METHOD.NAME=VALUE with a known method, got {text!r}.")
        if names and method not in names:
            raise ValueError(f"--set {target} cannot act: {method} is not among --methods {','.join(names)}.")
        given.setdefault(method, {})[name] = value
    if names and getattr(arguments, "prior", None) and not any(METHODS[n].needs_prior for n in names):
        raise ValueError(
            f"--prior cannot act: none of --methods {','.join(names)} has a prior; leave it out."
        )
    return names, {m: method_params(m, given.get(m, {}), seed) for m in METHODS}


def varied_effects(arguments: argparse.Namespace) -> dict[str, tuple[float, ...]]:
    """Return the values of each effect setting in --vary."""
    effects: dict[str, tuple[float, ...]] = {}
    for text in arguments.vary:
        ((name, listed),) = named_values([text], "--vary").items()
        values = read_values(name, listed)
        if not values or name in effects:
            raise ValueError(f"--vary takes each name once, with one or more values; got {text!r}.")
        effects[name] = values
    return effects


def check_set(arguments: argparse.Namespace, methods: Sequence[str]) -> None:
    """Refuse parameters of a method that does not run."""
    for text in arguments.set:
        method = text.partition(".")[0]
        if method not in methods:
            raise ValueError(
                f"--set {text.partition('=')[0]} cannot act: {method} cannot reconstruct this scan; "
                f"{', '.join(methods)} can."
            )


def check_training(arguments: argparse.Namespace) -> None:
    """Refuse impossible counts, and flags of training without effect."""
    for name, least in (("steps", 1), ("volumes", 1), ("crops", 1), ("validate_every", 1), ("cooldown", 0),
                        ("geometric_phantoms", 0), ("pairs", 0), ("pair_workers", 0)):  # fmt: skip
        value = getattr(arguments, name)
        if value < least:
            raise ValueError(f"--{name.replace('_', '-')} takes a count of at least {least}, got {value}.")
    if arguments.minutes is not None and not 0 <= arguments.minutes < math.inf:
        raise ValueError(f"--minutes takes a number of at least 0, got {arguments.minutes:g}.")
    if arguments.pair_gpu and not arguments.pair_workers:
        raise ValueError("--pair-gpu cannot act without --pair-workers; leave it out.")


def check_file(path: Path, *endings: str) -> None:
    """Refuse an output file that cannot be written."""
    if not path.name.endswith(endings):
        raise ValueError(f"--out must end in {' or '.join(endings)}, got {path.name!r}.")
    if path.is_dir():
        raise ValueError(f"--out {path} is a folder; give a file.")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """Refuse an output folder that does not exist and cannot be created, or that is not writable.

    A temporary folder is created as a test: permissions do not show read-only disks and folders such as
    /proc.
    """
    existing = next(p for p in (folder, *folder.parents) if p.exists())
    if not existing.is_dir():
        raise ValueError(f"--out: {existing} is a file; give a folder.")
    try:
        with tempfile.TemporaryDirectory(prefix=".tomopatch-", dir=existing):
            pass
    except OSError as error:
        raise ValueError(
            f"--out: nothing can be written in {existing} ({error.strerror}); "
            "give a folder that you can write."
        ) from None


def named_values(texts: list[str], flag: str) -> dict[str, str]:
    """Parse repeated flags of the form NAME=VALUE."""
    pairs = [text.partition("=") for text in texts]
    for (name, equals, _), text in zip(pairs, texts, strict=True):
        if not (name and equals):
            raise ValueError(f"{flag} takes NAME=VALUE, got {text!r}.")
    return {name: value for name, _, value in pairs}


def convert(label: str, config: Any, given: dict[str, str]) -> dict[str, Any]:
    """Convert texts to the types of a dataclass's fields; `label` starts the message if one is refused."""
    known = {f.name: f for f in fields(config)}
    converted: dict[str, Any] = {}
    for name, text in given.items():
        kind: Any = type(known[name].default) if name in known else str
        try:
            if kind is bool:
                converted[name] = {
                    "true": True,
                    "yes": True,
                    "1": True,
                    "false": False,
                    "no": False,
                    "0": False,
                }[text.lower()]
            else:
                converted[name] = kind(text)
        except (ValueError, KeyError):
            raise ValueError(f"{label}: {name} must be of type {kind.__name__}, got {text!r}.") from None
    return converted


def method_params(method: str, given: dict[str, str], seed: int) -> dict[str, Any]:
    """Return a method's parameters; the scan's seed is the default of the method's seed."""
    params = convert(method, METHODS[method].params, given)
    return {"seed": seed, **params} if has_seed(method) else params


def has_seed(method: str) -> bool:
    """Whether the method draws random numbers."""
    return any(f.name == "seed" for f in fields(METHODS[method].params))
