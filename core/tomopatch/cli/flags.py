"""Flags that several commands share, and their parsers."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

from tomopatch.library import SOURCES
from tomopatch.parsing import home_path
from tomopatch.physics.effect_settings import GROUPS, PRESETS
from tomopatch.reconstruct.methods import METHODS
from tomopatch.studies.sweep.numbers import EXAMPLES
from tomopatch.training.data_config import DataConfig

CORRECTIONS = ("pixels", "scatter", "hardening", "stripes", "roll", "axis", "LI", "NMAR")
"""Names of corrections; the last two reduce metal artefacts."""


class StoreExplicit(argparse.Action):
    """Store a value, or True for a flag without one, and record the flag in `namespace.explicit`.

    An explicit flag without effect can then be refused, whatever its default is.
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        setattr(namespace, self.dest, True if self.nargs == 0 else values)
        namespace.explicit = {**getattr(namespace, "explicit", {}), self.dest: option_string or self.dest}


def path(text: str) -> Path:
    """Parse a path, with ~ as the home folder."""
    try:
        return home_path(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None


def add_out(sub: argparse.ArgumentParser, metavar: str, help: str) -> None:
    """Add the file or folder that the command writes."""
    sub.add_argument("--out", type=path, required=True, metavar=metavar, help=help)


def add_methods(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--methods",
        default="",
        help=f"comma-separated list from {', '.join(METHODS)} (default: all that suit the scan)",
    )
    sub.add_argument(
        "--set", action="append", default=[], metavar="METHOD.NAME=VALUE", help="a method's parameter"
    )
    sub.add_argument(
        "--prior", type=os.path.expanduser, help="a prior's name or file, for methods that need one"
    )


def add_volumes(sub: argparse.ArgumentParser) -> None:
    """Add the flags of training volumes, validation volumes and voxel sizes."""
    sub.add_argument(
        "folder", type=path, metavar="FOLDER", help="DICOM folders, zips and NIfTI files, one volume each"
    )
    sub.add_argument(
        "--validation", default="", metavar="NAME,NAME", help="volumes of the folder that are held out"
    )
    for name, default, what in (
        ("xy", DataConfig.voxel_xy, "in-plane voxel sizes"),
        ("z", DataConfig.voxel_z, "slice spacings"),
    ):
        sub.add_argument(
            f"--voxel-{name}",
            type=float,
            nargs=2,
            metavar=("LOW", "HIGH"),
            default=default,
            help=f"range of {what} in mm",
        )
    sub.add_argument(
        "--cache", type=path, metavar="DIR", help="cache of decoded volumes, for a faster start the next time"
    )


def add_scan(sub: argparse.ArgumentParser, *, many: bool = False) -> None:
    """Add the flags of a scan; with `many`, the fields that a sweep varies take comma-separated lists."""
    many_words = " (several: 8,20,60)" if many else ""

    def kind(of: Callable[[str], Any]) -> Callable[[str], Any]:
        return several(of) if many else of

    sub.add_argument("volume", type=os.path.expanduser, metavar="VOLUME", help=SOURCES)
    sub.add_argument(
        "--units",
        action=StoreExplicit,
        help="units of the values in the file: HU, 1/mm (mu) or 1/cm (default: detected)",
    )
    scan = sub.add_argument_group("scan")
    flag = partial(scan.add_argument, action=StoreExplicit)
    flag(
        "--grid",
        type=grid,
        help="reconstruction grid z x y x x, e.g. 64x128x128 (default: the volume's own)",
    )
    flag("--geometry", choices=("parallel", "cone"), default="parallel", help="beam")
    flag(
        "--views",
        type=kind(int),
        default="20",
        help=f"number of views (default 20; of a helix, 20 per turn){many_words}",
    )
    flag(
        "--range",
        type=kind(float),
        help="angle range in degrees (default 180, cone 360, helix: turns that cover the volume)"
        + many_words,
    )
    flag("--start", type=float, default=0.0, help="first angle in degrees")
    if not many:
        flag("--angles", type=path, metavar="FILE", help="text file with the angle of each view in degrees")
        flag(
            "--orbit",
            type=path,
            metavar="FILE",
            help="text file with 12 numbers per view in mm: x y z of source, detector, step u, step v",
        )
    flag("--photons", type=kind(photons), help=f"photons per ray, or none for no noise (default){many_words}")
    flag("--seed", type=int, default=0, help="seed of noise and sampling (default 0)")
    flag("--effects", choices=tuple(PRESETS), help="preset of effects of a real scan")
    flag(
        "--effect",
        nargs="+",
        default=[],
        metavar="NAME.FIELD=VALUE",
        help=f"settings of effects, for example tube.kvp=80 motion.kind=jump; effects: {', '.join(GROUPS)}",
    )
    flag(
        "--insert",
        nargs="+",
        default=[],
        metavar="SHAPE:MATERIAL:Z,Y,X:SIZE[:AXIS]",
        help="objects of one material [mm], for example rod:titanium:0,20,-30:10x60 or ball:steel:0,0,0:8",
    )
    flag(
        "--correct",
        nargs="+",
        default=[],
        choices=CORRECTIONS,
        metavar="NAME",
        help=f"corrections before the reconstruction: {', '.join(CORRECTIONS)}",
    )
    flag("--src-orig-dist", type=float, default=800.0, help="cone: source to axis in mm (default 800)")
    flag("--src-det-dist", type=float, default=1200.0, help="cone: source to detector in mm (default 1200)")
    flag(
        "--pixel-size",
        type=float,
        nargs=2,
        metavar=("V", "U"),
        help="detector pixel in mm (default: chosen to cover the volume)",
    )
    flag(
        "--det-shape",
        type=int,
        nargs=2,
        metavar=("V", "U"),
        help="detector rows and columns (default: chosen to cover the volume)",
    )
    flag(
        "--det-offset",
        type=float,
        nargs=2,
        metavar=("V", "U"),
        default=(0.0, 0.0),
        help="shift of the detector in mm",
    )
    flag("--tilt", type=float, default=0.0, help="laminographic tilt in degrees")
    flag("--pitch", type=float, default=0.0, help="cone: helical shift in mm per turn")
    flag(
        "--same-grid",
        nargs=0,
        default=False,
        help="simulate on the reconstruction grid (the literature's easier protocol)",
    )


def add_vary(sub: argparse.ArgumentParser) -> None:
    """Add the flag for the effect settings that a sweep varies."""
    sub.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=VALUES",
        help="values of an effect setting, for example tube.kvp=60,80,120; repeatable; "
        f"names: {', '.join(EXAMPLES)}",
    )


def add_params(sub: argparse.ArgumentParser) -> None:
    """Add one flag per method parameter, from the parameter dataclasses."""
    group = sub.add_argument_group("method parameters")
    seen: dict[str, list[str]] = {}
    for name, method in METHODS.items():
        for f in fields(method.params):
            seen.setdefault(f.name, []).append(name)
    for param, methods in seen.items():
        f = next(f for f in fields(METHODS[methods[0]].params) if f.name == param)
        if param != "seed":
            group.add_argument(
                f"--{param.replace('_', '-')}",
                dest=f"param_{param}",
                help=f"{', '.join(methods)}: {f.metadata['help']}",
            )


def grid(text: str) -> tuple[int, int, int]:
    try:
        z, y, x = (int(n) for n in text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected three counts like 64x128x128, got {text!r}") from None
    return z, y, x


def several(of: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    """Return a parser of comma-separated lists."""

    def read(text: str) -> list[Any]:
        values = [of(part.strip()) for part in text.split(",") if part.strip()]
        if not values:
            raise argparse.ArgumentTypeError("give one or more values, separated by commas")
        return values

    read.__name__ = f"list of {of.__name__}"  # argparse uses the name in its error messages
    return read


def photons(text: str) -> float | None:
    if text.lower() in ("none", "inf"):
        return None
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected a number like 1e5, or none; got {text!r}") from None
