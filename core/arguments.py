"""From what was typed for a command to what the engine takes; what is wrong is refused in a sentence, before any work."""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import fields
from pathlib import Path
from typing import Any

from core.reconstruct.methods import METHODS
from core.runs.config import ScanConfig


def scan_config(arguments: argparse.Namespace) -> ScanConfig:
    """The scan that was described."""
    angle_range = arguments.range or (180.0 if arguments.geometry == "parallel" else 360.0)
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
    )


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
        given.setdefault(method, {})[name] = value
    return names, {m: method_params(m, given.get(m, {}), seed) for m in METHODS}


def check_file(path: Path, *endings: str) -> None:
    """Refuse a file that could not be written, before hours of work are done for it."""
    if not path.name.endswith(endings):
        raise ValueError(f"--out must end in {' or '.join(endings)}, got {path.name!r}.")
    if path.is_dir():
        raise ValueError(f"--out {path} is a folder; give a file.")
    check_folder(path.parent)


def check_folder(folder: Path) -> None:
    """The same of a folder: it, or the one that it would be made in, must be there and take files.

    It is tried: permissions alone do not tell of read-only disks and of folders such as /proc.
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
