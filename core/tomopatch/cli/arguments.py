"""From what was typed for a command to what the engine takes; what is wrong is refused in a sentence, before any work."""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from tomopatch.geometry.beams import turns_to_cover
from tomopatch.reconstruct.methods import METHODS
from tomopatch.runs.config import ScanConfig
from tomopatch.volume import VolumeGeometry

CONE_ONLY = ("src_orig_dist", "src_det_dist", "pitch")
"""Flags that say nothing of parallel rays."""


def scan_config(arguments: argparse.Namespace) -> ScanConfig:
    """The scan that was described; flags that cannot act or whose value is impossible are refused by their names."""
    refuse_typed(arguments, CONE_ONLY if arguments.geometry == "parallel" else (), "needs --geometry cone")
    if arguments.volume.startswith("phantom:"):
        refuse_typed(arguments, ["units"], "cannot act on a phantom")
    _check_scan(arguments)
    angle_range = arguments.range
    if angle_range is None:
        angle_range = 180.0 if arguments.geometry == "parallel" else 360.0
    return ScanConfig(
        source=arguments.volume,
        grid=arguments.grid,
        beam=arguments.geometry,
        num_views=arguments.views,
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
    )


MOST_TURNS = 100
VIEWS_PER_TURN = 20


def cover(scan: ScanConfig, arguments: argparse.Namespace, vg: VolumeGeometry) -> ScanConfig:
    """Return the scan with as many turns of a helix as cover the volume, unless --range was typed.

    Without --views it has VIEWS_PER_TURN views in each turn.
    """
    if not scan.pitch:
        return scan
    if arguments.range is None:
        turns = turns_to_cover(vg.size[0], scan.pitch)
        if turns > MOST_TURNS:
            raise ValueError(
                f"--pitch {scan.pitch:g} takes {turns:.0f} turns to cover the volume's {vg.size[0]:.4g} mm; at most "
                f"{MOST_TURNS} are made: give a larger --pitch, or --range."
            )
        scan = replace(scan, angle_range=360 * turns)
    if "views" not in typed_flags(arguments):
        scan = replace(scan, num_views=max(1, math.ceil(VIEWS_PER_TURN * scan.angle_range / 360)))
    return scan


MEASURED = ("grid", "seed")
"""Flags of a scan that still act where it has been measured: the grid of the volume, and the seed of sampling."""


def check_measured(arguments: argparse.Namespace) -> None:
    """Refuse the flags of a scan where the volume's place is taken by a measurement, which has its own."""
    others = [dest for dest in typed_flags(arguments) if dest not in MEASURED]
    refuse_typed(
        arguments, others, f"cannot change {Path(arguments.volume).name}, which was measured already"
    )


def typed_flags(arguments: argparse.Namespace) -> dict[str, str]:
    """The flags of the scan that were typed: by their destination, as they were written."""
    return getattr(arguments, "typed", {})


def refuse_typed(arguments: argparse.Namespace, names: Iterable[str], why: str) -> None:
    """Refuse these flags if they were typed."""
    flags = [typed_flags(arguments)[name] for name in names if name in typed_flags(arguments)]
    if flags:
        raise ValueError(f"{', '.join(flags)} {why}; leave {'it' if len(flags) == 1 else 'them'} out.")


def _check_scan(arguments: argparse.Namespace) -> None:
    """Refuse impossible values with the flag that was typed and its unit."""
    given = vars(arguments)
    if arguments.range is not None and not 0 < arguments.range <= 36_000:
        raise ValueError(f"--range must lie above 0 and at most at 36000 degrees, got {arguments.range:g}.")
    if not abs(arguments.tilt) < 90:
        raise ValueError(f"--tilt must lie between -90 and 90 degrees, got {arguments.tilt:g}.")
    if not 0 < arguments.src_orig_dist <= arguments.src_det_dist < math.inf:
        raise ValueError(
            "--src-orig-dist must lie above 0 and at most at --src-det-dist, the source's distances from axis and "
            f"detector in mm; got {arguments.src_orig_dist:g} and {arguments.src_det_dist:g}."
        )
    for name, kind in (("pixel_size", "lengths in mm"), ("det_shape", "counts")):
        values = given[name]
        if values is not None and not all(0 < v < math.inf for v in values):
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(f"{flag} takes two {kind} above 0, got {' '.join(f'{v:g}' for v in values)}.")
    if not all(map(math.isfinite, (*arguments.det_offset, arguments.start, arguments.pitch))):
        raise ValueError("--det-offset, --start and --pitch take finite numbers.")


def chosen_methods(arguments: argparse.Namespace, seed: int) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The methods named, and the parameters given for each, its seed among them."""
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


def check_set(arguments: argparse.Namespace, methods: Sequence[str]) -> None:
    """Refuse parameters of a method that is not among those that are run."""
    for text in arguments.set:
        method = text.partition(".")[0]
        if method not in methods:
            raise ValueError(
                f"--set {text.partition('=')[0]} cannot act: {method} cannot reconstruct this scan; {', '.join(methods)} can."
            )


def check_training(arguments: argparse.Namespace) -> None:
    """Refuse counts that mean nothing, and flags of training that cannot act."""
    for name, least in (("steps", 1), ("volumes", 1), ("crops", 1), ("validate_every", 1), ("cooldown", 0),
                        ("solids", 0), ("pairs", 0), ("pair_workers", 0)):  # fmt: skip
        value = getattr(arguments, name)
        if value < least:
            raise ValueError(f"--{name.replace('_', '-')} takes a count of at least {least}, got {value}.")
    if arguments.minutes is not None and not 0 <= arguments.minutes < math.inf:
        raise ValueError(f"--minutes takes a number of at least 0, got {arguments.minutes:g}.")
    if arguments.pair_gpu and not arguments.pair_workers:
        raise ValueError("--pair-gpu cannot act without --pair-workers; leave it out.")
    if arguments.pair_prior and not (arguments.pairs or arguments.pair_workers):
        raise ValueError("--pair-prior cannot act with --pairs 0 and without --pair-workers; leave it out.")


def check_file(path: Path, *endings: str) -> None:
    """Refuse a file that could not be written, before hours of work are done for it."""
    if not path.name.endswith(endings):
        raise ValueError(f"--out must end in {' or '.join(endings)}, got {path.name!r}.")
    if path.is_dir():
        raise ValueError(f"--out {path} is a folder; give a file.")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """The same of a folder: it, or the one that it would be made in, must be there and take files.

    A file is written as a trial: permissions alone do not show read-only disks and folders such as /proc.
    """
    there = next(p for p in (folder, *folder.parents) if p.exists())
    if not there.is_dir():
        raise ValueError(f"--out: {there} is a file; give a folder.")
    try:
        with tempfile.TemporaryDirectory(prefix=".tomopatch-", dir=there):
            pass
    except OSError as error:
        raise ValueError(
            f"--out: nothing can be written in {there} ({error.strerror}); give a folder of yours."
        ) from None


def named_values(texts: list[str], flag: str) -> dict[str, str]:
    """From NAME=VALUE, given several times."""
    pairs = [text.partition("=") for text in texts]
    for (name, equals, _), text in zip(pairs, texts, strict=True):
        if not (name and equals):
            raise ValueError(f"{flag} takes NAME=VALUE, got {text!r}.")
    return {name: value for name, _, value in pairs}


def typed(what: str, config: Any, given: dict[str, str]) -> dict[str, Any]:
    """Values typed on a command line, as what the fields of this dataclass hold; `what` names it where one is refused."""
    known = {f.name: f for f in fields(config)}
    made: dict[str, Any] = {}
    for name, text in given.items():
        kind: Any = type(known[name].default) if name in known else str
        try:
            if kind is bool:
                made[name] = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[
                    text.lower()
                ]
            else:
                made[name] = kind(text)
        except (ValueError, KeyError):
            raise ValueError(f"{what}: {name} must be of type {kind.__name__}, got {text!r}.") from None
    return made


def method_params(method: str, given: dict[str, str], seed: int) -> dict[str, Any]:
    """The parameters typed for a method, with the scan's seed, where it has one and none was given."""
    params = typed(method, METHODS[method].params, given)
    has_seed = any(f.name == "seed" for f in fields(METHODS[method].params))
    return {"seed": seed, **params} if has_seed else params
